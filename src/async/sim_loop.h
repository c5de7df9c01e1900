// SimLoop: a loop of a simulated process. See sim_world.h.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "async/loop.h"
#include "async/sim_event.h"
#include "async/sim_world.h"

namespace firn::async {

// A turn takes in, in random order, what was posted, the timers that are due and what completed;
// then it resumes what is ready, in the order in which that was made ready, until a random
// moment; then it runs the hooks.
class SimLoop final : public Loop {
 public:
  SimLoop(SimProcess& process, std::string name);
  ~SimLoop() override;  // no operation may be in flight

  SimProcess& process() { return process_; }
  SimWorld& world() { return world_; }
  uint32_t id() const { return id_; }

  void post(std::move_only_function<void()> work) override;
  void ready(std::coroutine_handle<> handle) override;
  bool turn_is_over() const override;
  TimePoint now() const override { return world_.now(); }
  int64_t wall_clock_us() const override;
  void arm(Timer& timer) override;
  void disarm(Timer& timer) override;
  void at_turn_end(TurnHook& hook) override;
  void forget(TurnHook& hook) override;
  void submit(WorkItem& item) override;
  uint64_t random() override { return world_.random().next(); }
  FileSystem& files() override;
  Network& network() override;

  // For the parts of a simulation: an event of theirs resumes `handle` in a turn of this loop.
  void complete(std::coroutine_handle<> handle);
  // What begins outside of turns and ends on this loop.
  void operation_begins() { ++operations_; }
  void operation_ends() { --operations_; }

  std::string describe() const;

 private:
  struct TurnEvent : SimEvent {
    SimLoop* loop = nullptr;
  };
  struct PostEvent : SimEvent {
    SimLoop* loop = nullptr;
  };
  struct WorkEvent : SimEvent {
    SimLoop* loop = nullptr;
    WorkItem* item = nullptr;
  };
  // A timer that is armed: scheduled, or due and waiting for a turn.
  struct TimerSlot : SimEvent {
    SimLoop* loop = nullptr;
    Timer* timer = nullptr;
    size_t index = 0;
  };

  void wake();
  void turn();
  void run_posts();
  void run_timers();
  void run_completed();
  void run_ready();
  void run_hooks();
  void release_slot(TimerSlot& slot);

  SimProcess& process_;
  SimWorld& world_;
  uint32_t id_;
  TurnEvent turn_event_;
  bool in_turn_ = false;

  struct Post {
    TimePoint arrives;
    std::move_only_function<void()> work;
  };
  std::deque<Post> posts_;
  PostEvent post_event_;  // scheduled for the first post while that is still on its way

  std::deque<std::coroutine_handle<>> ready_;
  std::vector<std::coroutine_handle<>> completed_;
  std::deque<TimerSlot> timer_slots_;
  std::vector<size_t> free_slots_;
  std::vector<size_t> due_slots_;
  TurnHook* first_hook_ = nullptr;
  TurnHook* last_hook_ = nullptr;
  size_t operations_ = 0;
};

}  // namespace firn::async
