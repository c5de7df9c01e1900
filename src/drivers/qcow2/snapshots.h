// Snapshots: an image's internal snapshots, taken, deleted and reverted to while guests use the
// disk.
//
// A snapshot is a second L1 table that leads to the same L2 tables and clusters. Taking one:
//
//   1. The dirty bit is set, durably (version 3): a power cut from here on costs a repair at the
//      next opening, which counts everything again. What the disk holds is right without it, too.
//   2. The instant: no request that changes the disk is in flight; every L1 entry loses its COPIED
//      flag in memory. From here on whoever changes an L2 table makes a copy of it, and whoever
//      changes a cluster writes to a new one, so the old ones are the snapshot. What is freed now
//      is held back.
//   3. Each reference of the snapshot's tables is counted once more, beside the guests' requests.
//      COPIED flags in these tables go.
//   4. Counts and flags are durable; then the header names the new table of snapshots, and clears
//      the dirty bit. What was held back is let go.
//
// Deleting goes the other way round: first the header, durably, then the counts fall, and what is
// the disk's alone gets its COPIED flags again. Reverting counts the snapshot's references once
// more for a new active L1 table, which the header then names; what the old one led to is given up
// after that, in the background.
//
// Where counting fails, what was counted is taken back. Where even that fails the dirty bit stays,
// and the next opening repairs: leaked clusters are all that is wrong.
//
// Source: QEMU, docs/interop/qcow2.txt, "Snapshots". Home loop.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "async/scope.h"
#include "async/sync.h"
#include "block/types.h"
#include "drivers/qcow2/active.h"
#include "drivers/qcow2/commit.h"
#include "drivers/qcow2/freed.h"
#include "drivers/qcow2/header.h"
#include "drivers/qcow2/l2_tables.h"
#include "drivers/qcow2/refcounts.h"
#include "drivers/qcow2/snapshot_table.h"
#include "drivers/qcow2/tree.h"

namespace firn::qcow2 {

// An image's parts, which outlive whoever holds them.
struct ImageParts {
  const Geometry& geometry;
  ImageFile& file;
  Header& header;
  Refcounts& refcounts;
  FreedClusters& freed;
  L2Tables& l2;
  Commits& commits;
  ActiveOps& ops;
  Allocations& allocations;
};

class Snapshots {
 public:
  explicit Snapshots(ImageParts parts) : parts_(parts) {}

  // Reads the table. kCorrupt if it contradicts the format.
  Task<Result<>> open();
  const std::vector<SnapshotEntry>& entries() const { return entries_; }

  // As block::Driver's functions of these names.
  Task<Result<uint64_t>> prepare(block::InternalSnapshotSpec spec);
  Task<void> cancel();
  void take();
  Task<Result<SnapshotEntry>> store();
  Task<Result<>> remove(std::string id);
  // Changes the header's size too.
  Task<Result<>> revert(std::string id);

  // Held by whoever moves tables or closes the image: none of the above runs, nor anything behind
  // them.
  Task<async::Mutex::Guard> lock() { co_return co_await running_.lock(); }
  bool is_running() const { return running_.is_locked(); }
  // The image is closed: by the holder of the lock.
  Task<void> join() { co_await background_.join(); }

  // Requests that change the disk pass here first: closed around the instant.
  async::Gate& gate() { return gate_; }

 private:
  // One that is being taken.
  struct Pending {
    async::Mutex::Guard lock;
    SnapshotEntry entry;
    std::vector<uint64_t> tables;  // what its L1 table leads to
  };
  // What has been counted for something that the header does not name yet.
  struct Counted {
    uint64_t references = 0;
    std::vector<HostRun> places;  // of new tables
    bool header_unknown = false;  // it may name them already: nothing can be taken back
  };

  Result<> check_new(const block::InternalSnapshotSpec& spec) const;
  std::string new_id() const;
  Result<size_t> find(const std::string& id) const;
  HostRun run_of(uint64_t offset, uint64_t bytes) const;

  // The header (snapshots.cc).
  Task<Result<>> set_dirty();
  Task<Result<>> clear_dirty();
  void leave_dirty(std::string_view doing, const base::Error& error);
  Task<Result<>> switch_header(Header next, Counted& counted);

  // The three changes, up to the header and after it (snapshots.cc).
  Task<Result<>> store_pending(Pending& pending, Counted& counted);
  Task<Result<>> store_without(size_t index, Counted& counted);
  Task<Result<>> make_active(const SnapshotEntry& entry, const std::vector<uint64_t>& tables,
                             Counted& counted);
  Task<void> take_back(std::vector<uint64_t> tables, Counted counted);
  // Gives up one reference of all that `tables` lead to, and of `runs`.
  Task<Result<>> give_up(std::vector<uint64_t> tables, std::vector<HostRun> runs);
  Task<void> give_up_aside(async::Mutex::Guard lock, std::vector<uint64_t> tables,
                           std::vector<HostRun> runs);

  // Counting (snapshot_counts.cc).
  Task<Result<>> count(const std::vector<uint64_t>& tables, uint64_t& counted);
  Task<Result<>> uncount(const std::vector<uint64_t>& tables, uint64_t most, bool discard);
  Task<Result<>> reclaim();
  Task<Result<>> reclaim_slice(TableCache::Ref slice, uint64_t guest);
  Task<Result<>> commit_if_many();

  // Tables in the file (snapshot_counts.cc).
  Task<Result<uint64_t>> write_table(const std::byte* bytes, uint64_t length, Counted& counted);
  Task<Result<uint64_t>> write_l1(const std::vector<uint64_t>& tables, Counted& counted);
  Task<Result<uint64_t>> write_entries(const std::vector<SnapshotEntry>& entries, Header& next,
                                       Counted& counted);
  Task<Result<std::vector<uint64_t>>> read_l1(const SnapshotEntry& entry);

  const ImageParts parts_;
  std::vector<SnapshotEntry> entries_;
  uint64_t table_bytes_ = 0;  // of the snapshot table in the file
  async::Gate gate_;
  async::Mutex running_;
  std::optional<Pending> pending_;
  bool stays_dirty_ = false;  // something was left behind for the next opening to repair
  async::TaskScope background_;
};

}  // namespace firn::qcow2
