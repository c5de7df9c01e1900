#include "drivers/qcow2/mapping.h"

#include <gtest/gtest.h>

#include <array>

#include "drivers/qcow2/refcounts.h"

namespace firn::qcow2 {
namespace {

struct Slice {
  explicit Slice(Geometry g) : geometry(g), bytes(g.slice_bytes()) {}
  void set(uint32_t index, uint64_t descriptor, uint64_t bitmap = 0) {
    store_entry(geometry, bytes.data(), index, {.descriptor = descriptor, .bitmap = bitmap});
  }
  Piece at(uint64_t guest, uint64_t length = 1 << 30) const {
    return piece_at(geometry, bytes.data(), guest, length);
  }
  Geometry geometry;
  std::vector<std::byte> bytes;
};

constexpr uint64_t kCluster = 65536;

TEST(Mapping, EntriesAreBigEndian) {
  Slice slice({.extended_l2 = true});
  slice.set(1, 0x8000000000050000, 0x00000001'00000002);
  EXPECT_EQ(slice.bytes[16], std::byte{0x80});
  EXPECT_EQ(slice.bytes[21], std::byte{0x05});
  EXPECT_EQ(slice.bytes[27], std::byte{0x01});
  EXPECT_EQ(slice.bytes[31], std::byte{0x02});
}

TEST(Mapping, ContiguousClustersAreOnePiece) {
  Slice slice({});
  slice.set(0, 0x50000 | format::kCopied);
  slice.set(1, 0x60000 | format::kCopied);
  slice.set(2, 0x80000 | format::kCopied);
  const Piece piece = slice.at(512);
  EXPECT_EQ(piece.kind, PieceKind::kData);
  EXPECT_EQ(piece.host, 0x50200u);
  EXPECT_EQ(piece.length, 2 * kCluster - 512);
  EXPECT_TRUE(piece.copied);
  EXPECT_EQ(slice.at(512, 1000).length, 1000u);
}

TEST(Mapping, SharedAndOwnClustersAreTwoPieces) {
  Slice slice({});
  slice.set(0, 0x50000 | format::kCopied);
  slice.set(1, 0x60000);
  EXPECT_EQ(slice.at(0).length, kCluster);
  EXPECT_FALSE(slice.at(kCluster).copied);
}

TEST(Mapping, KindsOfClusters) {
  Slice slice({});
  slice.set(1, format::kZero);
  slice.set(2, 0x50000 | format::kCopied | format::kZero);
  slice.set(3, format::kCompressed | 0x1234);
  slice.set(4, 0x50200 | format::kCopied);
  slice.set(5, format::kCopied);
  EXPECT_EQ(slice.at(0).kind, PieceKind::kUnallocated);
  EXPECT_EQ(slice.at(kCluster).kind, PieceKind::kZero);
  EXPECT_EQ(slice.at(2 * kCluster).kind, PieceKind::kZeroHost);
  EXPECT_EQ(slice.at(3 * kCluster).kind, PieceKind::kCompressed);
  EXPECT_EQ(slice.at(3 * kCluster).length, kCluster);
  EXPECT_EQ(slice.at(4 * kCluster).kind, PieceKind::kInvalid);
  EXPECT_EQ(slice.at(5 * kCluster).kind, PieceKind::kInvalid);
}

TEST(Mapping, SliceEndsThePiece) {
  Slice slice({});
  const uint64_t last = uint64_t{slice.geometry.slice_entries() - 1} * kCluster;
  EXPECT_EQ(slice.at(last + 5).length, kCluster - 5);
}

TEST(Mapping, Subclusters) {
  Slice slice({.extended_l2 = true});
  constexpr uint64_t kSub = 2048;
  // 0 and 1 allocated, 2 zero, the rest below; the next cluster is all data, right behind.
  slice.set(0, 0x50000 | format::kCopied, 0x00000004'00000003);
  slice.set(1, 0x60000 | format::kCopied, kAllAllocated);
  slice.set(2, 0x70000 | format::kCopied, 0x00000000'00000001);
  slice.set(3, 0, kAllZero);
  slice.set(4, 0x80000, 0x00000001'00000001);
  slice.set(5, 0, 1);
  EXPECT_EQ(slice.at(100).kind, PieceKind::kData);
  EXPECT_EQ(slice.at(100).length, 2 * kSub - 100);
  EXPECT_EQ(slice.at(2 * kSub).kind, PieceKind::kZeroHost);
  EXPECT_EQ(slice.at(2 * kSub).length, kSub);
  EXPECT_EQ(slice.at(3 * kSub).kind, PieceKind::kUnallocatedHost);
  EXPECT_EQ(slice.at(3 * kSub).length, 29 * kSub);
  EXPECT_EQ(slice.at(kCluster).length, kCluster + kSub);
  EXPECT_EQ(slice.at(3 * kCluster).kind, PieceKind::kZero);
  EXPECT_EQ(slice.at(4 * kCluster).kind, PieceKind::kInvalid);
  EXPECT_EQ(slice.at(5 * kCluster).kind, PieceKind::kInvalid);
}

TEST(Mapping, CompressedRangeEndsAtItsLastSector) {
  const Geometry geometry;
  // 64 KiB clusters: 54 bits of offset, then the number of further sectors.
  const uint64_t descriptor = format::kCompressed | uint64_t{3} << 54 | 0x12345;
  const CompressedRange range = compressed_range(geometry, descriptor);
  EXPECT_EQ(range.offset, 0x12345u);
  EXPECT_EQ(range.length, 4 * 512 - 0x145u);
}

TEST(Mapping, SubclusterMasks) {
  EXPECT_EQ(subcluster_mask(0, 31), kAllAllocated);
  EXPECT_EQ(subcluster_mask(0, 0), 1u);
  EXPECT_EQ(subcluster_mask(31, 31), 0x80000000u);
  EXPECT_EQ(subcluster_mask(4, 6), 0x70u);
}

class RefcountWidth : public ::testing::TestWithParam<unsigned> {};

TEST_P(RefcountWidth, EachEntryIsItsOwn) {
  const unsigned order = GetParam();
  const Geometry geometry{.refcount_order = order};
  std::array<std::byte, 64> counts = {};
  const uint64_t entries = counts.size() * 8 >> order;
  const auto value = [&](uint64_t i) { return (i * 7 + 1) & geometry.refcount_max(); };
  for (uint64_t i = 0; i < entries; ++i) store_refcount(counts.data(), i, order, ~uint64_t{0});
  for (uint64_t i = 0; i < entries; ++i) store_refcount(counts.data(), i, order, value(i));
  for (uint64_t i = 0; i < entries; ++i) {
    EXPECT_EQ(load_refcount(counts.data(), i, order), value(i)) << i;
  }
}
INSTANTIATE_TEST_SUITE_P(Orders, RefcountWidth, ::testing::Range(0u, 7u));

TEST(Refcount, NarrowEntriesBeginAtTheLowEnd) {
  std::array<std::byte, 2> counts = {};
  store_refcount(counts.data(), 0, 0, 1);
  store_refcount(counts.data(), 9, 0, 1);
  EXPECT_EQ(counts[0], std::byte{1});
  EXPECT_EQ(counts[1], std::byte{2});
  counts = {};
  store_refcount(counts.data(), 1, 4 - 2, 0xf);
  EXPECT_EQ(counts[0], std::byte{0xf0});
}

}  // namespace
}  // namespace firn::qcow2
