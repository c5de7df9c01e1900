#include "drivers/qcow2/freed.h"

#include "base/canary.h"

namespace firn::qcow2 {

void FreedClusters::add(uint64_t commit, HostRun run, FreedBy by) {
  const bool joins = !batches_.empty() && batches_.back().commit == commit &&
                     batches_.back().by == by && batches_.back().held == holding_;
  if (!joins) batches_.push_back({.commit = commit, .by = by, .held = holding_});
  Batch& batch = batches_.back();
  batch.sequence = ops_.next_sequence();
  cluster_count_ += run.count;
  if (!batch.runs.empty() && batch.runs.back().first + batch.runs.back().count == run.first) {
    batch.runs.back().count += run.count;
  } else {
    batch.runs.push_back(run);
  }
}

void FreedClusters::add_entry(uint64_t commit, const L2Entry& entry, FreedBy by) {
  if (entry.is_compressed()) {
    const CompressedRange range = compressed_range(geometry_, entry.descriptor);
    const uint64_t first = range.offset >> geometry_.cluster_bits;
    const uint64_t last = (range.offset + range.length - 1) >> geometry_.cluster_bits;
    // Two neighbours may share a cluster, which then counts both.
    add(commit, {.first = first, .count = last - first + 1}, by);
  } else if (entry.host() != 0) {
    add(commit, {.first = entry.host() >> geometry_.cluster_bits, .count = 1}, by);
  }
}

Task<Result<>> FreedClusters::release(uint64_t commit, DiscardPolicy discard) {
  Result<> result;
  while (!batches_.empty()) {
    const bool early = base::canaries.freed_cluster_reused_early;
    const Batch& front = batches_.front();
    if (holding_ && front.held && !base::canaries.snapshot_lets_go_early) break;
    if (!early && (front.commit > commit || front.sequence > ops_.oldest_sequence())) break;
    Batch batch = std::move(batches_.front());
    batches_.pop_front();
    for (const HostRun& run : batch.runs) {
      cluster_count_ -= run.count;
      if (Result<> done = co_await release_run(run, discard.covers(batch.by)); !done) result = done;
      if (async::Loop::current().turn_is_over()) co_await async::Loop::current().yield();
    }
  }
  co_return result;
}

Task<Result<>> FreedClusters::release_run(HostRun run, bool discard) {
  if (!discard) co_return co_await refcounts_.decrement(run.first, run.count, nullptr);
  // Storage goes before the count falls: afterwards the cluster may be in use again. What is
  // shared keeps its storage.
  for (uint64_t cluster = run.first; cluster < run.first + run.count;) {
    uint64_t count = 0;
    while (cluster + count < run.first + run.count) {
      if (CO_TRY(co_await refcounts_.get(cluster + count)) != 1) break;
      ++count;
    }
    if (count != 0) {
      // Storage that can't be given back is no failure of the guest's request.
      (void)co_await refcounts_.file().edge().discard(cluster << geometry_.cluster_bits,
                                                      count << geometry_.cluster_bits);
    }
    const uint64_t step = count != 0 ? count : 1;
    CO_TRY(co_await refcounts_.decrement(cluster, step, nullptr));
    cluster += step;
  }
  co_return Result<>{};
}

}  // namespace firn::qcow2
