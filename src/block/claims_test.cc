#include "block/claims.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "async/scope.h"
#include "async/sim_world.h"
#include "block/lab.h"

namespace firn::block {
namespace {

using async::Loop;
using async::TaskScope;
using std::chrono::milliseconds;
using std::chrono::seconds;

// The queue ---------------------------------------------------------------------------------------

// Chains "a", "b", ... that a test lets commands claim, in virtual time.
class ClaimQueueTest : public ::testing::Test {
 protected:
  ClaimQueueTest()
      : queue_({.resolve = [this](const ClaimKeys& keys) { return resolve(keys); },
                .all = [this] { return resolve({.names = {"a", "b", "c", "d"}}); },
                .make_chain = [this] { return ++last_chain_; },
                .on_release = [](const ChainIds&) {}}) {}

  ChainIds resolve(const ClaimKeys& keys) const {
    ChainIds chains;
    for (const std::string& name : keys.names) {
      if (const auto at = chains_.find(name); at != chains_.end()) chains.insert(at->second);
    }
    return chains;
  }

  // A command: what it is called goes into the journal when it has its claim, and, as "/name", when
  // it gives it up.
  Task<void> command(std::string name, ClaimKeys keys, async::Duration time) {
    const ChainClaim claim = co_await queue_.claim(std::move(keys));
    journal_ += name;
    if (time != async::Duration::zero()) co_await Loop::current().sleep_for(time);
    journal_ += "/" + name;
  }
  void spawn(std::string name, std::vector<std::string> names,
             async::Duration time = milliseconds(10)) {
    scope_.spawn(command(std::move(name), {.names = std::move(names)}, time));
  }
  void spawn_all(std::string name, async::Duration time = milliseconds(10)) {
    scope_.spawn(command(std::move(name), {.all = true}, time));
  }
  Task<void> sleep(async::Duration time) { (void)co_await Loop::current().sleep_for(time); }
  Task<void> in_world(Task<void> test) {
    co_await std::move(test);
    co_await scope_.join();
  }
  // The journal of `test` and of all that it spawned.
  std::string run(Task<void> test) {
    async::SimWorld world(1);
    const auto ran = world.run(in_world(std::move(test)));
    EXPECT_TRUE(ran) << ran.error().text();
    return journal_;
  }

