// The vocabulary of the block layer: requests, permissions, options and facts.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace firn::block {

// How a request is to be carried out. Combined with |.
using Flags = uint32_t;
namespace flag {
inline constexpr Flags kNone = 0;
// Writes, zeroing and discards: durable when it completes (force unit access).
inline constexpr Flags kFua = 1u << 0;
// write_zeroes: storage may be given back.
inline constexpr Flags kMayUnmap = 1u << 1;
// write_zeroes: fail with kUnsupported rather than write zeroes out as data.
inline constexpr Flags kNoFallback = 1u << 2;
// Reads on behalf of a copy into an overlay: waits, at each layer that it reads from, for the one
// mutating request in flight that overlaps it. See "Copy-on-write" in docs/architecture.md.
inline constexpr Flags kStable = 1u << 3;
}  // namespace flag

// What one user of a node does to it, and what it lets the others do. The bits and their meaning
// are QEMU's (BLK_PERM_*), since image locks on disk carry them.
using Permissions = uint32_t;
namespace permission {
inline constexpr Permissions kNone = 0;
inline constexpr Permissions kConsistentRead = 1u << 0;
inline constexpr Permissions kWrite = 1u << 1;
inline constexpr Permissions kWriteUnchanged = 1u << 2;
inline constexpr Permissions kResize = 1u << 3;
inline constexpr Permissions kAll = 0xf;
}  // namespace permission

// "consistent read, write": for error texts.
std::string permission_names(Permissions permissions);

// Where the bytes of a range come from.
enum class RunKind {
  kData,         // in this layer, as data
  kZero,         // in this layer, reads as zeroes
  kUnallocated,  // not in this layer: the backing layer's, or zeroes where there is none
};
struct Run {
  RunKind kind = RunKind::kData;
  uint64_t length_bytes = 0;            // at least 1, at most what was asked
  std::optional<uint64_t> host_offset;  // kData: where in the `file` child, if it is plain there
  bool compressed = false;
};

enum class DetectZeroes { kOff, kOn, kUnmap };

// Options that every node has (QEMU: BlockdevOptions' base members).
struct NodeOptions {
  bool read_only = false;
  bool auto_read_only = false;  // fall back to read-only where writing is not to be had
  bool unmap = false;           // discard=unmap: discards are passed on; else they do nothing
  bool direct = false;          // cache.direct
  bool no_flush = false;        // cache.no-flush: flushes do nothing
  bool force_share = false;     // do not care who else writes; needs read_only
  DetectZeroes detect_zeroes = DetectZeroes::kOff;
};

// Alignment and sizes that a node's users should know. All in bytes.
struct Limits {
  uint32_t request_alignment = 1;     // offsets and lengths are rounded to it below the root
  uint32_t optimal_alignment = 4096;  // smaller or unaligned writes cost a read or a copy
  uint32_t max_transfer = 0;          // 0: no limit
  uint32_t discard_alignment = 1;     // smaller discards may do nothing
};

using FactValue = std::variant<bool, int64_t, std::string>;

struct InternalSnapshotFacts {
  std::string id;
  std::string name;
  uint64_t vm_state_bytes = 0;
  int64_t date_s = 0;
  int64_t date_ns = 0;
  int64_t vm_clock_ns = 0;
  std::optional<uint64_t> icount;
  uint64_t virtual_size_bytes = 0;  // of the disk, then
};

// What a new internal snapshot is called, and what it says of its time.
struct InternalSnapshotSpec {
  std::string name;
  int64_t date_s = 0;  // since 1970, UTC
  int64_t date_ns = 0;
  int64_t vm_clock_ns = 0;
  std::optional<uint64_t> icount;
};

// What query commands and `info` say of an image.
struct ImageFacts {
  std::string filename;
  std::string format;
  uint64_t virtual_size_bytes = 0;
  std::optional<uint64_t> actual_size_bytes;
  std::optional<uint32_t> cluster_size_bytes;
  std::optional<bool> dirty;
  std::optional<bool> encrypted;
  std::optional<bool> compressed;
  std::string backing_filename;       // as the image stores it; empty: none
  std::string backing_filename_full;  // what that leads to
  std::string backing_format;         // empty: not stored
  std::vector<InternalSnapshotFacts> snapshots;
  // Members of the format's own part, by their QAPI names ("refcount-bits"); in order.
  std::vector<std::pair<std::string, FactValue>> format_specific;
};

}  // namespace firn::block
