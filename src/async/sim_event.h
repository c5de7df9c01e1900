// What a simulation has still to do, in order of virtual time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "async/loop.h"
#include "base/check.h"

namespace firn::async {

// Something that happens at a moment. Owned by its maker, who cancels it or lets it happen before
// it goes away.
struct SimEvent {
  void (*run)(SimEvent&) = nullptr;
  static constexpr size_t kNotScheduled = ~size_t{0};
  size_t heap_index = kNotScheduled;  // for the queue's use
  bool scheduled() const { return heap_index != kNotScheduled; }
};

// A binary heap of events. Those of one moment come in the order of `tie`, which the caller draws
// at random, then in order of scheduling.
class SimEventQueue {
 public:
  bool empty() const { return heap_.empty(); }
  size_t size() const { return heap_.size(); }
  TimePoint next_at() const { return heap_.front().at; }

  void schedule(SimEvent& event, TimePoint at, uint32_t tie);
  void cancel(SimEvent& event);  // no effect on one that is not scheduled
  SimEvent& pop();               // the queue is not empty

 private:
  struct Entry {
    TimePoint at;
    uint64_t order;  // tie, then a sequence number
    SimEvent* event;
    bool before(const Entry& other) const {
      return at != other.at ? at < other.at : order < other.order;
    }
  };
  void place(size_t index, const Entry& entry) {
    heap_[index] = entry;
    entry.event->heap_index = index;
  }
  void sift_up(size_t index, Entry entry);
  void sift_down(size_t index, Entry entry);

  std::vector<Entry> heap_;
  uint32_t sequence_ = 0;
};

}  // namespace firn::async
