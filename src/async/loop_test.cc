#include "async/loop.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <thread>
#include <vector>

#include "async/kernel_loop.h"
#include "async/runtime.h"
#include "async/scope.h"
#include "async/sync.h"
#include "async/testing.h"

namespace firn::async {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;

class LoopCoreTest : public testing::LoopTest {};
INSTANTIATE_TEST_SUITE_P(Engines, LoopCoreTest, testing::engines(), testing::engine_name);

// Timers ------------------------------------------------------------------------------------------

Task<void> sleep_and_note(Duration duration, int name, std::vector<int>& order) {
  co_await Loop::current().sleep_for(duration);
  order.push_back(name);
}

Task<std::vector<int>> sleep_in_disorder() {
  std::vector<int> order;
  TaskScope scope;
  scope.spawn(sleep_and_note(milliseconds(30), 3, order));
  scope.spawn(sleep_and_note(milliseconds(10), 1, order));
  scope.spawn(sleep_and_note(milliseconds(20), 2, order));
  scope.spawn(sleep_and_note(milliseconds(0), 0, order));
  co_await scope.join();
  co_return order;
}

TEST_P(LoopCoreTest, TimersFireInOrderOfTheirDeadlines) {
  EXPECT_THAT(run(sleep_in_disorder()), ElementsAre(0, 1, 2, 3));
}

Task<bool> sleep_takes_its_time() {
  Loop& loop = Loop::current();
  const TimePoint start = loop.now();
  const bool passed = co_await loop.sleep_for(milliseconds(20));
  const Duration took = loop.now() - start;
  co_return passed&& took >= milliseconds(20) && took < milliseconds(2000);
}

TEST_P(LoopCoreTest, SleepEndsNeitherEarlyNorMuchLater) {
  EXPECT_TRUE(run(sleep_takes_its_time()));
}

Task<void> sleep_long(CancelToken token, bool& passed) {
  passed = co_await Loop::current().sleep_for(std::chrono::hours(1), token);
}

Task<bool> cancel_a_sleep() {
  bool passed = true;
  bool passed_at_once = true;
  TaskScope scope;
  scope.spawn(sleep_long(scope.token(), passed));
  co_await Loop::current().sleep_for(milliseconds(1));
  scope.cancel();
  scope.spawn(sleep_long(scope.token(), passed_at_once));
  co_await scope.join();
  co_return passed || passed_at_once;
}

TEST_P(LoopCoreTest, CancelledSleepsEnd) { EXPECT_FALSE(run(cancel_a_sleep())); }

struct Counted : Timer {
  int fired = 0;
};

Task<int> disarm_some() {
  std::vector<Counted> timers(100);
  Loop& loop = Loop::current();
  for (size_t i = 0; i != timers.size(); ++i) {
    timers[i].deadline = loop.now() + milliseconds((i * 37) % 20);
    timers[i].fire = [](Timer& timer) { ++static_cast<Counted&>(timer).fired; };
    loop.arm(timers[i]);
  }
  for (size_t i = 0; i < timers.size(); i += 3) loop.disarm(timers[i]);
  co_await loop.sleep_for(milliseconds(40));
  int wrong = 0;
  for (size_t i = 0; i != timers.size(); ++i) {
    if (timers[i].fired != (i % 3 == 0 ? 0 : 1) || timers[i].armed) ++wrong;
    loop.disarm(timers[i]);
  }
  co_return wrong;
}

TEST_P(LoopCoreTest, DisarmedTimersDoNotFire) { EXPECT_EQ(run(disarm_some()), 0); }

// Posts and threads -------------------------------------------------------------------------------

struct Received {
  std::vector<int> next_of_thread;
  int out_of_order = 0;
  int count = 0;
  Event all;
};

Task<int> receive_posts(int thread_count, int posts) {
  Received received;
  received.next_of_thread.resize(thread_count);
  Loop& loop = Loop::current();
  std::vector<std::thread> threads;
  for (int i = 0; i != thread_count; ++i) {
    threads.emplace_back([&loop, &received, i, thread_count, posts] {
      for (int n = 0; n != posts; ++n) {
        loop.post([&received, i, n, thread_count, posts] {
          if (received.next_of_thread[i]++ != n) ++received.out_of_order;
          if (++received.count == thread_count * posts) received.all.set();
        });
        if (n % 100 == 0) std::this_thread::yield();
      }
    });
  }
  co_await received.all.wait();
  for (std::thread& thread : threads) thread.join();
  co_return received.out_of_order;
}

TEST_P(LoopCoreTest, PostsOfOneThreadKeepTheirOrder) { EXPECT_EQ(run(receive_posts(4, 5000)), 0); }

Task<std::string> name_of_this_loop() {
  co_await Loop::current().sleep_for(milliseconds(1));
  co_return Loop::current().name();
}

Task<std::string> names_of(Loop& other) {
  std::string names = co_await call_on(other, name_of_this_loop());
  names += ' ';
  names += co_await call_on(Loop::current(), name_of_this_loop());
  co_return names + ' ' + Loop::current().name();
}

TEST_P(LoopCoreTest, CallOnRunsThereAndComesBack) {
  Loop* const other = runtime().add_loop("io0").value();
  EXPECT_EQ(run(names_of(*other)), "io0 control control");
  runtime().remove_loop(other);
}

Task<int> ping_pong(Loop& other, int rounds) {
  int count = 0;
  for (int i = 0; i != rounds; ++i) {
    co_await call_on(other, [](int& count) -> Task<void> {
      ++count;
      co_return;
    }(count));
  }
  co_return count;
}

TEST_P(LoopCoreTest, LoopsWakeEachOtherEveryTime) {
  Loop* const other = runtime().add_loop("io0").value();
  EXPECT_EQ(run(ping_pong(*other, 3000)), 3000);
}

TEST_P(LoopCoreTest, LoopsThatWereNotRemovedEndWithTheRuntime) {
  for (int i = 0; i != 3; ++i) ASSERT_TRUE(runtime().add_loop("io" + std::to_string(i)));
}

TEST_P(LoopCoreTest, WhatAnEndedLoopWasPostedIsDroppedNotRun) {
  auto alive = std::make_shared<int>(0);
  Loop* const other = runtime().add_loop("io0").value();
  std::atomic<bool> go = false;
  // The loop is held until it is asked to end, so that the second post can't run.
  std::thread releaser([&go] {
    std::this_thread::sleep_for(milliseconds(20));
    go = true;
  });
  other->post([&go] {
    while (!go) std::this_thread::yield();
  });
  other->post([alive] { ++*alive; });
  runtime().remove_loop(other);
  releaser.join();
  EXPECT_EQ(alive.use_count(), 1);
}

// Workers -----------------------------------------------------------------------------------------

Task<bool> work_elsewhere() {
  const std::thread::id here = std::this_thread::get_id();
  const std::thread::id there =
      co_await Loop::current().on_worker([] { return std::this_thread::get_id(); });
  co_return here != there&& here == std::this_thread::get_id();
}

TEST_P(LoopCoreTest, WorkersAreOtherThreadsAndResumeHere) { EXPECT_TRUE(run(work_elsewhere())); }

Task<void> add_on_worker(uint64_t number, uint64_t& sum) {
  sum += co_await Loop::current().on_worker([number] { return number * 2; });
}

Task<uint64_t> many_work_items() {
  uint64_t sum = 0;
  TaskScope scope;
  for (uint64_t i = 0; i != 2000; ++i) scope.spawn(add_on_worker(i, sum));
  co_await scope.join();
  co_return sum;
}

TEST_P(LoopCoreTest, ManyWorkItemsAllComeBack) { EXPECT_EQ(run(many_work_items()), 2000u * 1999u); }

Task<void> block_a_worker(std::atomic<int>& running, std::atomic<int>& most) {
  co_await Loop::current().on_worker([&] {
    const int now = ++running;
    for (int seen = most; seen < now && !most.compare_exchange_weak(seen, now);) {
    }
    std::this_thread::sleep_for(milliseconds(50));
    --running;
  });
}

Task<int> block_workers() {
  std::atomic<int> running = 0;
  std::atomic<int> most = 0;
  TaskScope scope;
  for (int i = 0; i != 8; ++i) scope.spawn(block_a_worker(running, most));
  co_await scope.join();
  co_return most.load();
}

TEST_P(LoopCoreTest, WorkersRunBesideEachOtherUpToTheirNumber) {
  EXPECT_EQ(run(block_workers()), 4);
}

// Turns -------------------------------------------------------------------------------------------

struct Hook : TurnHook {
  std::vector<int>* order = nullptr;
  int name = 0;
  TurnHook* and_forget = nullptr;
};

void note_hook(TurnHook& hook) {
  auto& self = static_cast<Hook&>(hook);
  self.order->push_back(self.name);
  if (self.and_forget != nullptr) Loop::current().forget(*self.and_forget);
}

Task<std::vector<int>> run_hooks() {
  std::vector<int> order;
  Hook hooks[5];
  for (int i = 0; i != 5; ++i) {
    hooks[i].run = note_hook;
    hooks[i].order = &order;
    hooks[i].name = i;
  }
  Loop& loop = Loop::current();
  hooks[1].and_forget = &hooks[2];
  for (Hook& hook : hooks) loop.at_turn_end(hook);
  loop.at_turn_end(hooks[0]);  // once is enough
  loop.forget(hooks[4]);
  order.push_back(100);  // the turn goes on
  co_await loop.sleep_for(milliseconds(1));
  loop.forget(hooks[0]);
  loop.at_turn_end(hooks[4]);  // the tail of the list is sound after a removal
  co_await loop.sleep_for(milliseconds(1));
  co_return order;
}

TEST_P(LoopCoreTest, HooksRunOnceAtTheTurnsEnd) {
  EXPECT_THAT(run(run_hooks()), ElementsAre(100, 0, 1, 3, 4));
}

Task<void> spin(bool& stop, uint64_t& rounds) {
  while (!stop) {
    ++rounds;
    co_await Loop::current().yield();
  }
}

Task<bool> spin_beside_a_timer() {
  bool stop = false;
  uint64_t rounds = 0;
  TaskScope scope;
  scope.spawn(spin(stop, rounds));
  scope.spawn(spin(stop, rounds));
  co_await Loop::current().sleep_for(milliseconds(5));
  co_await Loop::current().on_worker([] {});
  stop = true;
  co_await scope.join();
  co_return rounds > 2;
}

TEST_P(LoopCoreTest, WhoeverYieldsForEverStarvesNeitherTimersNorCompletions) {
  EXPECT_TRUE(run(spin_beside_a_timer()));
}

Task<bool> turn_ends() {
  Loop& loop = Loop::current();
  co_await loop.sleep_for(milliseconds(1));
  const bool early = loop.turn_is_over();
  const TimePoint start = loop.now();
  while (loop.now() - start < std::chrono::microseconds(300)) {
  }
  const bool late = loop.turn_is_over();
  co_await loop.sleep_for(milliseconds(1));
  co_return !early && late;
}

TEST_P(LoopCoreTest, ATurnIsOverAfterItsTime) { EXPECT_TRUE(run(turn_ends())); }

Task<bool> random_differs() {
  Loop& loop = Loop::current();
  std::vector<uint64_t> seen;
  for (int i = 0; i != 100; ++i) seen.push_back(loop.random());
  std::ranges::sort(seen);
  co_return std::ranges::adjacent_find(seen) == seen.end();
}

TEST_P(LoopCoreTest, RandomNumbersDiffer) { EXPECT_TRUE(run(random_differs())); }

TEST_P(LoopCoreTest, StopBeforeRunEndsTheRun) {
  runtime().stop();
  runtime().run();
}

// Waiting for each other --------------------------------------------------------------------------

Task<void> hold(Mutex& mutex, int name, std::vector<int>& order) {
  auto guard = co_await mutex.lock();
  order.push_back(name);
  co_await Loop::current().sleep_for(milliseconds(1));
  order.push_back(-name);
}

Task<std::vector<int>> take_turns() {
  Mutex mutex;
  std::vector<int> order;
  TaskScope scope;
  for (int name = 1; name != 4; ++name) scope.spawn(hold(mutex, name, order));
  co_await scope.join();
  EXPECT_FALSE(mutex.is_locked());
  co_return order;
}

TEST_P(LoopCoreTest, AMutexIsHeldByOneFirstComeFirstServed) {
  EXPECT_THAT(run(take_turns()), ElementsAre(1, -1, 2, -2, 3, -3));
}

Task<void> pass(Gate& gate, int name, std::vector<int>& order) {
  co_await gate.enter();
  order.push_back(name);
}

Task<std::vector<int>> pass_a_gate() {
  Gate gate;
  std::vector<int> order;
  TaskScope scope;
  scope.spawn(pass(gate, 1, order));
  gate.close();
  gate.close();
  scope.spawn(pass(gate, 2, order));
  scope.spawn(pass(gate, 3, order));
  gate.open();
  co_await Loop::current().sleep_for(milliseconds(1));
  order.push_back(0);  // still closed once
  gate.open();
  gate.close();  // before those who were woken ran: they are held again
  co_await Loop::current().sleep_for(milliseconds(1));
  order.push_back(0);
  gate.open();
  co_await scope.join();
  co_return order;
}

TEST_P(LoopCoreTest, AGateHoldsBackWhoeverEntersWhileItIsClosed) {
  EXPECT_THAT(run(pass_a_gate()), ElementsAre(1, 0, 0, 2, 3));
}

Task<void> await_event(Event& event, int& woken) {
  co_await event.wait();
  ++woken;
}

Task<int> set_an_event() {
  Event event;
  int woken = 0;
  TaskScope scope;
  for (int i = 0; i != 3; ++i) scope.spawn(await_event(event, woken));
  EXPECT_EQ(woken, 0);
  event.set();
  EXPECT_EQ(woken, 0);  // never inside the call
  scope.spawn(await_event(event, woken));
  EXPECT_EQ(woken, 1);  // set already: no wait
  co_await scope.join();
  co_return woken;
}

TEST_P(LoopCoreTest, AnEventWakesAllWhoWait) { EXPECT_EQ(run(set_an_event()), 4); }

Task<void> spawn_more(TaskScope& scope, int depth, int& ended) {
  co_await Loop::current().yield();
  if (depth != 0) scope.spawn(spawn_more(scope, depth - 1, ended));
  ++ended;
}

Task<int> join_a_growing_scope() {
  TaskScope scope;
  int ended = 0;
  scope.spawn(spawn_more(scope, 10, ended));
  EXPECT_EQ(scope.running(), 1u);
  co_await scope.join();
  EXPECT_EQ(scope.running(), 0u);
  co_return ended;
}

TEST_P(LoopCoreTest, JoinWaitsForTasksSpawnedMeanwhile) {
  EXPECT_EQ(run(join_a_growing_scope()), 11);
}

// The kernel's rings
// -------------------------------------------------------------------------------

struct CountedPoll : PollRequest {
  int* fired = nullptr;
};

void start_polls(std::vector<CountedPoll>& polls, int fd, int& fired) {
  for (CountedPoll& poll : polls) {
    poll.fd = fd;
    poll.events = POLLIN;
    poll.fired = &fired;
    poll.on_ready = [](PollRequest& request) { ++*static_cast<CountedPoll&>(request).fired; };
    dynamic_cast<KernelLoop&>(Loop::current()).poll(poll);
  }
}

// More than the submission queue takes at once, and more completions than their queue holds.
Task<void> overflow_the_rings(int rounds) {
  const int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  std::vector<CountedPoll> polls(10'000);
  int fired = 0;
  for (int round = 0; round != rounds; ++round) {
    start_polls(polls, fd, fired);
    co_await Loop::current().sleep_for(milliseconds(1));
    EXPECT_EQ(fired, 0);
    eventfd_write(fd, 1);
    for (int i = 0; i != 1000 && fired != 10'000; ++i) {
      co_await Loop::current().sleep_for(milliseconds(1));
    }
    EXPECT_EQ(fired, 10'000);
    fired = 0;
    eventfd_t value = 0;
    eventfd_read(fd, &value);
  }
  // Those that are given up are never heard of, although the descriptor becomes ready.
  start_polls(polls, fd, fired);
  co_await Loop::current().sleep_for(milliseconds(1));
  eventfd_write(fd, 1);
  for (CountedPoll& poll : polls) dynamic_cast<KernelLoop&>(Loop::current()).cancel(poll);
  polls.clear();
  co_await Loop::current().sleep_for(milliseconds(5));
  EXPECT_EQ(fired, 0);
  ::close(fd);
}

TEST_P(LoopCoreTest, RingsThatOverflowLoseNothing) {
  // A descriptor has one waiter for each direction on epoll, which has no rings.
  if (GetParam() != RuntimeOptions::Engine::kUring) GTEST_SKIP() << "no rings";
  run(overflow_the_rings(3));
}

// As containers do.
void forbid_io_uring() {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  sock_fprog filter{.len = std::size(program), .filter = program};
  CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
  CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0);
}

Task<bool> wake_from_a_worker() {
  co_return co_await Loop::current().on_worker([] { return true; });
}

TEST(RuntimeTest, FallsBackWhereIoUringIsForbidden) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        forbid_io_uring();
        const auto refused = make_runtime({.engine = RuntimeOptions::Engine::kUring});
        CHECK(refused.error().text() == "Could not set up io_uring: Operation not permitted");
        CHECK(testing::run_on_loop(wake_from_a_worker()));
        std::_Exit(0);
      },
      ::testing::ExitedWithCode(0), "using epoll and worker threads instead");
}

}  // namespace
}  // namespace firn::async
