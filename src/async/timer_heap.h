// TimerHeap: armed timers, the earliest on top. Timers of one deadline fire in the order in which
// they were armed.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "async/loop.h"

namespace firn::async {

class TimerHeap {
 public:
  void arm(Timer& timer);
  void disarm(Timer& timer);  // no effect on one that is not armed
  std::optional<TimePoint> next_deadline() const;
  // Takes out and fires those whose deadline is not after `now`. Those that are armed meanwhile
  // wait for the next call.
  void fire_due(TimePoint now);

 private:
  static bool before(const Timer& a, const Timer& b);
  void place(size_t index, Timer* timer);
  void sift_up(size_t index);
  void sift_down(size_t index);
  void remove_at(size_t index);

  std::vector<Timer*> heap_;
  uint64_t next_sequence_ = 0;
};

}  // namespace firn::async
