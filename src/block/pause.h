// Pause: the users of a node are held back, and what they had in flight is done. For the few
// changes that a request must not run beside: going back to another state, shrinking.
#pragma once

#include <vector>

#include "async/loop.h"
#include "block/node.h"
#include "block/root.h"

namespace firn::block {

// Every root that sees the content of `node`: its own, and those of transparent nodes above.
std::vector<Root*> roots_of(const Node& node);

// Home loop of the node. Roots neither come nor go while it lives: hold a claim on the chain.
class Pause final {
 public:
  explicit Pause(Node& node) : roots_(roots_of(node)) {}
  ~Pause() { end(); }
  Pause(const Pause&) = delete;
  Pause& operator=(const Pause&) = delete;

  // Closes the gates and waits until nothing is in flight, reads included. kBusy if that takes
  // longer than `patience`: the gates are open again then, and nothing was lost.
  Task<Result<>> begin(async::Duration patience);
  // Lets all go on. Without begin(), or twice, it does nothing.
  void end();

  const std::vector<Root*>& roots() const { return roots_; }
  uint64_t in_flight() const { return in_flight_; }  // what begin() had to wait for
  uint64_t length_ns() const { return length_ns_; }  // known after end()

 private:
  std::vector<Root*> roots_;
  bool begun_ = false;
  async::TimePoint since_;
  uint64_t in_flight_ = 0;
  uint64_t length_ns_ = 0;
};

}  // namespace firn::block
