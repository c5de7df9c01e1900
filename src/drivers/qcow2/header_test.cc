#include "drivers/qcow2/header.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <random>

namespace firn::qcow2 {
namespace {

using base::ErrorKind;
using ::testing::HasSubstr;
using Bytes = std::vector<std::byte>;

Header sample() {
  Header header;
  header.size_bytes = 64 << 20;
  header.l1_entries = 1;
  header.l1_offset = 0x30000;
  header.refcount_table_offset = 0x10000;
  header.refcount_table_clusters = 1;
  return header;
}

Bytes sample_bytes() { return *serialize_header(sample()); }

// The first bytes of what qemu-img 7.2 makes of `create -f qcow2 a.qcow2 64M`.
TEST(HeaderFormat, GoldenBytes) {
  constexpr uint8_t kGolden[112] = {
      0x51, 0x46, 0x49, 0xfb, 0, 0, 0, 3,   0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,  //
      0,    0,    0,    0,    4, 0, 0, 0,   0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 3, 0, 0,     //
      0,    0,    0,    0,    0, 1, 0, 0,   0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,     //
      0,    0,    0,    0,    0, 0, 0, 0,   0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,     //
      0,    0,    0,    4,    0, 0, 0, 0x70};
  const Bytes bytes = sample_bytes();
  EXPECT_EQ(std::memcmp(bytes.data(), kGolden, sizeof kGolden), 0);
  // Then the feature names: eight of 48 bytes.
  EXPECT_EQ(base::load_be<uint32_t>(bytes.data() + 112), 0x6803f857u);
  EXPECT_EQ(base::load_be<uint32_t>(bytes.data() + 116), 8u * 48);
  EXPECT_EQ(std::memcmp(bytes.data() + 122, "dirty bit", 10), 0);
}

TEST(Header, ComesBackAsItWasWritten) {
  Header header = sample();
  header.backing_file = "base.img";
  header.backing_format = "raw";
  header.compatible = format::compatible::kLazyRefcounts;
  header.incompatible = format::incompatible::kExtendedL2 | format::incompatible::kCompression;
  header.compression_type = format::kCompressionZstd;
  header.refcount_order = 6;
  header.unknown_fields = Bytes(16, std::byte{7});
  header.extensions.push_back({0x12345678, Bytes(13, std::byte{9})});
  const Result<Header> read = parse_header(*serialize_header(header));
  ASSERT_TRUE(read) << read.error().text();
  EXPECT_EQ(read->backing_file, "base.img");
  EXPECT_EQ(read->backing_format, "raw");
  EXPECT_EQ(read->compatible, header.compatible);
  EXPECT_EQ(read->incompatible, header.incompatible);
  EXPECT_EQ(read->compression_type, header.compression_type);
  EXPECT_EQ(read->refcount_order, 6u);
  EXPECT_EQ(read->unknown_fields, header.unknown_fields);
  ASSERT_EQ(read->extensions.size(), 1u);
  EXPECT_EQ(read->extensions[0].type, 0x12345678u);
  EXPECT_EQ(read->extensions[0].data, Bytes(13, std::byte{9}));
  EXPECT_EQ(*serialize_header(*read), *serialize_header(header));
}

TEST(Header, BackingNameThatDoesNotFitIsAnError) {
  Header header = sample();
  header.cluster_bits = 9;
  header.l1_offset = header.refcount_table_offset = 512;
  header.size_bytes = 512;
  header.backing_file = std::string(500, 'x');
  const auto bytes = serialize_header(header);
  ASSERT_FALSE(bytes);
  EXPECT_EQ(bytes.error().kind(), ErrorKind::kNoSpace);
  header.backing_file = std::string(300, 'x');
  ASSERT_TRUE(serialize_header(header));
  EXPECT_EQ(parse_header(*serialize_header(header))->backing_file, header.backing_file);
}

struct Hostile {
  std::string name;
  std::function<void(Bytes&)> damage;
  std::string text;
};
std::ostream& operator<<(std::ostream& out, const Hostile& hostile) { return out << hostile.name; }

template <typename T>
std::function<void(Bytes&)> put(size_t at, T value) {
  return [=](Bytes& bytes) { base::store_be<T>(bytes.data() + at, value); };
}

class HostileHeader : public ::testing::TestWithParam<Hostile> {};

TEST_P(HostileHeader, IsRefusedByName) {
  Bytes bytes = sample_bytes();
  GetParam().damage(bytes);
  const Result<Header> header = parse_header(bytes);
  ASSERT_FALSE(header);
  EXPECT_THAT(header.error().text(), HasSubstr(GetParam().text));
}

INSTANTIATE_TEST_SUITE_P(
    Headers, HostileHeader,
    ::testing::Values(
        Hostile{"magic", put<uint32_t>(0, 0x514649fa), "Image is not in qcow2 format"},
        Hostile{"short_file", [](Bytes& b) { b.resize(40); }, "Image is not in qcow2 format"},
        Hostile{"version_1", put<uint32_t>(4, 1), "Unsupported qcow2 version 1"},
        Hostile{"version_4", put<uint32_t>(4, 4), "Unsupported qcow2 version 4"},
        Hostile{"small_clusters", put<uint32_t>(20, 8), "Unsupported cluster size: 2^8"},
        Hostile{"large_clusters", put<uint32_t>(20, 40), "Unsupported cluster size: 2^40"},
        Hostile{"short_header", put<uint32_t>(100, 96), "qcow2 header too short"},
        Hostile{"long_header", put<uint32_t>(100, 0x10008), "qcow2 header exceeds cluster size"},
        Hostile{"refcount_order", put<uint32_t>(96, 7), "Reference count entry width too large"},
        Hostile{"encryption_aes", put<uint32_t>(32, 1), "Image is encrypted (AES)"},
        Hostile{"encryption_luks", put<uint32_t>(32, 2), "Image is encrypted (LUKS)"},
        Hostile{"encryption_unknown", put<uint32_t>(32, 3), "Unsupported encryption method 3"},
        Hostile{"data_file", put<uint64_t>(72, 4),
                "Unsupported qcow2 feature(s): external data file"},
        Hostile{"unknown_feature", put<uint64_t>(72, uint64_t{1} << 40),
                "Unsupported qcow2 feature(s): Unknown incompatible feature: 10000000000"},
        Hostile{"named_feature",
                [](Bytes& b) {
                  base::store_be<uint64_t>(b.data() + 72, 1 << 17);
                  b[120] = std::byte{0};
                  b[121] = std::byte{17};
                },
                "Unsupported qcow2 feature(s): dirty bit"},
        Hostile{"compression_without_bit", [](Bytes& b) { b[104] = std::byte{1}; },
                "Compression type incompatible feature bit must be set"},
        Hostile{"bit_without_compression", put<uint64_t>(72, 8),
                "Compression type incompatible feature bit must not be set"},
        Hostile{"compression_unknown",
                [](Bytes& b) {
                  b[104] = std::byte{9};
                  base::store_be<uint64_t>(b.data() + 72, 8);
                },
                "unknown compression type: 9"},
        Hostile{"refcount_table_missing", put<uint32_t>(56, 0),
                "Image does not contain a reference count table"},
        Hostile{"refcount_table_large", put<uint32_t>(56, 0xffffffff),
                "Reference count table too large"},
        Hostile{"refcount_table_unaligned", put<uint64_t>(48, 0x10200),
                "Reference count table offset invalid"},
        Hostile{"refcount_table_far", put<uint64_t>(48, 0xffffffffffff0000),
                "Reference count table offset invalid"},
        Hostile{"l1_large", put<uint32_t>(36, 0xffffffff), "Active L1 table too large"},
        Hostile{"l1_unaligned", put<uint64_t>(40, 0x30008), "Active L1 table offset invalid"},
        Hostile{"l1_small", put<uint32_t>(36, 0), "L1 table is too small"},
        Hostile{"size_large", put<uint64_t>(24, 0x7fffffffffffffff), "Image is too big"},
        Hostile{"size_negative", put<uint64_t>(24, 0xffffffffffffffff), "Image is too big"},
        Hostile{"snapshots_many", put<uint32_t>(60, 0xffffffff), "Snapshot table too large"},
        Hostile{"snapshots_unaligned",
                [](Bytes& b) {
                  base::store_be<uint32_t>(b.data() + 60, 1);
                  base::store_be<uint64_t>(b.data() + 64, 3);
                },
                "Snapshot table offset invalid"},
        Hostile{"backing_offset", put<uint64_t>(8, 0x10001), "Invalid backing file offset"},
        Hostile{"backing_long",
                [](Bytes& b) {
                  base::store_be<uint64_t>(b.data() + 8, 0x1000);
                  base::store_be<uint32_t>(b.data() + 16, 1024);
                },
                "Backing file name too long"},
        Hostile{"backing_over_the_end",
                [](Bytes& b) {
                  base::store_be<uint64_t>(b.data() + 8, 0xfff0);
                  base::store_be<uint32_t>(b.data() + 16, 1000);
                },
                "Backing file name too long"},
        Hostile{"extension_large", put<uint32_t>(116, 0x7fffffff), "Header extension too large"},
        Hostile{"extended_l2_small_clusters",
                [](Bytes& b) {
                  base::store_be<uint64_t>(b.data() + 72, 16);
                  base::store_be<uint32_t>(b.data() + 20, 12);
                  base::store_be<uint32_t>(b.data() + 36, 32);
                },
                "Extended L2 entries are only supported with cluster sizes"}),
    [](const auto& info) { return info.param.name; });

// Whatever the bytes: an answer, and no memory touched that is not theirs (asan).
TEST(Header, AnyBytesGiveAnAnswer) {
  std::mt19937_64 random(5);
  int refused = 0;
  for (int i = 0; i < 20000; ++i) {
    Bytes bytes = sample_bytes();
    bytes.resize(512 + random() % 4096);
    const int changes = 1 + static_cast<int>(random() % 6);
    for (int j = 0; j < changes; ++j) {
      bytes[random() % 512] = static_cast<std::byte>(random());
    }
    refused += !parse_header(bytes);
  }
  EXPECT_GT(refused, 5000);
  EXPECT_LT(refused, 20000);
}

}  // namespace
}  // namespace firn::qcow2
