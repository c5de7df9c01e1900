// Image: writing data.

#include <algorithm>
#include <array>

#include "base/canary.h"
#include "drivers/qcow2/image.h"

namespace firn::qcow2 {

using block::flag::kFua;
using block::flag::kStable;

namespace {

// Zeroes to write out; never stored to.
alignas(4096) constexpr std::array<std::byte, 65536> kZeroes = {};

void append_zeroes(IoVec& iov, uint64_t length) {
  while (length != 0) {
    const uint64_t run = std::min<uint64_t>(length, kZeroes.size());
    iov.append(const_cast<std::byte*>(kZeroes.data()), run);
    length -= run;
  }
}

}  // namespace

Task<Result<>> Image::write(uint64_t offset, const IoVec& iov, Flags flags) {
  if (!snapshots_.gate().is_open()) [[unlikely]]
    co_await snapshots_.gate().enter();
  const ActiveOps::Op op(ops_, true);
  const std::optional<Piece> piece = find_piece(offset, iov.size_bytes());
  if (piece && piece->kind == PieceKind::kData && piece->copied &&
      piece->length == iov.size_bytes() && l2_.is_writable(offset)) {
    if (Result<> valid = check_host(offset, piece->host, piece->length); !valid) [[unlikely]] {
      co_return valid;
    }
    Result<> written = co_await file_.write(piece->host, iov);
    if (!written || (flags & kFua) == 0) co_return written;
  } else {
    CO_TRY(co_await write_parts(offset, iov));
  }
  if ((flags & kFua) != 0) co_return co_await commits_.commit();
  if (is_under_pressure()) co_return co_await commit_under_pressure();
  co_return Result<>{};
}

Task<Result<>> Image::write_parts(uint64_t offset, const IoVec& iov) {
  for (uint64_t done = 0; done < iov.size_bytes();) {
    done += CO_TRY(co_await write_part(offset + done, iov, done));
    if (loop_->turn_is_over()) co_await loop_->yield();
  }
  co_return Result<>{};
}

// Writes as much of `iov` from `at` on as goes in one step; gives how much that was.
Task<Result<uint64_t>> Image::write_part(uint64_t guest, const IoVec& iov, uint64_t at) {
  const uint64_t left = iov.size_bytes() - at;
  while (true) {
    TableCache::Ref slice = CO_TRY(co_await l2_.load_writable(guest));
    arm_cleaning();
    // From here to the guard, or to the file, nothing waits.
    const Piece piece = piece_at(geometry_, slice->data.get(), guest, left);
    if (piece.kind == PieceKind::kInvalid) {
      co_return std::unexpected(corrupt(guest, "invalid L2 entry"));
    }
    if (piece.kind == PieceKind::kData && piece.copied) {
      CO_TRY(check_host(guest, piece.host, piece.length));
      const IoVec part = iov.slice(at, piece.length);
      CO_TRY(co_await file_.write(piece.host, part));
      co_return piece.length;
    }
    const Plan plan = plan_write(*slice, guest, left);
    if (plan.reuse) CO_TRY(check_host(guest, plan.host, plan.end - guest));
    if (Allocations::Guard* other = allocations_.conflict(plan.guard_begin, plan.guard_end)) {
      co_await other->waiters().wait();
      continue;
    }
    co_return co_await write_plan(std::move(slice), plan, iov, at);
  }
}

Image::Plan Image::plan_write(const TableCache::Slice& slice, uint64_t guest,
                              uint64_t length) const {
  const uint64_t slice_end = (guest | (geometry_.slice_coverage() - 1)) + 1;
  const uint64_t limit = std::min(guest + length, slice_end);
  uint32_t index = geometry_.index_in_slice(guest);
  const auto keeps_host = [&](const L2Entry& entry) {
    return !entry.is_compressed() && entry.host() != 0 && entry.is_copied();
  };
  const L2Entry first = load_entry(geometry_, slice.data.get(), index);
  Plan plan{.guest = guest, .end = std::min(limit, geometry_.cluster_end(guest))};
  if (keeps_host(first)) {
    plan.reuse = true;
    plan.host = first.host() + geometry_.in_cluster(guest);
    const uint64_t unit = geometry_.subcluster_bytes();
    plan.guard_begin = base::round_down(guest, unit);
    plan.guard_end = base::round_up(plan.end, unit);
    return plan;
  }
  while (plan.end < limit) {
    if (keeps_host(load_entry(geometry_, slice.data.get(), ++index))) break;
    plan.end = std::min(limit, plan.end + geometry_.cluster_bytes());
  }
  plan.guard_begin = geometry_.cluster_start(guest);
  plan.guard_end = base::round_up(plan.end, geometry_.cluster_bytes());
  return plan;
}

// How far the copies around [guest, end) reach: to the ends of its clusters; with subclusters, of
// those, unless the old content is in a cluster that will be left behind.
void Image::plan_copies(const TableCache::Slice& slice, Plan& plan) const {
  const auto edge_unit = [&](uint64_t guest) -> uint64_t {
    if (!geometry_.extended_l2) return geometry_.cluster_bytes();
    const L2Entry entry = load_entry(geometry_, slice.data.get(), geometry_.index_in_slice(guest));
    if (!plan.reuse) {
      const bool has_content = entry.is_compressed() || entry.host() != 0;
      return has_content ? geometry_.cluster_bytes() : geometry_.subcluster_bytes();
    }
    const uint64_t subcluster = geometry_.in_cluster(guest) >> geometry_.subcluster_bits();
    return (entry.bitmap >> subcluster & 1) != 0 ? 1 : geometry_.subcluster_bytes();
  };
  plan.copy_begin = base::round_down(plan.guest, edge_unit(plan.guest));
  plan.copy_end = base::round_up(plan.end, edge_unit(plan.end - 1));
}

Task<Result<uint64_t>> Image::write_plan(TableCache::Ref slice, Plan plan, const IoVec& iov,
                                         uint64_t at) {
  Allocations::Guard guard(allocations_, plan.guard_begin, plan.guard_end);
  HostRun run;
  if (!plan.reuse) {
    const uint64_t wanted = (plan.guard_end - plan.guard_begin) >> geometry_.cluster_bits;
    std::optional<HostRun> taken = refcounts_.try_allocate(wanted);
    run = taken ? *taken : CO_TRY(co_await refcounts_.allocate(wanted));
    if (run.count < wanted) {
      plan.guard_end = plan.guard_begin + (run.count << geometry_.cluster_bits);
      plan.end = plan.guard_end;
      guard.shrink(plan.guard_end);
    }
    plan.host = (run.first << geometry_.cluster_bits) + geometry_.in_cluster(plan.guest);
    plan.fresh = run.fresh;
  }
  plan_copies(*slice, plan);
  if (base::canaries.l2_before_data) publish(*slice, plan);
  Result<> written = co_await write_with_copies(*slice, plan, iov, at);
  if (!written) {
    if (!plan.reuse) freed_.add(commits_.next_number(), run);
    co_return std::unexpected(written.error());
  }
  if (!base::canaries.l2_before_data) publish(*slice, plan);
  co_return plan.end - plan.guest;
}

// All of [begin, end), which lies in one cluster of the slice, reads as zeroes.
bool Image::reads_zero(const TableCache::Slice& slice, uint64_t begin, uint64_t end) const {
  end = std::min(end, header_.size_bytes);
  while (begin < end) {
    const Piece piece = piece_at(geometry_, slice.data.get(), begin, end - begin);
    const bool empty_below = piece.reads_below() && nothing_below(begin);
    if (!piece.reads_zero() && !empty_below) return false;
    begin += piece.length;
  }
  return true;
}

// What a guest reads in [begin, end), zeroes beyond the disk's end.
Task<Result<Buffer>> Image::read_for_copy(uint64_t begin, uint64_t end) {
  Buffer buffer = make_buffer(end - begin);
  const uint64_t disk_end = std::clamp(header_.size_bytes, begin, end);
  std::fill(buffer.get() + (disk_end - begin), buffer.get() + (end - begin), std::byte{0});
  if (begin != disk_end) {
    const IoVec iov(buffer.get(), disk_end - begin);
    CO_TRY(co_await read(begin, iov, kStable));
  }
  co_return buffer;
}

Task<Result<>> Image::write_with_copies(const TableCache::Slice& slice, const Plan& plan,
                                        const IoVec& iov, uint64_t at) {
  const uint64_t head = plan.guest - plan.copy_begin;
  const uint64_t tail = plan.copy_end - plan.end;
  const bool whole = at == 0 && iov.size_bytes() == plan.end - plan.guest;
  const bool head_zero = head != 0 && reads_zero(slice, plan.copy_begin, plan.guest);
  const bool tail_zero = tail != 0 && reads_zero(slice, plan.end, plan.copy_end);
  // Zeroes that are there already need no writing.
  const bool no_head = head == 0 || (head_zero && plan.fresh);
  const bool no_tail = tail == 0 || (tail_zero && plan.fresh);
  if (no_head && no_tail && whole) co_return co_await file_.write(plan.host, iov);

  Buffer head_copy;
  Buffer tail_copy;
  if (!no_head && !head_zero) {
    head_copy = CO_TRY(co_await read_for_copy(plan.copy_begin, plan.guest));
  }
  if (!no_tail && !tail_zero) {
    tail_copy = CO_TRY(co_await read_for_copy(plan.end, plan.copy_end));
  }
  IoVec out;
  if (head_copy)
    out.append(head_copy.get(), head);
  else if (!no_head)
    append_zeroes(out, head);
  out.append(iov, at, plan.end - plan.guest);
  if (tail_copy)
    out.append(tail_copy.get(), tail);
  else if (!no_tail)
    append_zeroes(out, tail);
  co_return co_await file_.write(no_head ? plan.host : plan.host - head, out);
}

// The L2 entries of what was written. In one turn, the guard still held.
void Image::publish(TableCache::Slice& slice, const Plan& plan) {
  std::byte* table = l2_.cache().modify(slice);
  uint64_t host = plan.host - geometry_.in_cluster(plan.guest);
  for (uint64_t cluster = geometry_.cluster_start(plan.guest); cluster < plan.end;
       cluster += geometry_.cluster_bytes(), host += geometry_.cluster_bytes()) {
    const uint32_t index = geometry_.index_in_slice(cluster);
    const L2Entry old = load_entry(geometry_, table, index);
    L2Entry entry{.descriptor = host | format::kCopied};
    if (geometry_.extended_l2) {
      const uint64_t begin = std::max(cluster, plan.copy_begin) - cluster;
      const uint64_t end = std::min(cluster + geometry_.cluster_bytes(), plan.copy_end) - cluster;
      const uint64_t mask =
          subcluster_mask(static_cast<unsigned>(begin >> geometry_.subcluster_bits()),
                          static_cast<unsigned>((end - 1) >> geometry_.subcluster_bits()));
      const uint64_t before = old.is_compressed() ? 0 : old.bitmap;
      entry.bitmap = (before | mask) & ~(mask << 32);
    }
    store_entry(geometry_, table, index, entry);
    if (!plan.reuse) freed_.add_entry(commits_.next_number(), old);
  }
}

}  // namespace firn::qcow2
