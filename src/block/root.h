// Root: one outside user's way into the graph (an export's, a device's, a job's): admission,
// checks, counting.
//
// The one choke point of requests: a request is checked once (range, alignment, flags, permission),
// waits at the gate, and is admitted: from then on it belongs to the node that was the head at that
// moment, across awaits and splits, whatever pivots meanwhile. What is not admitted yet goes to the
// new head.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "async/sync.h"
#include "block/io_stats.h"
#include "block/node.h"

namespace firn::block {

class Root final {
 public:
  // `user` is for people: "block export 'nbd0'".
  explicit Root(std::string user) : edge_(EdgeRole::kRoot, nullptr, std::move(user)) {
    edge_.root_ = this;
  }
  // Detached (Graph::detach), with no request in flight.
  ~Root();

  Edge& edge() { return edge_; }
  Node* head() const { return edge_.child(); }
  uint64_t size_bytes() const;  // of the head, now
  Limits limits() const;
  bool writable() const;  // the edge may write, and the head is not read-only

  // Errors: kOutOfRange (reads beyond the end), kNoSpace (writes beyond it), kReadOnly, kIo, ...
  // Unaligned requests are rounded here (read-modify-write, serialized) where
  // limits().request_alignment asks for it.
  Task<Result<>> read(uint64_t offset, const IoVec& iov);
  Task<Result<>> write(uint64_t offset, const IoVec& iov, Flags flags);
  Task<Result<>> write_zeroes(uint64_t offset, uint64_t length, Flags flags);
  Task<Result<>> discard(uint64_t offset, uint64_t length, Flags flags);
  // All that was acknowledged to any user of the head is durable after, on the old head of an
  // unfinished seal too.
  Task<Result<>> flush();
  // What a reader finds at `offset`, through the whole chain; depth 1 is the head.
  // RunKind::kUnallocated: no layer has it (zeroes). Adjacent runs of one kind and depth may be
  // merged.
  struct ChainRun {
    Run run;
    unsigned depth = 1;
  };
  Task<Result<ChainRun>> status(uint64_t offset, uint64_t length);

  // Holds back requests that are not admitted yet. A closed gate never holds back those in flight.
  async::Gate& gate() { return gate_; }
  // Requests admitted through this root and not complete, reads included.
  size_t in_flight() const { return in_flight_[0] + in_flight_[1]; }
  Task<void> drain();  // until in_flight() is 0; close the gate first
  // Until every request that was admitted before this call is complete; others go on meanwhile, and
  // no gate is needed. After it nothing is read any more by what the graph was before.
  Task<void> settle();
  // The same, but not beyond `deadline`: false if some are in flight still.
  Task<bool> drain_until(async::TimePoint deadline);

  // Called on the home loop when the head's size has changed.
  void set_on_resize(std::move_only_function<void()> callback) { on_resize_ = std::move(callback); }
  void notify_resize() {
    if (on_resize_) on_resize_();
  }

  const RootStats& stats() const { return stats_; }
  // From now on stats() counts the requests of all other roots on the head, and of none of its own:
  // a device's root, which has none. Pivots change nothing in that.
  void collect_stats() { collects_stats_ = true; }

 private:
  class Admission;
  Result<> check_mutation(uint64_t offset, uint64_t length) const;
  Task<void> pass_gate();
  static Task<Result<ChainRun>> chain_status(Node& head, uint64_t offset, uint64_t length);
  Edge edge_;
  async::Gate gate_;
  unsigned enter();
  void leave(unsigned half);

  // Requests are counted in two halves, in turns (settle).
  size_t in_flight_[2] = {0, 0};
  unsigned half_ = 0;
  async::Mutex settling_;
  async::WaitList drained_;  // a half has become empty
  bool collects_stats_ = false;
  std::move_only_function<void()> on_resize_;
  RootStats stats_;
};

}  // namespace firn::block
