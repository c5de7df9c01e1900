// FreedClusters: references that were removed in memory, and wait until their clusters may be used
// again: the removal is durable, and no request is in flight that began before it.
//
// Home loop.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "drivers/qcow2/active.h"
#include "drivers/qcow2/mapping.h"
#include "drivers/qcow2/refcounts.h"

namespace firn::qcow2 {

// Why a reference was removed: a request to give storage back, or any other.
enum class FreedBy : uint8_t { kRequest, kOther };

// Whose clusters' storage is given back to the file when they become free.
struct DiscardPolicy {
  bool of_requests = false;
  bool of_snapshots = true;
  bool of_others = false;
  bool covers(FreedBy by) const { return by == FreedBy::kRequest ? of_requests : of_others; }
};

class FreedClusters {
 public:
  FreedClusters(const Geometry& geometry, Refcounts& refcounts, ActiveOps& ops)
      : geometry_(geometry), refcounts_(refcounts), ops_(ops) {}

  // One reference less for the clusters of `run`. The commit with number `commit` makes the removal
  // durable.
  void add(uint64_t commit, HostRun run, FreedBy by = FreedBy::kOther);
  // The same for what `entry` refers to, if anything.
  void add_entry(uint64_t commit, const L2Entry& entry, FreedBy by = FreedBy::kOther);

  // Commits up to `commit` are durable: lowers the counts of what they removed, as far as no old
  // request is in flight. Where `discard` says so, storage of what becomes free is given back
  // first.
  Task<Result<>> release(uint64_t commit, DiscardPolicy discard);

  // What is added from now on stays back, until resume(): an internal snapshot that is being stored
  // refers to it, and is not counted yet.
  void hold() { holding_ = true; }
  void resume() { holding_ = false; }

  // One reference less for the clusters of `run`, at once: its removal is durable, and no request
  // holds the clusters' places.
  Task<Result<>> release_now(HostRun run, bool discard) { return release_run(run, discard); }

  // Waits for a request to end, if an old one keeps back what the commits up to `commit` freed.
  Task<void> wait_for_requests(uint64_t commit) {
    if (batches_.empty() || batches_.front().commit > commit) co_return;
    if (batches_.front().sequence > ops_.oldest_sequence()) co_await ops_.ended().wait();
  }

  bool empty() const { return batches_.empty(); }
  uint64_t cluster_count() const { return cluster_count_; }

 private:
  struct Batch {
    uint64_t commit = 0;
    uint64_t sequence = 0;  // requests below it may hold the clusters' places
    FreedBy by = FreedBy::kOther;
    bool held = false;  // added while holding
    std::vector<HostRun> runs;
  };
  Task<Result<>> release_run(HostRun run, bool discard);

  const Geometry geometry_;
  Refcounts& refcounts_;
  ActiveOps& ops_;
  std::deque<Batch> batches_;
  uint64_t cluster_count_ = 0;
  bool holding_ = false;
};

}  // namespace firn::qcow2
