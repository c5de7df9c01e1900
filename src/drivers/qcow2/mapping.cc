#include "drivers/qcow2/mapping.h"

#include <algorithm>
#include <bit>

namespace firn::qcow2 {
namespace {

// The piece that begins `in_cluster` bytes into the cluster of `entry`, to its end at most.
Piece piece_in_cluster(const Geometry& geometry, L2Entry entry, uint64_t in_cluster) {
  const uint64_t cluster_left = geometry.cluster_bytes() - in_cluster;
  if (entry.is_compressed()) {
    return {.kind = PieceKind::kCompressed, .length = cluster_left, .descriptor = entry.descriptor};
  }
  const uint64_t host = entry.host();
  Piece piece = {.copied = entry.is_copied() && host != 0,
                 .host = host != 0 ? host + in_cluster : 0,
                 .length = cluster_left};
  if (!base::is_aligned(host, geometry.cluster_bytes()) || (host == 0 && entry.is_copied())) {
    piece.kind = PieceKind::kInvalid;
    return piece;
  }
  if (!geometry.extended_l2) {
    if (geometry.has_zero_clusters && (entry.descriptor & format::kZero) != 0) {
      piece.kind = host != 0 ? PieceKind::kZeroHost : PieceKind::kZero;
    } else {
      piece.kind = host != 0 ? PieceKind::kData : PieceKind::kUnallocated;
    }
    return piece;
  }
  const auto allocated = static_cast<uint32_t>(entry.bitmap);
  const auto zero = static_cast<uint32_t>(entry.bitmap >> 32);
  if ((allocated & zero) != 0 || (host == 0 && allocated != 0)) {
    piece.kind = PieceKind::kInvalid;
    return piece;
  }
  const auto first = static_cast<unsigned>(in_cluster >> geometry.subcluster_bits());
  uint32_t same;  // bit i: subcluster first + i is of the first one's kind
  if ((allocated >> first & 1) != 0) {
    piece.kind = PieceKind::kData;
    same = allocated >> first;
  } else if ((zero >> first & 1) != 0) {
    piece.kind = host != 0 ? PieceKind::kZeroHost : PieceKind::kZero;
    same = zero >> first;
  } else {
    piece.kind = host != 0 ? PieceKind::kUnallocatedHost : PieceKind::kUnallocated;
    same = ~(allocated | zero) >> first;
  }
  const unsigned count = std::min<unsigned>(std::countr_one(same), format::kSubclusters - first);
  const uint64_t end = uint64_t{first + count} << geometry.subcluster_bits();
  piece.length = end - in_cluster;
  return piece;
}

bool continues(const Piece& piece, const Piece& next) {
  if (next.kind != piece.kind) return false;
  switch (piece.kind) {
    case PieceKind::kUnallocated:
    case PieceKind::kZero:
      return true;
    case PieceKind::kUnallocatedHost:
    case PieceKind::kZeroHost:
    case PieceKind::kData:
      return next.copied == piece.copied && next.host == piece.host + piece.length;
    case PieceKind::kCompressed:
    case PieceKind::kInvalid:
      return false;
  }
  return false;
}

}  // namespace

L2Entry load_entry(const Geometry& geometry, const std::byte* slice, uint32_t index) {
  const std::byte* at = slice + size_t{index} * geometry.l2_entry_bytes();
  L2Entry entry;
  entry.descriptor = base::load_be<uint64_t>(at);
  if (geometry.extended_l2) entry.bitmap = base::load_be<uint64_t>(at + 8);
  return entry;
}

void store_entry(const Geometry& geometry, std::byte* slice, uint32_t index, L2Entry entry) {
  std::byte* at = slice + size_t{index} * geometry.l2_entry_bytes();
  base::store_be(at, entry.descriptor);
  if (geometry.extended_l2) base::store_be(at + 8, entry.bitmap);
}

bool has_copied_flags(const Geometry& geometry, const std::byte* slice) {
  for (uint32_t i = 0; i < geometry.slice_entries(); ++i) {
    const L2Entry entry = load_entry(geometry, slice, i);
    if (!entry.is_compressed() && entry.is_copied()) return true;
  }
  return false;
}

void clear_copied_flags(const Geometry& geometry, std::byte* slice) {
  for (uint32_t i = 0; i < geometry.slice_entries(); ++i) {
    L2Entry entry = load_entry(geometry, slice, i);
    if (entry.is_compressed() || !entry.is_copied()) continue;
    entry.descriptor &= ~format::kCopied;
    store_entry(geometry, slice, i, entry);
  }
}

Piece piece_at(const Geometry& geometry, const std::byte* slice, uint64_t guest, uint64_t length) {
  uint32_t index = geometry.index_in_slice(guest);
  Piece piece =
      piece_in_cluster(geometry, load_entry(geometry, slice, index), geometry.in_cluster(guest));
  uint64_t at = geometry.in_cluster(guest) + piece.length;
  while (piece.length < length) {
    if (geometry.in_cluster(at) != 0) break;  // the kind changes within a cluster
    if (++index == geometry.slice_entries()) break;
    const Piece next = piece_in_cluster(geometry, load_entry(geometry, slice, index), 0);
    if (!continues(piece, next)) break;
    piece.length += next.length;
    at += next.length;
  }
  piece.length = std::min(piece.length, length);
  return piece;
}

CompressedRange compressed_range(const Geometry& geometry, uint64_t descriptor) {
  const unsigned shift = geometry.compressed_shift();
  const uint64_t offset_mask = (uint64_t{1} << shift) - 1;
  const uint64_t sectors_mask = (uint64_t{1} << (geometry.cluster_bits - 8)) - 1;
  const uint64_t offset = descriptor & offset_mask & (format::kMaxHostOffset - 1);
  const uint64_t sectors = (descriptor >> shift & sectors_mask) + 1;
  return {offset, sectors * 512 - (offset & 511)};
}

}  // namespace firn::qcow2
