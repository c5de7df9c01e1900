#include "async/sim_event.h"

namespace firn::async {

void SimEventQueue::schedule(SimEvent& event, TimePoint at, uint32_t tie) {
  CHECK(!event.scheduled());
  const Entry entry{at, (uint64_t{tie} << 32) | sequence_++, &event};
  heap_.push_back(entry);
  sift_up(heap_.size() - 1, entry);
}

void SimEventQueue::cancel(SimEvent& event) {
  if (!event.scheduled()) return;
  const size_t index = event.heap_index;
  event.heap_index = SimEvent::kNotScheduled;
  const Entry last = heap_.back();
  heap_.pop_back();
  if (index == heap_.size()) return;
  // The last one takes the place, and may belong above or below it.
  if (index > 0 && last.before(heap_[(index - 1) / 2])) {
    sift_up(index, last);
  } else {
    sift_down(index, last);
  }
}

SimEvent& SimEventQueue::pop() {
  SimEvent& event = *heap_.front().event;
  cancel(event);
  return event;
}

void SimEventQueue::sift_up(size_t index, Entry entry) {
  while (index > 0) {
    const size_t parent = (index - 1) / 2;
    if (!entry.before(heap_[parent])) break;
    place(index, heap_[parent]);
    index = parent;
  }
  place(index, entry);
}

void SimEventQueue::sift_down(size_t index, Entry entry) {
  while (true) {
    size_t child = 2 * index + 1;
    if (child >= heap_.size()) break;
    if (child + 1 < heap_.size() && heap_[child + 1].before(heap_[child])) ++child;
    if (!heap_[child].before(entry)) break;
    place(index, heap_[child]);
    index = child;
  }
  place(index, entry);
}

}  // namespace firn::async
