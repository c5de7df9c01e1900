#include "async/sim_loop.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "async/sim_file.h"
#include "async/sim_network.h"
#include "base/check.h"

namespace firn::async {

SimLoop::SimLoop(SimProcess& process, std::string name)
    : Loop(std::move(name)), process_(process), world_(process.world()), id_(world_.next_id()) {
  turn_event_.loop = this;
  turn_event_.run = [](SimEvent& event) { static_cast<TurnEvent&>(event).loop->turn(); };
  post_event_.loop = this;
  post_event_.run = [](SimEvent& event) { static_cast<PostEvent&>(event).loop->wake(); };
}

SimLoop::~SimLoop() {
  CHECK(operations_ == 0);
  CHECK(ready_.empty() && completed_.empty());
  world_.cancel(turn_event_);
  world_.cancel(post_event_);
  for (TimerSlot& slot : timer_slots_) CHECK(slot.timer == nullptr);
}

void SimLoop::wake() {
  if (in_turn_ || turn_event_.scheduled()) return;
  world_.schedule(turn_event_, world_.random().duration(world_.options().turn));
}

void SimLoop::post(std::move_only_function<void()> work) {
  // What one source posts arrives in order, since the queue is one; between sources the moment of
  // posting decides, which is random itself.
  const Duration delay = has_current() && &current() == this
                             ? Duration{0}
                             : world_.random().duration(world_.options().post);
  TimePoint arrives = world_.now() + delay;
  if (!posts_.empty()) arrives = std::max(arrives, posts_.back().arrives);
  posts_.push_back({arrives, std::move(work)});
  if (posts_.size() == 1 && !post_event_.scheduled()) world_.schedule_at(post_event_, arrives);
}

void SimLoop::ready(std::coroutine_handle<> handle) {
  ready_.push_back(handle);
  wake();
}

void SimLoop::complete(std::coroutine_handle<> handle) {
  completed_.push_back(handle);
  wake();
}

bool SimLoop::turn_is_over() const {
  return world_.random().chance(world_.options().turn_over_probability);
}

int64_t SimLoop::wall_clock_us() const {
  constexpr int64_t kStartUs = 1'767'225'600'000'000;  // 2026-01-01 00:00:00 UTC
  return kStartUs +
         std::chrono::duration_cast<std::chrono::microseconds>(world_.now().time_since_epoch())
             .count();
}

void SimLoop::arm(Timer& timer) {
  CHECK(!timer.armed && timer.fire != nullptr);
  if (free_slots_.empty()) {
    free_slots_.push_back(timer_slots_.size());
    TimerSlot& slot = timer_slots_.emplace_back();
    slot.loop = this;
    slot.index = timer_slots_.size() - 1;
    slot.run = [](SimEvent& event) {
      auto& due = static_cast<TimerSlot&>(event);
      due.loop->due_slots_.push_back(due.index);
      due.loop->wake();
    };
  }
  TimerSlot& slot = timer_slots_[free_slots_.back()];
  free_slots_.pop_back();
  slot.timer = &timer;
  timer.armed = true;
  timer.heap_index = slot.index;
  world_.schedule_at(slot, std::max(timer.deadline, world_.now()) +
                               world_.random().duration(world_.options().timer));
}

void SimLoop::disarm(Timer& timer) {
  if (!timer.armed) return;
  timer.armed = false;
  release_slot(timer_slots_[timer.heap_index]);
}

void SimLoop::release_slot(TimerSlot& slot) {
  if (slot.scheduled()) {
    world_.cancel(slot);
  } else {
    std::erase(due_slots_, slot.index);
  }
  slot.timer = nullptr;
  free_slots_.push_back(slot.index);
}

void SimLoop::at_turn_end(TurnHook& hook) {
  if (hook.queued) return;
  hook.queued = true;
  hook.next = nullptr;
  (last_hook_ != nullptr ? last_hook_->next : first_hook_) = &hook;
  last_hook_ = &hook;
  wake();
}

void SimLoop::forget(TurnHook& hook) {
  if (!hook.queued) return;
  hook.queued = false;
  TurnHook* previous = nullptr;
  for (TurnHook* at = first_hook_; at != &hook; at = at->next) previous = at;
  (previous != nullptr ? previous->next : first_hook_) = hook.next;
  if (last_hook_ == &hook) last_hook_ = previous;
}

void SimLoop::submit(WorkItem& item) {
  auto* work = new WorkEvent;
  work->loop = this;
  work->item = &item;
  work->run = [](SimEvent& event) {
    const std::unique_ptr<WorkEvent> mine(static_cast<WorkEvent*>(&event));
    SimLoop& loop = *mine->loop;
    loop.world_.note(SimTrace::kWorker, loop.id_);
    mine->item->run(*mine->item);
    loop.operation_ends();
    loop.complete(mine->item->done);
  };
  operation_begins();
  world_.schedule(*work, world_.random().duration(world_.options().worker));
}

FileSystem& SimLoop::files() { return *process_.files_; }
Network& SimLoop::network() { return world_.network(); }

void SimLoop::turn() {
  world_.note(SimTrace::kTurn, id_);
  {
    CurrentScope scope(*this);
    in_turn_ = true;
    std::array<void (SimLoop::*)(), 3> parts{&SimLoop::run_posts, &SimLoop::run_timers,
                                             &SimLoop::run_completed};
    world_.random().shuffle(parts);
    for (const auto part : parts) (this->*part)();
    run_ready();
    run_hooks();
    in_turn_ = false;
  }
  if (!posts_.empty() && !post_event_.scheduled()) {
    world_.schedule_at(post_event_, posts_.front().arrives);
  }
  if (!ready_.empty() || !completed_.empty() || !due_slots_.empty() || first_hook_ != nullptr) {
    wake();
  }
}

void SimLoop::run_posts() {
  // Only what is there now: what these post comes in a later turn.
  for (size_t count = posts_.size(); count > 0; --count) {
    if (posts_.front().arrives > world_.now()) return;
    auto work = std::move(posts_.front().work);
    posts_.pop_front();
    work();
  }
}

void SimLoop::run_timers() {
  for (size_t count = due_slots_.size(); count > 0 && !due_slots_.empty(); --count) {
    TimerSlot& slot = timer_slots_[due_slots_.front()];
    Timer& timer = *slot.timer;
    world_.note(SimTrace::kTimer, id_);
    timer.armed = false;
    release_slot(slot);
    timer.fire(timer);
  }
}

void SimLoop::run_completed() {
  // Resuming one may complete others inline, never add to this list within a turn, but be safe.
  std::vector<std::coroutine_handle<>> completed = std::exchange(completed_, {});
  for (const auto handle : completed) handle.resume();
}

void SimLoop::run_ready() {
  // Now and then a turn is short.
  const uint64_t most = world_.random().chance(0.2) ? world_.random().between(1, 4) : 256;
  for (uint64_t count = 0; count < most && !ready_.empty(); ++count) {
    const std::coroutine_handle<> handle = ready_.front();
    ready_.pop_front();
    handle.resume();
  }
}

void SimLoop::run_hooks() {
  // A hook may forget others, or queue itself again, which is for the next turn.
  size_t count = 0;
  for (const TurnHook* hook = first_hook_; hook != nullptr; hook = hook->next) ++count;
  for (; count > 0 && first_hook_ != nullptr; --count) {
    TurnHook* hook = first_hook_;
    first_hook_ = hook->next;
    if (first_hook_ == nullptr) last_hook_ = nullptr;
    hook->queued = false;
    hook->run(*hook);
  }
}

std::string SimLoop::describe() const {
  return fmt::format("{}/{} ({} operations in flight, {} timers)", process_.name(), name(),
                     operations_, timer_slots_.size() - free_slots_.size());
}

}  // namespace firn::async
