#include "drivers/qcow2/snapshots.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <limits>

#include "base/canary.h"
#include "base/log.h"

namespace firn::qcow2 {

using base::ErrorKind;
using base::fail;

namespace {
constexpr uint64_t kAll = std::numeric_limits<uint64_t>::max();
}

Task<Result<>> Snapshots::open() {
  SnapshotTable table = CO_TRY_CONTEXT(co_await read_snapshot_table(parts_.file, parts_.header),
                                       "Could not read snapshots");
  entries_ = std::move(table.entries);
  table_bytes_ = table.bytes;
  co_return Result<>{};
}

Result<> Snapshots::check_new(const block::InternalSnapshotSpec& spec) const {
  constexpr size_t kMaxNameBytes = std::numeric_limits<uint16_t>::max();
  if (spec.name.size() > kMaxNameBytes) {
    return fail(ErrorKind::kInvalidArgument, "the snapshot's name is too long");
  }
  if (entries_.size() >= format::kMaxSnapshots) {
    return fail(base::Error(ErrorKind::kOutOfRange, "the image has too many internal snapshots")
                    .with_hint("delete some of them"));
  }
  if (parts_.geometry.refcount_max() < 2) {
    return fail(
        base::Error(ErrorKind::kUnsupported,
                    "an image with refcount_bits=1 can't have internal snapshots")
            .with_hint("convert it to one with wider refcounts, or take an external snapshot"));
  }
  return {};
}

std::string Snapshots::new_id() const {
  uint64_t highest = 0;
  for (const SnapshotEntry& entry : entries_) {
    uint64_t id = 0;
    std::from_chars(entry.id.data(), entry.id.data() + entry.id.size(), id);
    highest = std::max(highest, id);
  }
  return std::to_string(highest + 1);
}

Result<size_t> Snapshots::find(const std::string& id) const {
  const auto found = std::ranges::find(entries_, id, &SnapshotEntry::id);
  if (found == entries_.end()) {
    return fail(ErrorKind::kNotFound,
                fmt::format("there is no internal snapshot with id '{}'", id));
  }
  return static_cast<size_t>(found - entries_.begin());
}

HostRun Snapshots::run_of(uint64_t offset, uint64_t bytes) const {
  return {.first = offset >> parts_.geometry.cluster_bits,
          .count = base::div_ceil(bytes, parts_.geometry.cluster_bytes())};
}

// The header ------------------------------------------------------------------------------------

Task<Result<>> Snapshots::set_dirty() {
  Header& header = parts_.header;
  const async::Mutex::Guard guard = co_await parts_.commits.lock();
  if (header.version < 3 || header.is_dirty()) co_return Result<>{};
  header.incompatible |= format::incompatible::kDirty;
  Result<> written = co_await parts_.commits.write_header();
  if (!written) header.incompatible &= ~format::incompatible::kDirty;
  co_return written;
}

// All that was changed is in memory or on disk, and fits together.
Task<Result<>> Snapshots::clear_dirty() {
  Header& header = parts_.header;
  const async::Mutex::Guard guard = co_await parts_.commits.lock();
  CO_TRY(co_await parts_.commits.commit_locked());
  if (stays_dirty_ || !header.is_dirty()) co_return Result<>{};
  header.incompatible &= ~format::incompatible::kDirty;
  Result<> written = co_await parts_.commits.write_header();
  if (!written) header.incompatible |= format::incompatible::kDirty;
  co_return written;
}

void Snapshots::leave_dirty(std::string_view doing, const base::Error& error) {
  stays_dirty_ = true;
  base::log_warning(
      fmt::format("qcow2: {}: {}; some clusters of the image are lost until it is opened for "
                  "writing next time",
                  doing, error.text()));
}

// The one step that counts: what `next` names is durable, and so is that it does.
Task<Result<>> Snapshots::switch_header(Header next, Counted& counted) {
  const bool early = base::canaries.snapshot_before_refcounts;
  if (!early) CO_TRY(co_await parts_.commits.commit_locked());
  // The commit may have moved the refcount table.
  next.refcount_table_offset = parts_.header.refcount_table_offset;
  next.refcount_table_clusters = parts_.header.refcount_table_clusters;
  const Header before = std::exchange(parts_.header, std::move(next));
  Result<> written = co_await parts_.commits.write_header();
  if (!written) {
    parts_.header = before;
    counted.header_unknown = true;
  }
  co_return written;
}

// Taking ----------------------------------------------------------------------------------------

Task<Result<uint64_t>> Snapshots::prepare(block::InternalSnapshotSpec spec) {
  async::Mutex::Guard lock = co_await running_.lock();
  CO_TRY(check_new(spec));
  CO_TRY(co_await set_dirty());
  const async::TimePoint closed = async::Loop::current().now();
  gate_.close();
  while (parts_.ops.changing() != 0) co_await parts_.ops.ended().wait();
  const Header& header = parts_.header;
  pending_.emplace();
  pending_->lock = std::move(lock);
  pending_->entry = {.id = new_id(),
                     .name = std::move(spec.name),
                     .l1_entries = header.l1_entries,
                     .date_s = spec.date_s,
                     .date_ns = spec.date_ns,
                     .vm_clock_ns = spec.vm_clock_ns,
                     .virtual_size_bytes = header.size_bytes,
                     .icount = spec.icount};
  const auto held = async::Loop::current().now() - closed;
  co_return static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(held).count());
}

