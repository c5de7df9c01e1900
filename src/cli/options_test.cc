#include "cli/options.h"

#include <gtest/gtest.h>

#include "cli/command.h"

namespace firn::cli {
namespace {

const std::vector<OptionSpec> kSpecs = {{"format", 'f'}, {"read-only", 'r', false}};

TEST(Options, StandAnywhere) {
  auto options = Options::parse("serve", kSpecs, {"--format=qcow2", "disk", "-r"});
  ASSERT_TRUE(options);
  EXPECT_EQ(options->value("format"), "qcow2");
  EXPECT_TRUE(options->has("read-only"));
  EXPECT_EQ(options->operands(), std::vector<std::string>{"disk"});
}

TEST(Options, TheLastValueCounts) {
  auto options = Options::parse("serve", kSpecs, {"-f", "raw", "--format", "qcow2"});
  ASSERT_TRUE(options);
  EXPECT_EQ(options->value("format"), "qcow2");
}

TEST(Options, TwoDashesEndThem) {
  auto options = Options::parse("serve", kSpecs, {"--", "-r"});
  ASSERT_TRUE(options);
  EXPECT_FALSE(options->has("read-only"));
  EXPECT_EQ(options->operands(), std::vector<std::string>{"-r"});
}

TEST(Options, ErrorsNameTheOption) {
  EXPECT_EQ(Options::parse("serve", kSpecs, {"disk", "--bogus"}).error().text(),
            "serve: unknown option '--bogus'");
  EXPECT_EQ(Options::parse("serve", kSpecs, {"-rx"}).error().text(), "serve: unknown option '-x'");
  EXPECT_EQ(Options::parse("serve", kSpecs, {"--format"}).error().text(),
            "serve: option '--format' needs a value");
  EXPECT_EQ(Options::parse("serve", kSpecs, {"-f"}).error().text(),
            "serve: option '-f' needs a value");
  EXPECT_EQ(Options::parse("serve", kSpecs, {"-f"}).error().hint(), "Try 'firn serve --help'.");
}

}  // namespace
}  // namespace firn::cli
