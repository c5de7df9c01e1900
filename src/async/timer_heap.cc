#include "async/timer_heap.h"

#include "base/check.h"

namespace firn::async {

bool TimerHeap::before(const Timer& a, const Timer& b) {
  return a.deadline != b.deadline ? a.deadline < b.deadline : a.sequence < b.sequence;
}

void TimerHeap::place(size_t index, Timer* timer) {
  heap_[index] = timer;
  timer->heap_index = index;
}

void TimerHeap::sift_up(size_t index) {
  Timer* const timer = heap_[index];
  while (index != 0) {
    const size_t parent = (index - 1) / 2;
    if (!before(*timer, *heap_[parent])) break;
    place(index, heap_[parent]);
    index = parent;
  }
  place(index, timer);
}

void TimerHeap::sift_down(size_t index) {
  Timer* const timer = heap_[index];
  while (true) {
    size_t child = index * 2 + 1;
    if (child >= heap_.size()) break;
    if (child + 1 < heap_.size() && before(*heap_[child + 1], *heap_[child])) ++child;
    if (!before(*heap_[child], *timer)) break;
    place(index, heap_[child]);
    index = child;
  }
  place(index, timer);
}

void TimerHeap::arm(Timer& timer) {
  CHECK(!timer.armed);
  timer.armed = true;
  timer.sequence = next_sequence_++;
  heap_.push_back(&timer);
  sift_up(heap_.size() - 1);
}

void TimerHeap::remove_at(size_t index) {
  heap_[index]->armed = false;
  Timer* const last = heap_.back();
  heap_.pop_back();
  if (index == heap_.size()) return;
  place(index, last);
  sift_up(index);
  sift_down(last->heap_index);
}

void TimerHeap::disarm(Timer& timer) {
  if (!timer.armed) return;
  CHECK(heap_[timer.heap_index] == &timer);
  remove_at(timer.heap_index);
}

std::optional<TimePoint> TimerHeap::next_deadline() const {
  if (heap_.empty()) return std::nullopt;
  return heap_.front()->deadline;
}

void TimerHeap::fire_due(TimePoint now) {
  const uint64_t first_new = next_sequence_;
  while (!heap_.empty() && heap_.front()->deadline <= now) {
    Timer& timer = *heap_.front();
    // One armed while these fire, and due already, stands behind all older ones of its deadline
    // only; it may stand before others. Those fire next turn, which comes at once.
    if (timer.sequence >= first_new) return;
    remove_at(0);
    timer.fire(timer);
  }
}

}  // namespace firn::async
