// Snapshots: counting what tables refer to, and tables on their way to the file and back.

#include <algorithm>
#include <cstring>

#include "drivers/qcow2/snapshots.h"

namespace firn::qcow2 {

namespace {
// Dirty slices beyond these are written before more are made.
constexpr size_t kMaxDirtySlices = 1024;
}  // namespace

Task<Result<>> Snapshots::commit_if_many() {
  async::Loop& loop = async::Loop::current();
  if (loop.turn_is_over()) co_await loop.yield();
  const size_t dirty = parts_.l2.cache().dirty_count() + parts_.refcounts.cache().dirty_count();
  if (dirty <= kMaxDirtySlices) co_return Result<>{};
  co_return co_await parts_.commits.commit();
}

// One reference more for all that `tables` lead to; nothing of it belongs to anyone alone.
Task<Result<>> Snapshots::count(const std::vector<uint64_t>& tables, uint64_t& counted) {
  Tree tree(parts_.geometry, parts_.l2.cache(), tables);
  Tree::Step step;
  while (CO_TRY(co_await tree.next(step))) {
    for (const HostRun& run : step.runs) {
      CO_TRY(co_await parts_.refcounts.increment(run.first, run.count, counted));
    }
    if (has_copied_flags(parts_.geometry, step.slice->data.get())) {
      clear_copied_flags(parts_.geometry, parts_.l2.cache().modify(*step.slice));
    }
    CO_TRY(co_await commit_if_many());
  }
  co_return Result<>{};
}

// One reference less, for the first `most` clusters in count()'s order.
Task<Result<>> Snapshots::uncount(const std::vector<uint64_t>& tables, uint64_t most,
                                  bool discard) {
  Tree tree(parts_.geometry, parts_.l2.cache(), tables);
  Tree::Step step;
  Result<> result;
  while (most != 0 && CO_TRY(co_await tree.next(step))) {
    // The table itself may become free with its last slice.
    step.slice = {};
    for (const HostRun& run : step.runs) {
      const uint64_t part = std::min(run.count, most);
      most -= part;
      if (part == 0) break;
      Result<> done =
          co_await parts_.freed.release_now({.first = run.first, .count = part}, discard);
      if (!done) result = std::move(done);
    }
    CO_TRY(co_await commit_if_many());
  }
  co_return result;
}

// What internal snapshots shared with the disk, and now is the disk's alone, may be changed in
// place again.
Task<Result<>> Snapshots::reclaim() {
  const Geometry& geometry = parts_.geometry;
  for (uint64_t i = 0; i < parts_.l2.l1().size(); ++i) {
    const uint64_t table = parts_.l2.l1()[i] & format::kOffsetMask;
    if (table == 0) continue;
    CO_TRY(co_await parts_.l2.reclaim_table(i));
    const uint64_t entry = parts_.l2.l1()[i];
    if ((entry & format::kCopied) == 0) continue;
    uint64_t guest = i << geometry.l2_coverage_bits();
    for (uint64_t at = 0; at < geometry.cluster_bytes(); at += geometry.slice_bytes()) {
      TableCache::Ref slice =
          CO_TRY(co_await parts_.l2.cache().load((entry & format::kOffsetMask) + at));
      CO_TRY(co_await reclaim_slice(std::move(slice), guest));
      guest += geometry.slice_coverage();
      CO_TRY(co_await commit_if_many());
    }
  }
  co_return Result<>{};
}

// A write in flight that copies a cluster away goes first: in between, another write must not go
// to the old place.
Task<Result<>> Snapshots::reclaim_slice(TableCache::Ref slice, uint64_t guest) {
  const Geometry& geometry = parts_.geometry;
  for (uint32_t i = 0; i < geometry.slice_entries();) {
    L2Entry entry = load_entry(geometry, slice->data.get(), i);
    if (entry.is_compressed() || entry.host() == 0 || entry.is_copied()) {
      ++i;
      continue;
    }
    const uint64_t begin = guest + (uint64_t{i} << geometry.cluster_bits);
    if (Allocations::Guard* other =
            parts_.allocations.conflict(begin, begin + geometry.cluster_bytes())) {
      co_await other->waiters().wait();
      continue;
    }
    const uint64_t cluster = entry.host() >> geometry.cluster_bits;
    const std::optional<uint64_t> count = parts_.refcounts.try_get(cluster);
    if (!count) {
      CO_TRY(co_await parts_.refcounts.get(cluster));
      continue;
    }
    if (*count == 1) {
      entry.descriptor |= format::kCopied;
      store_entry(geometry, parts_.l2.cache().modify(*slice), i, entry);
    }
    ++i;
  }
  co_return Result<>{};
}

// Tables ----------------------------------------------------------------------------------------

// At a new place, not durable yet. Nothing to write: nowhere.
Task<Result<uint64_t>> Snapshots::write_table(const std::byte* bytes, uint64_t length,
                                              Counted& counted) {
  if (length == 0) co_return uint64_t{0};
  const uint64_t padded = base::round_up(length, parts_.geometry.cluster_bytes());
  Buffer buffer = make_zero_buffer(padded);
  std::memcpy(buffer.get(), bytes, length);
  const HostRun run =
      CO_TRY(co_await parts_.refcounts.allocate_table(padded >> parts_.geometry.cluster_bits));
  counted.places.push_back(run);
  const uint64_t offset = run.first << parts_.geometry.cluster_bits;
  CO_TRY(co_await parts_.file.write(offset, buffer.get(), padded));
  co_return offset;
}

Task<Result<uint64_t>> Snapshots::write_l1(const std::vector<uint64_t>& tables, Counted& counted) {
  std::vector<std::byte> bytes(tables.size() * 8);
  for (size_t i = 0; i < tables.size(); ++i) base::store_be(bytes.data() + i * 8, tables[i]);
  co_return co_await write_table(bytes.data(), bytes.size(), counted);
}

// Gives the table's size in bytes.
Task<Result<uint64_t>> Snapshots::write_entries(const std::vector<SnapshotEntry>& entries,
                                                Header& next, Counted& counted) {
  const std::vector<std::byte> bytes = CO_TRY(serialize_snapshot_table(entries));
  next.snapshots_offset = CO_TRY(co_await write_table(bytes.data(), bytes.size(), counted));
  next.snapshot_count = static_cast<uint32_t>(entries.size());
  co_return uint64_t{bytes.size()};
}

Task<Result<std::vector<uint64_t>>> Snapshots::read_l1(const SnapshotEntry& entry) {
  std::vector<std::byte> bytes(uint64_t{entry.l1_entries} * 8);
  std::vector<uint64_t> tables(entry.l1_entries);
  if (bytes.empty()) co_return tables;
  if (entry.l1_offset + bytes.size() > parts_.file.size_bytes()) {
    co_return base::fail(
        base::Error(base::ErrorKind::kCorrupt,
                    "qcow2: the snapshot's L1 table lies beyond the end of the file")
            .with_hint("check the image with qemu-img check"));
  }
  CO_TRY(co_await parts_.file.read(entry.l1_offset, bytes.data(), bytes.size()));
  for (size_t i = 0; i < tables.size(); ++i) {
    tables[i] = base::load_be<uint64_t>(bytes.data() + i * 8) & format::kOffsetMask;
  }
  co_return tables;
}

}  // namespace firn::qcow2
