// Image: changing the disk's size.

#include <fmt/format.h>

#include <algorithm>

#include "drivers/qcow2/image.h"

namespace firn::qcow2 {

using base::ErrorKind;
using base::fail;

Task<Result<>> Image::resize(uint64_t size_bytes) {
  CO_TRY(check_writable());
  const async::Mutex::Guard guard = co_await snapshots_.lock();
  if (size_bytes % 512 != 0) {
    co_return fail(ErrorKind::kInvalidArgument, "The new size must be a multiple of 512");
  }
  if (size_bytes == header_.size_bytes) co_return Result<>{};
  if (geometry_.l1_entries(size_bytes) > format::kMaxL1Bytes / 8 ||
      size_bytes > uint64_t{INT64_MAX}) {
    co_return fail(base::Error(ErrorKind::kInvalidArgument, "New size too large")
                       .with_hint("convert the image to one with larger clusters"));
  }
  if (!snapshots_.entries().empty() && header_.version < 3) {
    co_return fail(ErrorKind::kUnsupported, "Can't resize a v2 image which has snapshots");
  }
  co_return size_bytes > header_.size_bytes ? co_await grow(size_bytes)
                                            : co_await shrink(size_bytes);
}

// What the grown part must not show is gone, and durably so, before the header names the new size:
// old bytes of the last cluster, what a longer backing layer has there, and clusters that a
// shrinking left mapped when it was interrupted.
Task<Result<>> Image::grow(uint64_t size_bytes) {
  const uint64_t old_size = header_.size_bytes;
  const uint64_t entries = geometry_.l1_entries(size_bytes);
  if (entries > header_.l1_entries) CO_TRY(co_await grow_l1(entries));
  uint64_t hidden_end = base::round_up(old_size, geometry_.cluster_bytes());
  const block::Edge& below = node_.children().backing;
  if (below) hidden_end = std::max(hidden_end, below.size_bytes());
  hidden_end = std::min(hidden_end, size_bytes);

  // In memory first: the ways of writing look at the size. Nobody else asks beyond the old one,
  // which they are shown until this call is over.
  header_.size_bytes = size_bytes;
  const uint64_t left_begin = base::round_up(old_size, geometry_.cluster_bytes());
  const uint64_t left_end = base::round_up(size_bytes, geometry_.cluster_bytes());
  Result<> done = co_await zero_units(left_begin, left_end, Unmap::kForget);
  if (done && old_size < hidden_end) {
    done = co_await write_zeroes(old_size, hidden_end - old_size, block::flag::kNone);
  }
  if (done) done = co_await commits_.commit();
  if (done) {
    const async::Mutex::Guard guard = co_await commits_.lock();
    done = co_await commits_.write_header();
  }
  if (!done) header_.size_bytes = old_size;
  shown_size_bytes_ = header_.size_bytes;
  co_return done;
}

Task<Result<>> Image::grow_l1(uint64_t entries) {
  const uint64_t bytes = base::round_up(entries * 8, geometry_.cluster_bytes());
  const HostRun run = CO_TRY(co_await refcounts_.allocate_table(bytes >> geometry_.cluster_bits));
  const uint64_t new_offset = run.first << geometry_.cluster_bits;
  const async::Mutex::Guard guard = co_await commits_.lock();
  // The copy has what the following commit makes durable, and nothing younger or older: between the
  // copy and the commit's freezing nothing waits, since its one wait before it is over here. What
  // is added to the table from here on goes to the new place with a later commit.
  CO_TRY(co_await refcounts_.make_room_for_table());
  const std::vector<uint64_t> copied = l2_.l1();
  const Buffer table = l2_.copy_l1(bytes);
  Result<> done = co_await commits_.commit_locked();
  if (done) done = co_await file_.write(new_offset, table.get(), bytes);
  if (done) done = co_await file_.flush();
  if (!done) {
    freed_.add(commits_.next_number(), run);
    co_return done;
  }
  const uint64_t old_offset = std::exchange(header_.l1_offset, new_offset);
  const uint32_t old_entries = std::exchange(header_.l1_entries, static_cast<uint32_t>(entries));
  if (done = co_await commits_.write_header(); !done) {
    // Which table the header on disk names is not known: neither is freed.
    header_.l1_offset = old_offset;
    header_.l1_entries = old_entries;
    co_return done;
  }
  l2_.move_l1(new_offset, static_cast<uint32_t>(entries));
  for (uint64_t i = 0; i < copied.size(); ++i) {
    if (l2_.l1()[i] != copied[i]) l2_.set_l1_entry(i, l2_.l1()[i]);
  }
  const uint64_t old_bytes = base::round_up(uint64_t{old_entries} * 8, geometry_.cluster_bytes());
  if (old_bytes != 0) {
    freed_.add(commits_.next_number(), {.first = old_offset >> geometry_.cluster_bits,
                                        .count = old_bytes >> geometry_.cluster_bits});
  }
  co_return Result<>{};
}

// The tables stay; what they map beyond the new end is given up.
Task<Result<>> Image::shrink(uint64_t size_bytes) {
  const uint64_t old_size = header_.size_bytes;
  const uint64_t begin = base::round_up(size_bytes, geometry_.cluster_bytes());
  {
    // The header comes first: a cut after it leaves leaked clusters at most.
    const async::Mutex::Guard guard = co_await commits_.lock();
    header_.size_bytes = size_bytes;
    if (Result<> done = co_await commits_.write_header(); !done) {
      header_.size_bytes = old_size;
      co_return done;
    }
    shown_size_bytes_ = size_bytes;
  }
  const uint64_t end = base::round_up(old_size, geometry_.cluster_bytes());
  if (begin < end) CO_TRY(co_await zero_units(begin, end, Unmap::kForget));
  co_return co_await commits_.commit();
}

}  // namespace firn::qcow2
