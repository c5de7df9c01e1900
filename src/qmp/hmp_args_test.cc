#include "qmp/hmp_args.h"

#include <gtest/gtest.h>

#include <array>

namespace firn::qmp {
namespace {

constexpr std::array<HmpParam, 4> kSnapshot = {{
    {.name = "n", .type = HmpArgType::kFlag},
    {.name = "device", .type = HmpArgType::kBlockDevice},
    {.name = "file", .type = HmpArgType::kString, .optional = true},
    {.name = "format", .type = HmpArgType::kString, .optional = true},
}};
constexpr std::array<HmpParam, 2> kResize = {{
    {.name = "device", .type = HmpArgType::kBlockDevice},
    {.name = "size", .type = HmpArgType::kSize},
}};

std::string error_of(std::string_view command, std::string_view line,
                     std::span<const HmpParam> params) {
  auto args = parse_hmp_args(command, line, params);
  return args ? "no error" : args.error().text();
}

TEST(HmpArgs, TakesWordsFlagsAndQuotes) {
  auto args = parse_hmp_args("snapshot_blkdev", " -n vda \"a b\\\"c\"", kSnapshot);
  ASSERT_TRUE(args) << args.error().text();
  EXPECT_TRUE(args->flag("n"));
  EXPECT_EQ(args->text("device"), "vda");
  EXPECT_EQ(args->text("file"), "a b\"c");
  EXPECT_FALSE(args->text("format"));
}

TEST(HmpArgs, ReadsSizesInMebibytes) {
  EXPECT_EQ(parse_hmp_args("block_resize", "vda 64", kResize)->size_bytes("size"), 64u << 20);
  EXPECT_EQ(parse_hmp_args("block_resize", "vda 1G", kResize)->size_bytes("size"), 1u << 30);
  EXPECT_EQ(parse_hmp_args("block_resize", "vda 512b", kResize)->size_bytes("size"), 512u);
}

TEST(HmpArgs, SaysWhatIsWrong) {
  EXPECT_EQ(error_of("block_resize", "", kResize), "block_resize: block device name expected");
  EXPECT_EQ(error_of("block_resize", "vda", kResize), "invalid size");
  EXPECT_EQ(error_of("block_resize", "vda x", kResize), "invalid size");
  EXPECT_EQ(error_of("block_resize", "vda 1 2", kResize),
            "block_resize: extraneous characters at the end of line");
  EXPECT_EQ(error_of("snapshot_blkdev", "-x vda", kSnapshot),
            "snapshot_blkdev: unsupported option -x");
  EXPECT_EQ(error_of("snapshot_blkdev", "vda \"a", kSnapshot),
            "snapshot_blkdev: unterminated string");
  EXPECT_EQ(error_of("snapshot_blkdev", "vda \"\\q\"", kSnapshot),
            "snapshot_blkdev: unsupported escape code: '\\q'");
}

}  // namespace
}  // namespace firn::qmp