  std::map<std::string, ChainId> chains_{{"a", 1}, {"b", 2}, {"c", 3}, {"d", 4}};
  ChainId last_chain_ = 100;
  std::string journal_;
  TaskScope scope_;
  ClaimQueue queue_;
};

TEST_F(ClaimQueueTest, OneAtATimePerChainAndInOrder) {
  const auto test = [&]() -> Task<void> {
    spawn("1", {"a"}, milliseconds(30));
    spawn("2", {"a"});
    spawn("3", {"b"});
    spawn("4", {"a"});
    spawn("5", {"unknown"}, milliseconds(20));
    co_return;
  };
  EXPECT_EQ(run(test()), "135/3/5/12/24/4");
}

TEST_F(ClaimQueueTest, NobodyHoldsOneChainWhileWaitingForAnother) {
  const auto test = [&]() -> Task<void> {
    spawn("1", {"a", "b"});
    spawn("2", {"b", "a"});
    spawn("3", {"b", "c"});
    spawn("4", {"c", "a"});
    co_return;
  };
  EXPECT_EQ(run(test()), "1/12/23/34/4");
}

// A steady stream of commands to single disks must not keep a group from its turn.
TEST_F(ClaimQueueTest, AGroupIsNotOvertaken) {
  const auto test = [&]() -> Task<void> {
    spawn("1", {"a"});
    spawn("G", {"a", "b"});
    spawn("2", {"b"});
    spawn("3", {"c"});
    co_return;
  };
  EXPECT_EQ(run(test()), "13/1G/3/G2/2");
}

TEST_F(ClaimQueueTest, AGroupThatWaitsForADeadDiskHoldsUpTheOthersForASecond) {
  const auto test = [&]() -> Task<void> {
    spawn("D", {"a"}, seconds(60));  // a disk that does not answer
    spawn("G", {"a", "b"});
    spawn_all("A");
    co_await sleep(milliseconds(500));
    spawn("2", {"b"});
    co_await sleep(milliseconds(400));
    EXPECT_EQ(journal_, "D");
    co_await sleep(milliseconds(200));
    EXPECT_EQ(journal_, "D2/2");
    spawn("3", {"b"});  // no longer held up
    spawn("4", {"a"});
    co_await sleep(milliseconds(50));
    EXPECT_EQ(journal_, "D2/23/3");
    EXPECT_LT(Loop::current().now().time_since_epoch(), seconds(30));
  };
  EXPECT_EQ(run(test()), "D2/23/3/DG/GA/A4/4");
}

TEST_F(ClaimQueueTest, AllWaitsForEverybodyAndEverybodyForIt) {
  const auto test = [&]() -> Task<void> {
    spawn("1", {"a"});
    spawn("2", {}, milliseconds(20));
    spawn_all("A");
    spawn("3", {"d"});
    spawn("4", {}, milliseconds(20));
    co_return;
  };
  EXPECT_EQ(run(test()), "12/1/2A/A34/3/4");
}

// Between its turn and its first look, a name may come to mean another chain.
TEST_F(ClaimQueueTest, AClaimHoldsWhatItsNamesMeanWhenItHasIt) {
  const auto test = [&]() -> Task<void> {
    spawn("1", {"a"}, milliseconds(30));
    spawn("2", {"new"}, milliseconds(10));  // knows of no chain yet, and has its turn at once
    const auto merge = [&]() -> Task<void> {
      const ChainClaim claim = co_await queue_.claim({.names = {"b"}});
      journal_ += "m";
      co_await sleep(milliseconds(20));
      chains_["new"] = 1;
    };
    scope_.spawn(merge());
    spawn("3", {"b", "new"});  // waits for b; by then it needs a too
    co_await scope_.join();
  };
  EXPECT_EQ(run(test()), "12m/2/13/3");
}

TEST_F(ClaimQueueTest, NamesAreReservedWhileTheClaimLives) {
  const auto test = [&]() -> Task<void> {
    ChainClaim one = co_await queue_.claim({.names = {"a"}});
    const ChainClaim other = co_await queue_.claim({.names = {"b"}});
    EXPECT_TRUE(queue_.reserve_name(one, "x"));
    EXPECT_TRUE(queue_.reserve_name(one, "x"));
    EXPECT_FALSE(queue_.reserve_name(other, "x"));
    EXPECT_TRUE(queue_.is_reserved("x", nullptr));
    EXPECT_FALSE(queue_.is_reserved("x", &one));
    one.drop();
    EXPECT_TRUE(queue_.reserve_name(other, "x"));
  };
  run(test());
}

// Readers -----------------------------------------------------------------------------------------

class ReaderGateTest : public ClaimQueueTest {
 protected:
  Task<void> read(std::string name, async::Duration time) {
    const auto reading = co_await gate_.enter();
    journal_ += name;
    (void)co_await Loop::current().sleep_for(time);
    journal_ += "/" + name;
  }
  Task<void> exclude(std::string name, async::Duration time) {
    const auto exclusion = co_await gate_.exclude();
    journal_ += name;
    (void)co_await Loop::current().sleep_for(time);
    journal_ += "/" + name;
  }
  ReaderGate gate_;
};

TEST_F(ReaderGateTest, ReadersAreBesideEachOtherAndExclusionsAlone) {
  const auto test = [&]() -> Task<void> {
    scope_.spawn(read("1", milliseconds(10)));
    scope_.spawn(read("2", milliseconds(20)));
    scope_.spawn(exclude("X", milliseconds(10)));
    scope_.spawn(exclude("Y", milliseconds(10)));
    scope_.spawn(read("3", milliseconds(10)));  // waits for both
    co_return;
  };
  EXPECT_EQ(run(test()), "12/1/2X/XY/Y3/3");
}

// A store that hangs ------------------------------------------------------------------------------

// Two disks on one I/O loop. Flushes of the first one's store hang until the test lets them go.
class HangingStoreTest : public Lab {
 protected:
  void SetUp() override {
    for (int i = 0; i < 2; ++i) {
      make_image(names_[i], 8 * kFakeCluster);
      nodes_[i] = add(spec(names_[i], "fake", path(names_[i])));
      ASSERT_TRUE(run(graph_->add_device(devices_[i], names_[i])));
      ASSERT_TRUE(attach(roots_[i], nodes_[i], kWrite));
    }
    set_hanging(true);
  }
  void TearDown() override {
    if (graph_->nodes().empty()) return;  // closed
    set_hanging(false);
    run(scope_.join());
    for (Root& root : roots_) {
      if (root.head() != nullptr) detach(root);
    }
  }

