// Internal snapshots of the graph's disks: one that is taken, in pieces that a group goes through
// together, and one that is deleted.
//
// All on the control loop unless it says "home loop": that of the disk's head.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "block/graph.h"

namespace firn::block {

struct InternalSnapshotRequest {
  std::string device;  // a device, or else a node at the top of its chain
  std::string name;
};

struct DiskSnapshotReport {
  std::string device;  // empty where a node was named
  std::string node;
  InternalSnapshotFacts facts;
  uint64_t pause_ns = 0;    // for which writes were held back
  uint64_t prepare_ns = 0;  // from the call to the instant, that pause included
  uint64_t store_ns = 0;    // from the instant until it was durable
};

class InternalSnapshotStep final {
 public:
  // `claim` covers all that the request names, and outlives this.
  InternalSnapshotStep(Graph& graph, const Graph::Claim& claim, InternalSnapshotRequest request);

  // Everything that can be checked while writes go on: those of QEMU in its order. Changes nothing.
  Task<Result<>> prepare();
  const Node& head() const { return *head_; }
  async::Loop& home() const { return head_->home(); }

  // Holds writes back and waits for those in flight. After success take_now() or cancel() follows,
  // soon; an error leaves no trace.
  Task<Result<>> arm();
  Task<void> cancel();
  // Home loop. The instant: no I/O, no waiting; writes go on. store() follows.
  void take_now();
  // Makes it durable; the result is in stored().
  Task<void> store();
  const Result<>& stored() const { return stored_; }
  // Of one that is stored: takes it away again.
  Task<Result<>> remove();
  DiskSnapshotReport take_report() { return std::move(report_); }

 private:
  // Home loop.
  Task<Result<>> check() const;
  Task<Result<>> arm_here();
  Task<void> cancel_here();
  Task<void> store_here();
  Task<Result<>> remove_here();

  Graph& graph_;
  const Graph::Claim& claim_;
  InternalSnapshotRequest request_;
  Node* head_ = nullptr;
  async::TimePoint begun_;
  async::TimePoint armed_;
  async::TimePoint taken_;
  DiskSnapshotReport report_;
  Result<> stored_;
};

// Holds a claim on the disk's chain to its end. An error: there is no snapshot, and nothing that
// was written is lost.
Task<Result<DiskSnapshotReport>> take_disk_snapshot(Graph& graph, InternalSnapshotRequest request);

// The first snapshot of the disk that has this id and this name; one of them may be left out.
// kNotFound: there is none. Durable after, and the disk's users go on meanwhile.
Task<Result<InternalSnapshotFacts>> delete_disk_snapshot(Graph& graph, std::string device,
                                                         std::optional<std::string> id,
                                                         std::optional<std::string> name);

}  // namespace firn::block
