#include "async/sim_world.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "async/file.h"
#include "async/scope.h"
#include "async/sim_loop.h"

namespace firn::async {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;

struct Journal {
  std::vector<int> order;
};

Task<void> step_several(Loop& loop, Journal& journal, int who) {
  for (int i = 0; i < 5; ++i) {
    co_await loop.sleep_for(std::chrono::microseconds(loop.random() % 50));
    journal.order.push_back(who);
    co_await loop.on_worker([] {});
  }
}

Task<void> run_on_two_loops(SimWorld& world, Journal& journal) {
  Loop* other = *world.observer().add_loop("io");
  TaskScope scope;
  scope.spawn(step_several(Loop::current(), journal, 1));
  co_await call_on(*other, step_several(*other, journal, 2));
  co_await scope.join();
  world.observer().remove_loop(other);
}

TEST(SimWorldTest, SameSeedGivesTheSameRun) {
  std::set<std::vector<int>> orders;
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    uint64_t hashes[2];
    Journal journals[2];
    for (int i = 0; i < 2; ++i) {
      SimWorld world(seed, SimOptions::varied(seed));
      ASSERT_TRUE(world.run(run_on_two_loops(world, journals[i])));
      hashes[i] = world.trace_hash();
    }
    EXPECT_EQ(hashes[0], hashes[1]);
    EXPECT_EQ(journals[0].order, journals[1].order);
    orders.insert(journals[0].order);
  }
  EXPECT_GT(orders.size(), 20u);  // and seeds differ
}

Task<void> wait_for(Event& event) { co_await event.wait(); }

TEST(SimWorldTest, DeadlockIsAnErrorThatSaysWhere) {
  SimWorld world(1);
  Event event;
  const auto stuck = world.run(wait_for(event));
  ASSERT_FALSE(stuck);
  EXPECT_THAT(stuck.error().text(), HasSubstr("deadlock"));
  EXPECT_THAT(stuck.error().text(), HasSubstr("seed 1"));
  EXPECT_THAT(stuck.error().text(), HasSubstr("observer/control"));
  // Whoever is stuck can still be helped.
  const auto help = [](Event& event) -> Task<void> {
    event.set();
    co_await Loop::current().sleep_for(seconds(1));
  };
  EXPECT_TRUE(world.run(help(event)));
}

Task<void> sleep_forever(const bool& stop) {
  while (!stop) co_await Loop::current().sleep_for(milliseconds(1));
}

// Lets those that were left over see that they shall stop.
Task<void> wait_a_moment() { co_await Loop::current().sleep_for(milliseconds(100)); }

TEST(SimWorldTest, LimitsEndWhatNeverEnds) {
  SimOptions options = SimOptions::usual();
  options.most_steps = 1000;
  bool stop = false;
  {
    SimWorld world(1, options);
    const auto ran = world.run(sleep_forever(stop));
    ASSERT_FALSE(ran);
    EXPECT_THAT(ran.error().text(), HasSubstr("too many steps"));
    stop = true;
    ASSERT_TRUE(world.run(wait_a_moment()));
  }
  options = SimOptions::usual();
  options.most_time = seconds(1);
  stop = false;
  SimWorld world(1, options);
  const auto ran = world.run(sleep_forever(stop));
  ASSERT_FALSE(ran);
  EXPECT_THAT(ran.error().text(), HasSubstr("too much virtual time"));
  stop = true;
  ASSERT_TRUE(world.run(wait_a_moment()));
}

Task<void> check_clock(SimWorld& world) {
  Loop& loop = Loop::current();
  const TimePoint start = loop.now();
  const int64_t wall_us = loop.wall_clock_us();
  EXPECT_TRUE(co_await loop.sleep_for(seconds(3600)));
  EXPECT_GE(loop.now() - start, seconds(3600));
  EXPECT_LT(loop.now() - start, seconds(3601));
  EXPECT_NEAR(static_cast<double>(loop.wall_clock_us() - wall_us), 3600e6, 1e6);
  CancelSource source;
  TaskScope scope;
  const auto cancel = [](CancelSource& source) -> Task<void> {
    co_await Loop::current().sleep_for(milliseconds(5));
    source.cancel();
  };
  scope.spawn(cancel(source));
  EXPECT_FALSE(co_await loop.sleep_for(seconds(10), source.token()));
  EXPECT_LT(loop.now() - start, seconds(3602));
  co_await scope.join();
  EXPECT_EQ(&Loop::current(), &world.observer().control_loop());
}

TEST(SimWorldTest, TimeJumpsAndTimersCancel) {
  SimWorld world(7);
  ASSERT_TRUE(world.run(check_clock(world)));
}

Task<void> check_posts(SimWorld& world) {
  Loop* other = *world.observer().add_loop("io");
  std::vector<int> seen;
  for (int i = 0; i < 100; ++i) {
    other->post([&seen, i, other] {
      EXPECT_EQ(&Loop::current(), other);
      seen.push_back(i);
    });
  }
  while (seen.size() < 100) co_await Loop::current().sleep_for(milliseconds(1));
  for (int i = 0; i < 100; ++i) EXPECT_EQ(seen[static_cast<size_t>(i)], i);
  world.observer().remove_loop(other);
}

TEST(SimWorldTest, PostsArriveInOrder) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    SimWorld world(seed, SimOptions::varied(seed));
    ASSERT_TRUE(world.run(check_posts(world)));
  }
}

struct CountingHook : TurnHook {
  int count = 0;
};

Task<void> check_hooks() {
  Loop& loop = Loop::current();
  CountingHook hook;
  hook.run = [](TurnHook& self) { ++static_cast<CountingHook&>(self).count; };
  loop.at_turn_end(hook);
  loop.at_turn_end(hook);
  EXPECT_EQ(hook.count, 0);
  co_await loop.sleep_for(milliseconds(1));
  EXPECT_EQ(hook.count, 1);
  loop.at_turn_end(hook);
  loop.forget(hook);
  co_await loop.sleep_for(milliseconds(1));
  EXPECT_EQ(hook.count, 1);
}

TEST(SimWorldTest, HooksRunOnceAtTheEndOfATurn) {
  SimWorld world(3);
  ASSERT_TRUE(world.run(check_hooks()));
}

Task<void> live_until_killed(SimProcess& process, int& after_death) {
  while (process.alive()) co_await Loop::current().sleep_for(milliseconds(1));
  const auto file = co_await Loop::current().files().open("/f", {.writable = true, .create = true});
  EXPECT_FALSE(file);
  if (!file) EXPECT_EQ(file.error().kind(), base::ErrorKind::kShutdown);
  ++after_death;
}

Task<void> kill_one(SimWorld& world, int& after_death) {
  SimProcess& process = world.add_process("daemon");
  process.start(live_until_killed(process, after_death));
  co_await Loop::current().sleep_for(milliseconds(20));
  EXPECT_EQ(after_death, 0);
  process.kill();
  co_await process.wait_ended();
  EXPECT_EQ(after_death, 1);
  EXPECT_FALSE(process.alive());
}

TEST(SimWorldTest, AGhostMeetsErrorsAndEnds) {
  SimWorld world(3);
  int after_death = 0;
  ASSERT_TRUE(world.run(kill_one(world, after_death)));
}

Task<int> add(int a, int b) {
  co_await Loop::current().sleep_for(milliseconds(1));
  co_return a + b;
}

TEST(SimWorldTest, AProcessIsARuntime) {
  SimWorld world(3);
  EXPECT_EQ(run_until_done(world.observer(), add(2, 3)), 5);
}

}  // namespace
}  // namespace firn::async