  void set_hanging(bool hanging) {
    const auto set = [&]() -> Task<void> {
      auto& gate = fake_hooks("a").flush_gate;
      if (gate.is_open() != hanging) co_return;
      hanging ? gate.close() : gate.open();
    };
    run_io_void(set());
  }
  void run_io_void(Task<void> task) {
    run(async::call_on(graph_->default_io_loop(), std::move(task)));
  }
  SnapshotRequest request(int disk, const std::string& file) {
    SnapshotRequest request;
    request.device = devices_[disk];
    request.overlay_path = path(file);
    request.overlay_node_name = file;
    request.format = "fake";
    return request;
  }

  // Begins a snapshot of the first disk, and returns when it hangs.
  void begin_hanging_snapshot() {
    const int before = fake_hooks("a").flushes;
    const auto begin = [&]() -> Task<void> {
      scope_.spawn(keep(take_snapshot(*graph_, request(0, "sa"))));
      co_return;
    };
    run(begin());
    const auto look = [&]() -> Task<int> { co_return fake_hooks("a").flushes; };
    while (run_io(look()) == before) {
    }
  }
  Task<void> keep(Task<Result<SnapshotReport>> task) { hung_ = co_await std::move(task); }

  const std::string names_[2] = {"a", "b"};
  const std::string devices_[2] = {"vda", "vdb"};
  Node* nodes_[2] = {};
  Root roots_[2] = {Root("block export 'e0'"), Root("block export 'e1'")};
  async::TaskScope scope_;
  Result<SnapshotReport> hung_ = base::fail(base::ErrorKind::kGeneric, "it has not ended");
};

TEST_F(HangingStoreTest, OtherDisksCommandsGoOn) {
  begin_hanging_snapshot();
  ASSERT_TRUE(snapshot(request(1, "sb")));
  EXPECT_EQ(run(graph_->find_head("vdb", "")).value()->name(), "sb");
  ASSERT_TRUE(run(graph_->resize("vdb", "", 16 * kFakeCluster)));
  make_image("c", kFakeCluster);
  add(spec("c", "fake", path("c")));
  ASSERT_TRUE(run(graph_->add_device("vdc", "c")));
  ASSERT_TRUE(run(graph_->remove_device("vdc")));
  ASSERT_TRUE(run(graph_->remove_node("c")));
  detach(roots_[1]);  // as the end of an export
  ASSERT_TRUE(run(graph_->remove_device("vdb")));
  ASSERT_TRUE(run(graph_->remove_node("sb")));
  ASSERT_TRUE(run(graph_->remove_node("b")));
  ASSERT_TRUE(graph_->add_io_loop("t1"));
  ASSERT_TRUE(run(graph_->remove_io_loop("t1")));
  EXPECT_FALSE(hung_);

  set_hanging(false);
  run(scope_.join());
  ASSERT_TRUE(hung_) << hung_.error().text();
}

Task<std::vector<std::string>> names_of(Graph& graph) {
  const auto reading = co_await graph.read_nodes();
  std::vector<std::string> names;
  for (const Node* node : graph.nodes()) names.push_back(node->name());
  co_return names;
}

TEST_F(HangingStoreTest, ReadersDoNotWait) {
  begin_hanging_snapshot();
  EXPECT_EQ(run(names_of(*graph_)).size(), 4u);
  // Nor does what makes readers wait.
  ASSERT_TRUE(run(graph_->remove_device("vdb")));
  EXPECT_EQ(run(names_of(*graph_)).size(), 4u);
}

// Commands to the disk itself wait for their turn, and find the new head then.
TEST_F(HangingStoreTest, ItsOwnCommandsQueueUp) {
  begin_hanging_snapshot();
  Result<> resized = base::fail(base::ErrorKind::kGeneric, "it has not ended");
  const auto resize = [&]() -> Task<void> {
    resized = co_await graph_->resize("vda", "", 16 * kFakeCluster);
  };
  const auto begin = [&]() -> Task<void> {
    scope_.spawn(resize());
    co_return;
  };
  run(begin());
  ASSERT_TRUE(snapshot(request(1, "sb")));
  EXPECT_FALSE(resized);
  set_hanging(false);
  run(scope_.join());
  ASSERT_TRUE(hung_) << hung_.error().text();
  ASSERT_TRUE(resized) << resized.error().text();
  EXPECT_EQ(graph_->find_node("sa")->driver().size_bytes(), 16 * kFakeCluster);
  EXPECT_EQ(nodes_[0]->driver().size_bytes(), 8 * kFakeCluster);
}

// The end of the daemon: the disk that hangs keeps no other from being flushed and closed.
TEST_F(HangingStoreTest, OtherDisksEndInOrder) {
  ASSERT_TRUE(write(roots_[1], 0, 512, 'B'));
  begin_hanging_snapshot();
  Result<> closed = base::fail(base::ErrorKind::kGeneric, "it has not ended");
  const auto close = [&]() -> Task<void> {
    closed = co_await graph_->close(Graph::Users::kLeaving);
  };
  const auto begin = [&]() -> Task<void> {
    scope_.spawn(close());
    co_return;
  };
  run(begin());
  EXPECT_NE(graph_->find_node("b"), nullptr) << "its export has not left yet";
  detach(roots_[1]);
  while (graph_->find_node("b") != nullptr) run(names_of(*graph_));
  EXPECT_EQ(graph_->find_device("vdb"), nullptr);
  EXPECT_NE(graph_->find_device("vda"), nullptr);
  EXPECT_FALSE(closed);
  set_hanging(false);
  detach(roots_[0]);
  run(scope_.join());
  ASSERT_TRUE(closed) << closed.error().text();
  EXPECT_TRUE(graph_->nodes().empty());
}

// Two of a kind at once ---------------------------------------------------------------------------

class RacingCommandsTest : public HangingStoreTest {};

TEST_F(RacingCommandsTest, ANameIsTakenOnce) {
  begin_hanging_snapshot();  // of a; "sa" is to be its overlay's name once it gets there
  set_hanging(false);
  run(scope_.join());
  make_image("c", kFakeCluster);
  make_image("d", kFakeCluster);
  Result<Node*> added[2] = {Result<Node*>(nullptr), Result<Node*>(nullptr)};
  const auto add_one = [&](int i) -> Task<void> {
    added[i] = co_await graph_->add_node(spec("same", "fake", path(i == 0 ? "c" : "d")));
  };
  const auto both = [&]() -> Task<void> {
    async::TaskScope scope;
    scope.spawn(add_one(0));
    scope.spawn(add_one(1));
    co_await scope.join();
  };
  run(both());
  EXPECT_TRUE(added[0]);
  ASSERT_FALSE(added[1]);
  EXPECT_EQ(added[1].error().text(), "Duplicate nodes with node-name='same'");
}

TEST_F(RacingCommandsTest, ForksOfOneBaseShareAQueueUntilOneGoes) {
  set_hanging(false);
  make_image("base", kFakeCluster);
  add(spec("base", "fake", path("base"), {.read_only = true}));
  for (const char* name : {"f1", "f2"}) {
    make_image(name, kFakeCluster);
    NodeSpec fork = spec(name, "fake", path(name));
    fork.backing.emplace(std::string("base"));
    add(std::move(fork));
  }
  const auto one_queue = [&](const char* name, const char* other) -> Task<bool> {
    const Graph::Claim claim = co_await graph_->claim({name});
    co_return graph_->holds(claim, graph_->find_node(other));
  };
  EXPECT_TRUE(run(one_queue("f1", "f2")));
  EXPECT_TRUE(run(one_queue("base", "f2")));
  EXPECT_FALSE(run(one_queue("f1", "a")));
  ASSERT_TRUE(run(graph_->remove_node("f2")));
  EXPECT_TRUE(run(one_queue("f1", "base")));
  ASSERT_TRUE(run(graph_->remove_node("f1")));
  EXPECT_FALSE(run(one_queue("base", "a")));
  // A snapshot's overlay is in the queue of its chain.
  ASSERT_TRUE(snapshot(request(0, "sa")));
  EXPECT_TRUE(run(one_queue("sa", "a")));
  EXPECT_TRUE(run(one_queue("vda", "a")));
}

}  // namespace
}  // namespace firn::block
