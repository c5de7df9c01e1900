// One device's part of a transaction of snapshots: what snapshot.h describes, in pieces that a
// group of them goes through together (transaction.h).
//
// Made, used and destroyed by who holds a claim on the chain, on the control loop unless a
// function says "home loop": that of the old head.
#pragma once

#include <memory>
#include <vector>

#include "block/overlay.h"
#include "block/snapshot.h"

namespace firn::block {

// How to make an overlay over `below` as `request` says, with the graph's defaults. `claim`
// holds the chain of `below`. On the control loop.
Task<Result<OverlayPlan>> make_overlay_plan(Graph& graph, const Graph::Claim& claim,
                                            const SnapshotRequest& request, Node& below);
// Whether the overlay's node may be called as the request says, or may go without a name. The name
// is the claim's then.
Result<> check_overlay_name(Graph& graph, const Graph::Claim& claim,
                            const SnapshotRequest& request);
// How the state is told of a prepared overlay over `below`, a new node.
GraphChange::NewNode describe_new_node(const Graph& graph, PreparedOverlay& overlay,
                                       const Node& below);
// Home loop. That `head` is the top of its chain, used by roots alone, and that nothing blocks it.
Result<> check_head(const Node& head);

class SnapshotStep final {
 public:
  struct Pivoted {
    uint64_t pause_ns = 0;
    uint64_t in_flight = 0;
  };
  using Earlier = std::vector<std::unique_ptr<SnapshotStep>>;  // those prepared before it

  // `claim` covers all that the request names, and outlives this.
  SnapshotStep(Graph& graph, const Graph::Claim& claim, SnapshotRequest request);
  ~SnapshotStep();

  // Everything that may fail. An error leaves no trace; after success, either discard() or adopt()
  // follows.
  Task<Result<>> prepare(const Earlier& earlier);
  Task<void> discard();
  // What discard() would remove stays.
  void keep_file();

  // Adds this snapshot to what the store is told.
  void add_to(GraphChange& change) const;
  const Node& old_head() const { return *old_head_; }
  const Node& overlay() const { return prepared_->top(); }
  // The overlay has its name from here on, and there is no way back.
  void adopt();

  async::Loop& home() const { return old_head_->home(); }

  // Home loop. Hold back, or let go, the requests of all users of the head that are not admitted.
  void close_gates();
  void open_gates();
  // Home loop. The pivot: no I/O, no waiting.
  void pivot_now();

  // After the pivot.
  void note_pivot();
  // The result is in sealed().
  Task<void> seal();
  const Result<>& sealed() const { return sealed_; }
  SnapshotReport take_report() { return std::move(report_); }

 private:
  Task<Result<>> prepare_node(const Earlier& earlier);
  Task<Result<>> check_space_of(Node& overlay) const;
  Result<> check_not_taken(const Earlier& earlier) const;
  Result<> check_own_overlay_name(const Earlier& earlier) const;
  std::string device_name() const;

  Graph& graph_;
  const Graph::Claim& claim_;
  SnapshotRequest request_;
  async::TimePoint begun_;
  async::TimePoint moved_;
  Node* old_head_ = nullptr;
  Node* overlay_ = nullptr;
  std::unique_ptr<PreparedOverlay> prepared_;
  std::vector<Root*> gated_;
  Pivoted pivoted_;
  SnapshotReport report_;
  Result<> sealed_;
};

}  // namespace firn::block
