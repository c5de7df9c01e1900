// Mapping: what L2 entries say. Pure functions over a slice's bytes.
//
// Source: QEMU, docs/interop/qcow2.txt, "Cluster mapping" and "Extended L2 Entries".
#pragma once

#include <cstddef>
#include <cstdint>

#include "drivers/qcow2/geometry.h"

namespace firn::qcow2 {

struct L2Entry {
  uint64_t descriptor = 0;
  uint64_t bitmap = 0;  // extended entries only: allocated in the low half, zero in the high one

  bool is_compressed() const { return (descriptor & format::kCompressed) != 0; }
  bool is_copied() const { return (descriptor & format::kCopied) != 0; }
  // Of an entry that is not compressed; 0: none.
  uint64_t host() const { return descriptor & format::kOffsetMask; }
};

L2Entry load_entry(const Geometry& geometry, const std::byte* slice, uint32_t index);
void store_entry(const Geometry& geometry, std::byte* slice, uint32_t index, L2Entry entry);

// Whether any of the slice's clusters belongs to its entry alone; and making it so that none does.
bool has_copied_flags(const Geometry& geometry, const std::byte* slice);
void clear_copied_flags(const Geometry& geometry, std::byte* slice);

enum class PieceKind : uint8_t {
  kUnallocated,      // the backing layer's, and no host cluster
  kUnallocatedHost,  // the backing layer's, with a host cluster around it (subclusters)
  kZero,             // zeroes, no host cluster
  kZeroHost,         // zeroes, with a host cluster
  kData,             // at `host`
  kCompressed,       // in the cluster of `descriptor`
  kInvalid,          // contradicts the format
};

// A range of guest bytes of one kind.
struct Piece {
  PieceKind kind = PieceKind::kUnallocated;
  bool copied = false;      // kData, k...Host: the host cluster belongs to this entry alone
  uint64_t host = 0;        // kData, k...Host: where the first byte lies
  uint64_t length = 0;      // at least 1
  uint64_t descriptor = 0;  // kCompressed

  bool reads_zero() const { return kind == PieceKind::kZero || kind == PieceKind::kZeroHost; }
  bool reads_below() const {
    return kind == PieceKind::kUnallocated || kind == PieceKind::kUnallocatedHost;
  }
};

// The piece that begins at `guest`, `length` bytes at most and no further than the slice reaches.
// Clusters of one kind are one piece, those with data if they are also contiguous on the host. A
// compressed piece ends with its cluster.
Piece piece_at(const Geometry& geometry, const std::byte* slice, uint64_t guest, uint64_t length);

// Where a compressed cluster lies in the file.
struct CompressedRange {
  uint64_t offset = 0;
  uint64_t length = 0;
};
CompressedRange compressed_range(const Geometry& geometry, uint64_t descriptor);

// The bits of subclusters [first, last] in a bitmap's low half.
inline uint64_t subcluster_mask(unsigned first, unsigned last) {
  return ((uint64_t{2} << last) - 1) & ~((uint64_t{1} << first) - 1);
}
inline constexpr uint64_t kAllAllocated = 0x00000000ffffffff;
inline constexpr uint64_t kAllZero = 0xffffffff00000000;

}  // namespace firn::qcow2
