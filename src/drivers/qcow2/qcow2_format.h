// The layouts of qcow2 on disk, and nothing else. All numbers are big-endian.
//
// Source: QEMU, docs/interop/qcow2.txt: sections "Header", "Header extensions", "Feature name
// table", "Host cluster management", "Cluster mapping", "Extended L2 Entries", "Snapshots".
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/bytes.h"

namespace firn::qcow2::format {

// A big-endian number in place.
template <typename T>
struct Be {
  std::array<std::byte, sizeof(T)> raw;
  operator T() const { return base::load_be<T>(raw.data()); }
  Be& operator=(T value) {
    base::store_be<T>(raw.data(), value);
    return *this;
  }
};
using Be16 = Be<uint16_t>;
using Be32 = Be<uint32_t>;
using Be64 = Be<uint64_t>;

inline constexpr uint32_t kMagic = 0x514649fb;  // "QFI\xfb"

struct DiskHeader {
  Be32 magic;
  Be32 version;
  Be64 backing_file_offset;
  Be32 backing_file_size;
  Be32 cluster_bits;
  Be64 size;
  Be32 crypt_method;
  Be32 l1_size;
  Be64 l1_table_offset;
  Be64 refcount_table_offset;
  Be32 refcount_table_clusters;
  Be32 nb_snapshots;
  Be64 snapshots_offset;
  // Version 3 only, from here on.
  Be64 incompatible_features;
  Be64 compatible_features;
  Be64 autoclear_features;
  Be32 refcount_order;
  Be32 header_length;
  // Present if header_length says so.
  uint8_t compression_type;
  uint8_t padding[7];
};
static_assert(sizeof(DiskHeader) == 112 && alignof(DiskHeader) == 1);
static_assert(offsetof(DiskHeader, size) == 24);
static_assert(offsetof(DiskHeader, l1_size) == 36);
static_assert(offsetof(DiskHeader, refcount_table_offset) == 48);
static_assert(offsetof(DiskHeader, snapshots_offset) == 64);
static_assert(offsetof(DiskHeader, incompatible_features) == 72);
static_assert(offsetof(DiskHeader, header_length) == 100);
static_assert(offsetof(DiskHeader, compression_type) == 104);
inline constexpr uint32_t kHeaderBytesV2 = 72;
inline constexpr uint32_t kHeaderBytesV3 = 104;  // the least
inline constexpr uint32_t kHeaderBytes = 112;    // what is written

namespace incompatible {
inline constexpr uint64_t kDirty = 1u << 0;
inline constexpr uint64_t kCorrupt = 1u << 1;
inline constexpr uint64_t kDataFile = 1u << 2;
inline constexpr uint64_t kCompression = 1u << 3;
inline constexpr uint64_t kExtendedL2 = 1u << 4;
}  // namespace incompatible
namespace compatible {
inline constexpr uint64_t kLazyRefcounts = 1u << 0;
}
namespace autoclear {
inline constexpr uint64_t kBitmaps = 1u << 0;
inline constexpr uint64_t kDataFileRaw = 1u << 1;
}  // namespace autoclear

inline constexpr uint32_t kCryptNone = 0;
inline constexpr uint8_t kCompressionZlib = 0;
inline constexpr uint8_t kCompressionZstd = 1;

struct DiskExtension {
  Be32 type;
  Be32 length;  // of the data that follows, which is padded to 8 bytes
};
static_assert(sizeof(DiskExtension) == 8);
namespace extension {
inline constexpr uint32_t kEnd = 0;
inline constexpr uint32_t kBackingFormat = 0xe2792aca;
inline constexpr uint32_t kFeatureNames = 0x6803f857;
inline constexpr uint32_t kBitmaps = 0x23852875;
inline constexpr uint32_t kCryptHeader = 0x0537be77;
inline constexpr uint32_t kDataFile = 0x44415441;
}  // namespace extension

struct DiskFeatureName {
  uint8_t type;  // 0 incompatible, 1 compatible, 2 autoclear
  uint8_t bit;
  char name[46];  // zero-padded, not always terminated
};
static_assert(sizeof(DiskFeatureName) == 48);

struct DiskBitmapsExtension {
  Be32 count;
  Be32 reserved;
  Be64 directory_bytes;
  Be64 directory_offset;
};
static_assert(sizeof(DiskBitmapsExtension) == 24);

struct DiskSnapshot {
  Be64 l1_table_offset;
  Be32 l1_size;
  Be16 id_length;
  Be16 name_length;
  Be32 date_s;
  Be32 date_ns;
  Be64 vm_clock_ns;
  Be32 vm_state_bytes;
  Be32 extra_length;
  // Then extra data, id, name; padded to 8 bytes.
};
static_assert(sizeof(DiskSnapshot) == 40);
// The extra data that is known; an image may have less or more.
struct DiskSnapshotExtra {
  Be64 vm_state_bytes;
  Be64 virtual_size;
  Be64 icount;  // all ones: none
};
static_assert(sizeof(DiskSnapshotExtra) == 24);

// Entries of the refcount table, the L1 table and L2 tables.
inline constexpr uint64_t kRefcountTableOffsetMask = ~uint64_t{0x1ff};
inline constexpr uint64_t kOffsetMask = 0x00fffffffffffe00;  // bits 9 to 55
inline constexpr uint64_t kCopied = uint64_t{1} << 63;       // the refcount is exactly one
inline constexpr uint64_t kCompressed = uint64_t{1} << 62;   // L2 only
inline constexpr uint64_t kZero = 1;                         // L2 without subclusters only
inline constexpr uint64_t kMaxHostOffset = uint64_t{1} << 56;

// Limits that QEMU keeps, so that each reads what the other writes.
inline constexpr unsigned kMinClusterBits = 9;
inline constexpr unsigned kMaxClusterBits = 21;
inline constexpr unsigned kMinClusterBitsExtendedL2 = 14;
inline constexpr unsigned kSubclusters = 32;
inline constexpr uint64_t kMaxL1Bytes = 32u << 20;
inline constexpr uint64_t kMaxRefcountTableBytes = 8u << 20;
inline constexpr uint32_t kMaxSnapshots = 65536;
inline constexpr uint64_t kMaxSnapshotTableBytes = uint64_t{1024} * kMaxSnapshots;
inline constexpr uint32_t kMaxSnapshotExtraBytes = 1024;
inline constexpr uint32_t kMaxBackingNameBytes = 1023;

}  // namespace firn::qcow2::format
