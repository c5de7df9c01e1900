// Image: zeroing and discarding.

#include <algorithm>
#include <array>

#include "drivers/qcow2/image.h"

namespace firn::qcow2 {

using base::ErrorKind;
using block::flag::kFua;
using block::flag::kMayUnmap;
using block::flag::kNoFallback;

namespace {
alignas(4096) constexpr std::array<std::byte, 65536> kZeroes = {};
constexpr uint64_t kZeroWriteBytes = 1u << 20;
}  // namespace

Task<Result<>> Image::write_zeroes(uint64_t offset, uint64_t length, Flags flags) {
  if (!snapshots_.gate().is_open()) [[unlikely]]
    co_await snapshots_.gate().enter();
  const ActiveOps::Op op(ops_, true);
  const Unmap unmap = (flags & kMayUnmap) != 0 ? Unmap::kFree : Unmap::kKeep;
  const uint64_t unit = zero_unit();
  const uint64_t end = offset + length;
  // What follows the disk's end is nobody's, so a unit that reaches over it is whole.
  const uint64_t whole_begin = base::round_up(offset, unit);
  const uint64_t whole_end =
      end == header_.size_bytes ? base::round_up(end, unit) : base::round_down(end, unit);
  if (whole_begin >= whole_end) {
    for (uint64_t at = offset; at < end;) {
      const uint64_t next = std::min(end, base::round_down(at, unit) + unit);
      CO_TRY(co_await zero_part_of_unit(at, next, unmap, flags));
      at = next;
    }
  } else {
    if (offset < whole_begin) CO_TRY(co_await zero_part_of_unit(offset, whole_begin, unmap, flags));
    if (whole_end < end) CO_TRY(co_await zero_part_of_unit(whole_end, end, unmap, flags));
    if (geometry_.has_zero_clusters) {
      CO_TRY(co_await zero_units(whole_begin, whole_end, unmap));
    } else {
      CO_TRY(co_await zero_v2(whole_begin, whole_end, unmap, flags));
    }
  }
  if ((flags & kFua) != 0) co_return co_await commits_.commit();
  if (is_under_pressure()) co_return co_await commit_under_pressure();
  co_return Result<>{};
}

Task<Result<>> Image::discard(uint64_t offset, uint64_t length, Flags flags) {
  if (!snapshots_.gate().is_open()) [[unlikely]]
    co_await snapshots_.gate().enter();
  const ActiveOps::Op op(ops_, true);
  const uint64_t unit = zero_unit();
  const uint64_t end = offset + length;
  const uint64_t whole_begin = base::round_up(offset, unit);
  const uint64_t whole_end =
      end == header_.size_bytes ? base::round_up(end, unit) : base::round_down(end, unit);
  // Version 2 can't hide what lies below, so there the data stays.
  const bool can_hide = geometry_.has_zero_clusters || nothing_below();
  if (whole_begin < whole_end && can_hide) {
    CO_TRY(co_await zero_units(whole_begin, whole_end, Unmap::kDiscard));
  }
  if ((flags & kFua) != 0) co_return co_await commits_.commit();
  if (is_under_pressure() || discards_pile_up()) co_return co_await commit_under_pressure();
  co_return Result<>{};
}

// All of [begin, end) reads as zeroes already.
Task<Result<bool>> Image::is_zero_range(uint64_t begin, uint64_t end) {
  end = std::min(end, header_.size_bytes);
  while (begin < end) {
    const Piece piece = CO_TRY(co_await load_piece(begin, end - begin));
    const bool empty_below = piece.reads_below() && nothing_below(begin);
    if (!piece.reads_zero() && !empty_below) co_return false;
    begin += piece.length;
  }
  co_return true;
}

// A range within one unit, and not all of it.
Task<Result<>> Image::zero_part_of_unit(uint64_t begin, uint64_t end, Unmap unmap, Flags flags) {
  if (l2_.is_unmapped(begin)) {
    const bool quiet = allocations_.conflict(begin, end) == nullptr;
    if (quiet && nothing_below(begin)) co_return Result<>{};
  } else {
    const TableCache::Ref slice = CO_TRY(co_await l2_.load_writable(begin));
    const uint64_t unit = base::round_down(begin, zero_unit());
    const uint64_t unit_end = unit + zero_unit();
    // In one turn: what is judged here is what is marked.
    if (allocations_.conflict(unit, unit_end) == nullptr) {
      if (reads_zero(*slice, begin, end)) co_return Result<>{};
      // If the rest is zero too, the unit as a whole is the cheaper way.
      if (geometry_.has_zero_clusters && reads_zero(*slice, unit, begin) &&
          reads_zero(*slice, end, unit_end) &&
          zero_in_slice(*slice, unit, unit_end, unmap) == unit_end) {
        co_return Result<>{};
      }
    }
  }
  if ((flags & kNoFallback) != 0) {
    co_return base::fail(ErrorKind::kUnsupported, "zeroing part of a cluster is not cheap here");
  }
  co_return co_await write_zero_data(begin, end);
}

Task<Result<>> Image::write_zero_data(uint64_t begin, uint64_t end) {
  while (begin < end) {
    const uint64_t length = std::min(end - begin, kZeroWriteBytes);
    IoVec iov;
    while (iov.size_bytes() < length) {
      const uint64_t piece = std::min<uint64_t>(length - iov.size_bytes(), kZeroes.size());
      iov.append(const_cast<std::byte*>(kZeroes.data()), piece);
    }
    CO_TRY(co_await write_parts(begin, iov));
    begin += length;
  }
  co_return Result<>{};
}

// Version 2 has no zero clusters: nothing to read below and leave to give storage back, or data.
Task<Result<>> Image::zero_v2(uint64_t begin, uint64_t end, Unmap unmap, Flags flags) {
  if (nothing_below() && unmap != Unmap::kKeep) co_return co_await zero_units(begin, end, unmap);
  end = std::min(end, header_.size_bytes);
  while (begin < end) {
    const uint64_t next = std::min(end, begin + geometry_.cluster_bytes());
    if (!CO_TRY(co_await is_zero_range(begin, next))) {
      if ((flags & kNoFallback) != 0) {
        co_return base::fail(ErrorKind::kUnsupported, "version 2 images have no zero clusters");
      }
      CO_TRY(co_await write_zero_data(begin, next));
    }
    begin = next;
    if (loop_->turn_is_over()) co_await loop_->yield();
  }
  co_return Result<>{};
}

// Whole units.
Task<Result<>> Image::zero_units(uint64_t begin, uint64_t end, Unmap unmap) {
  while (begin < end) {
    const uint64_t slice_end = std::min(end, (begin | (geometry_.slice_coverage() - 1)) + 1);
    if (Allocations::Guard* other =
            allocations_.conflict(geometry_.cluster_start(begin), slice_end)) {
      co_await other->waiters().wait();
      continue;
    }
    if ((nothing_below() || unmap == Unmap::kForget) && l2_.is_unmapped(begin)) {
      begin = std::min(end, (begin | (geometry_.l2_coverage() - 1)) + 1);
      if (loop_->turn_is_over()) co_await loop_->yield();
      continue;
    }
    const TableCache::Ref slice = CO_TRY(co_await l2_.load_writable(begin));
    if (allocations_.conflict(geometry_.cluster_start(begin), slice_end) != nullptr) continue;
    const uint64_t zeroed_to = zero_in_slice(*slice, begin, slice_end, unmap);
    if (zeroed_to != begin) {
      begin = zeroed_to;
    } else {
      const uint64_t cluster_end = std::min(slice_end, geometry_.cluster_end(begin));
      CO_TRY(co_await write_zero_data(begin, std::min(cluster_end, header_.size_bytes)));
      begin = cluster_end;
    }
    if (has_many_dirty_slices()) CO_TRY(co_await commit_under_pressure());
    if (loop_->turn_is_over()) co_await loop_->yield();
  }
  co_return Result<>{};
}

// In one turn. Gives where it stopped: at the end, or before part of a compressed cluster, which
// has no subclusters to mark.
uint64_t Image::zero_in_slice(TableCache::Slice& slice, uint64_t begin, uint64_t end, Unmap unmap) {
  for (uint64_t at = begin; at < end;) {
    const uint32_t index = geometry_.index_in_slice(at);
    const uint64_t next = std::min(end, geometry_.cluster_end(at));
    if (next - at == geometry_.cluster_bytes()) {
      zero_cluster(slice, index, unmap);
    } else {
      L2Entry entry = load_entry(geometry_, slice.data.get(), index);
      if (entry.is_compressed()) return at;
      const unsigned first =
          static_cast<unsigned>(geometry_.in_cluster(at) >> geometry_.subcluster_bits());
      const unsigned last =
          static_cast<unsigned>(geometry_.in_cluster(next - 1) >> geometry_.subcluster_bits());
      const uint64_t mask = subcluster_mask(first, last);
      entry.bitmap = (entry.bitmap & ~mask) | (mask << 32);
      store_entry(geometry_, l2_.cache().modify(slice), index, entry);
    }
    at = next;
  }
  return end;
}

void Image::zero_cluster(TableCache::Slice& slice, uint32_t index, Unmap unmap) {
  const L2Entry old = load_entry(geometry_, slice.data.get(), index);
  const bool has_host = old.is_compressed() || old.host() != 0;
  // Without a mark the cluster is as if it had never been written.
  const bool unmarked = !geometry_.has_zero_clusters || unmap == Unmap::kForget ||
                        (unmap == Unmap::kDiscard && nothing_below());
  if (!has_host && nothing_below() && !unmarked) return;  // it reads as zeroes already
  const bool keep = unmap == Unmap::kKeep && has_host && !old.is_compressed() && old.is_copied();
  L2Entry entry;
  if (keep) entry.descriptor = old.descriptor;
  if (!unmarked) {
    if (geometry_.extended_l2)
      entry.bitmap = kAllZero;
    else
      entry.descriptor |= format::kZero;
  }
  if (entry.descriptor == old.descriptor && entry.bitmap == old.bitmap) return;
  store_entry(geometry_, l2_.cache().modify(slice), index, entry);
  if (has_host && !keep) freed_.add_entry(commits_.next_number(), old, FreedBy::kRequest);
}

}  // namespace firn::qcow2