Task<void> Snapshots::cancel() {
  gate_.open();
  if (Result<> done = co_await clear_dirty(); !done) {
    leave_dirty("a snapshot that was not taken", done.error());
  }
  pending_.reset();
}

void Snapshots::take() {
  CHECK(pending_ && parts_.ops.changing() == 0);
  pending_->tables = parts_.l2.share_all();
  parts_.freed.hold();
  gate_.open();
}

Task<Result<SnapshotEntry>> Snapshots::store() {
  Counted counted;
  Result<> stored = co_await store_pending(*pending_, counted);
  if (!stored) {
    co_await take_back(pending_->tables, std::move(counted));
    pending_.reset();
    co_return std::unexpected(stored.error());
  }
  parts_.freed.resume();
  SnapshotEntry entry = pending_->entry;
  pending_.reset();
  co_return entry;
}

Task<Result<>> Snapshots::store_pending(Pending& pending, Counted& counted) {
  if (base::canaries.snapshot_lets_go_early) {
    // As if counting took long.
    for (int i = 0; i < 4; ++i) CO_TRY(co_await parts_.commits.commit());
  }
  if (!base::canaries.snapshot_before_refcounts) {
    CO_TRY(co_await count(pending.tables, counted.references));
  }
  pending.entry.l1_offset = CO_TRY(co_await write_l1(pending.tables, counted));
  std::vector<SnapshotEntry> entries = entries_;
  entries.push_back(pending.entry);
  const HostRun old_table = run_of(parts_.header.snapshots_offset, table_bytes_);
  uint64_t new_bytes = 0;
  {
    const async::Mutex::Guard guard = co_await parts_.commits.lock();
    Header next = parts_.header;
    new_bytes = CO_TRY(co_await write_entries(entries, next, counted));
    if (!stays_dirty_) next.incompatible &= ~format::incompatible::kDirty;
    CO_TRY(co_await switch_header(std::move(next), counted));
  }
  if (base::canaries.snapshot_before_refcounts) {
    CO_TRY(co_await count(pending.tables, counted.references));
  }
  if (old_table.count != 0) parts_.freed.add(parts_.commits.next_number(), old_table);
  entries_ = std::move(entries);
  table_bytes_ = new_bytes;
  co_return Result<>{};
}

// Nothing on disk refers to what was counted.
Task<void> Snapshots::take_back(std::vector<uint64_t> tables, Counted counted) {
  if (counted.header_unknown) {
    stays_dirty_ = true;
    parts_.freed.resume();
    co_return;
  }
  // What is held back may be among what the tables lie in.
  Result<> done = co_await uncount(tables, counted.references, false);
  parts_.freed.resume();
  for (const HostRun& place : counted.places) {
    Result<> released = co_await parts_.freed.release_now(place, false);
    if (!released && done) done = std::move(released);
  }
  if (Result<> claimed = co_await reclaim(); !claimed && done) done = std::move(claimed);
  if (done) done = co_await clear_dirty();
  if (!done) leave_dirty("taking back a snapshot that failed", done.error());
}

// Deleting --------------------------------------------------------------------------------------

Task<Result<>> Snapshots::remove(std::string id) {
  const async::Mutex::Guard lock = co_await running_.lock();
  const size_t index = CO_TRY(find(id));
  const SnapshotEntry entry = entries_[index];
  std::vector<uint64_t> tables = CO_TRY(co_await read_l1(entry));
  std::vector<HostRun> runs = {run_of(entry.l1_offset, uint64_t{entry.l1_entries} * 8),
                               run_of(parts_.header.snapshots_offset, table_bytes_)};
  CO_TRY(co_await set_dirty());
  Counted counted;
  if (Result<> stored = co_await store_without(index, counted); !stored) {
    co_await take_back({}, std::move(counted));
    co_return stored;
  }
  if (Result<> done = co_await give_up(std::move(tables), std::move(runs)); !done) {
    leave_dirty("deleting an internal snapshot", done.error());
  }
  co_return Result<>{};
}

Task<Result<>> Snapshots::store_without(size_t index, Counted& counted) {
  std::vector<SnapshotEntry> entries = entries_;
  entries.erase(entries.begin() + static_cast<ptrdiff_t>(index));
  const async::Mutex::Guard guard = co_await parts_.commits.lock();
  Header next = parts_.header;
  const uint64_t new_bytes = CO_TRY(co_await write_entries(entries, next, counted));
  CO_TRY(co_await switch_header(std::move(next), counted));
  entries_ = std::move(entries);
  table_bytes_ = new_bytes;
  co_return Result<>{};
}

Task<Result<>> Snapshots::give_up(std::vector<uint64_t> tables, std::vector<HostRun> runs) {
  Result<> done = co_await uncount(tables, kAll, parts_.commits.discard().of_snapshots);
  for (const HostRun& run : runs) {
    Result<> released = co_await parts_.freed.release_now(run, false);
    if (!released && done) done = std::move(released);
  }
  if (Result<> claimed = co_await reclaim(); !claimed && done) done = std::move(claimed);
  if (done) done = co_await clear_dirty();
  co_return done;
}

// Reverting -------------------------------------------------------------------------------------

Task<Result<>> Snapshots::revert(std::string id) {
  async::Mutex::Guard lock = co_await running_.lock();
  const SnapshotEntry entry = entries_[CO_TRY(find(id))];
  const std::vector<uint64_t> tables = CO_TRY(co_await read_l1(entry));
  if (parts_.geometry.l1_entries(entry.virtual_size_bytes) > format::kMaxL1Bytes / 8) {
    co_return fail(ErrorKind::kCorrupt, "the snapshot's disk is larger than the format allows");
  }
  CO_TRY(co_await set_dirty());
  CO_TRY(co_await parts_.commits.commit_all());
  const std::vector<uint64_t> old_tables = parts_.l2.l1();
  std::vector<HostRun> old_l1 = {
      run_of(parts_.header.l1_offset, uint64_t{parts_.header.l1_entries} * 8)};
  if (base::canaries.revert_frees_early) {
    CO_TRY(co_await uncount(old_tables, kAll, false));
  }
  Counted counted;
  if (Result<> done = co_await make_active(entry, tables, counted); !done) {
    co_await take_back(tables, std::move(counted));
    co_return done;
  }
  background_.spawn(give_up_aside(std::move(lock), old_tables, std::move(old_l1)));
  co_return Result<>{};
}

Task<Result<>> Snapshots::make_active(const SnapshotEntry& entry,
                                      const std::vector<uint64_t>& tables, Counted& counted) {
  CO_TRY(co_await count(tables, counted.references));
  // No table is the disk's alone, so no entry has its flag.
  std::vector<uint64_t> l1 = tables;
  l1.resize(std::max<uint64_t>(l1.size(), parts_.geometry.l1_entries(entry.virtual_size_bytes)));
  const uint64_t offset = CO_TRY(co_await write_l1(l1, counted));
  const async::Mutex::Guard guard = co_await parts_.commits.lock();
  Header next = parts_.header;
  next.l1_offset = offset;
  next.l1_entries = static_cast<uint32_t>(l1.size());
  next.size_bytes = entry.virtual_size_bytes;
  CO_TRY(co_await switch_header(std::move(next), counted));
  parts_.l2.replace_l1(offset, std::move(l1));
  co_return Result<>{};
}

// The header names it no more, durably.
Task<void> Snapshots::give_up_aside(async::Mutex::Guard lock, std::vector<uint64_t> tables,
                                    std::vector<HostRun> runs) {
  if (base::canaries.revert_frees_early) tables.clear();
  if (Result<> done = co_await give_up(std::move(tables), std::move(runs)); !done) {
    leave_dirty("giving up what a revert left behind", done.error());
  }
  lock.unlock();
}

}  // namespace firn::qcow2
