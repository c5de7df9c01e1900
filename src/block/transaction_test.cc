#include "block/transaction.h"

#include <atomic>
#include <cstring>
#include <vector>

#include "async/scope.h"
#include "block/lab.h"

namespace firn::block {
namespace {

using base::ErrorKind;

constexpr uint64_t kSize = 8 * kFakeCluster;

Task<Result<>> write_number(Root& root, uint64_t number) {
  char sector[512] = {};
  std::memcpy(sector, &number, sizeof number);
  const IoVec iov(sector, sizeof sector);
  co_return co_await root.write(0, iov, flag::kNone);
}

bool is_busy(const Result<std::vector<SnapshotReport>>& reports) {
  return !reports && reports.error().text().starts_with("The disks can't be stopped at one point");
}

Result<std::vector<SnapshotReport>> reports_of(TransactionOutcome outcome) {
  if (!outcome.result) return base::fail(std::move(outcome.result).error());
  return std::move(outcome.reports);
}

// On a busy machine a thread may sleep for longer than a transaction waits; nothing has changed
// then.
Task<Result<std::vector<SnapshotReport>>> persist(Graph& graph,
                                                  std::vector<TransactionAction> actions) {
  while (true) {
    auto reports = reports_of(co_await run_transaction(graph, actions));
    if (!is_busy(reports)) co_return reports;
  }
}

// Gives a loop long turns, from when the intents are recorded, when the gates are next, until the
// transaction is over or given up.
class DelayingStore final : public StateStore {
 public:
  async::Loop* late_loop = nullptr;  // null: none

  Task<Result<uint64_t>> record_intent(GraphChange) override {
    stop_ = late_loop == nullptr;
    if (!stop_) scope_.spawn(async::call_on(*late_loop, have_long_turns()));
    co_return uint64_t{1};
  }
  Task<Result<>> record_done(uint64_t, std::vector<std::string>) override { return end(); }
  Task<Result<>> record_sealed(std::string) override { co_return Result<>(); }
  Task<Result<>> forget_intent(uint64_t) override { return end(); }

 private:
  Task<Result<>> end() {
    stop_ = true;
    co_await scope_.join();
    co_return Result<>();
  }
  Task<void> have_long_turns() {
    async::Loop& loop = async::Loop::current();
    while (!stop_) {
      const async::TimePoint until = loop.now() + std::chrono::milliseconds(30);
      while (loop.now() < until) {
      }
      co_await loop.yield();
    }
  }

  std::atomic<bool> stop_ = true;
  async::TaskScope scope_;
};

// Two devices, each on an I/O loop of its own.
class TransactionTest : public Lab {
 protected:
  void SetUp() override {
    ASSERT_TRUE(run(graph_->close()));
    Registry registry;
    register_all(registry);
    graph_ = Graph::create(*runtime_, std::move(registry), store_).value();
    ASSERT_TRUE(graph_->add_io_loop("t1"));
    for (int i = 0; i < 2; ++i) {
      make_image(names_[i], kSize);
      nodes_[i] = add(spec(names_[i], "fake", path(names_[i])));
      if (i == 1) {
        ASSERT_TRUE(run(graph_->move_to_loop(*nodes_[i], *graph_->find_io_loop("t1"))));
      }
      ASSERT_TRUE(run(graph_->add_device(devices_[i], names_[i])));
      ASSERT_TRUE(attach(roots_[i], nodes_[i], kWrite));
    }
  }
  void TearDown() override {
    for (Root& root : roots_) detach(root);
    ASSERT_TRUE(run(graph_->close()));  // the store ends before it
  }

  SnapshotRequest request(int disk, const std::string& file) {
    SnapshotRequest request;
    request.device = devices_[disk];
    request.overlay_path = path(file);
    request.overlay_node_name = file;
    request.format = "fake";
    return request;
  }
  static SnapshotRequest request(const std::string& node, const std::string& overlay) {
    SnapshotRequest request;
    request.device = node;
    request.node_name = node;
    request.overlay_node = overlay;
    return request;
  }
  template <typename... Actions>
  Result<std::vector<SnapshotReport>> transaction(Actions... actions) {
    std::vector<TransactionAction> list;
    (list.emplace_back(std::move(actions)), ...);
    return run(persist(*graph_, std::move(list)));
  }
  template <typename... Actions>
  std::string error_of(Actions... actions) {
    auto reports = transaction(std::move(actions)...);
    return reports ? "no error" : reports.error().text();
  }
  Node* head(int disk) { return run(graph_->find_head(devices_[disk], "")).value(); }
  // An overlay that a user opened, without a backing image.
  Node* add_overlay(const std::string& name, uint64_t size = kSize) {
    make_image(name, size);
    NodeSpec overlay = spec(name, "fake", path(name));
    overlay.backing.emplace(std::unique_ptr<NodeSpec>());
    return add(std::move(overlay));
  }

  DelayingStore store_;
  const std::string names_[2] = {"a", "b"};
  const std::string devices_[2] = {"vda", "vdb"};
  Node* nodes_[2] = {};
  Root roots_[2] = {Root("block export 'e0'"), Root("block export 'e1'")};
};

TEST_F(TransactionTest, AllHappenInTheirOrder) {
  const auto reports = transaction(request(1, "s1"), request(0, "s0"));
  ASSERT_TRUE(reports) << reports.error().text();
  ASSERT_EQ(reports->size(), 2u);
  EXPECT_EQ((*reports)[0].device, "vdb");
  EXPECT_EQ((*reports)[1].overlay_node, "s0");
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(head(i)->name(), "s" + std::to_string(i));
    EXPECT_TRUE(nodes_[i]->read_only());
    EXPECT_TRUE(roots_[i].gate().is_open());
  }
  EXPECT_EQ(error_of(), "no error") << "an empty list succeeds";
}

TEST_F(TransactionTest, TheFirstErrorUndoesAllWithoutATrace) {
  EXPECT_EQ(error_of(request(0, "s0"), request(1, "s1"), AbortAction()),
            "Transaction aborted using Abort action");
  EXPECT_EQ(error_of(request(0, "s0"), request(1, "none/s1")),
            "Could not create '" + path("none/s1") + "': No such file or directory");
  EXPECT_EQ(error_of(request(0, "s0"), request(1, "s0")), "New overlay node-name already in use");
  EXPECT_EQ(error_of(request(0, "s0"), request(0, "s1")),
            "Node 'a' is busy: this transaction takes a snapshot of it already");
  auto same_file = request(1, "s1");
  same_file.overlay_path = path("s0");
  EXPECT_NE(error_of(request(0, "s0"), same_file), "no error");
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(head(i), nodes_[i]);
    EXPECT_FALSE(exists("s" + std::to_string(i)));
    EXPECT_FALSE(nodes_[i]->read_only());
    ASSERT_TRUE(run(async::call_on(nodes_[i]->home(), write_number(roots_[i], 1))));
  }
  EXPECT_EQ(error_of(request(0, "s0"), request(1, "s1")), "no error");
}

TEST_F(TransactionTest, AnOpenNodeBecomesTheOverlay) {
  ASSERT_TRUE(write(roots_[0], 0, 512, 'A'));
  Node* overlay = add_overlay("o");
  ASSERT_EQ(error_of(request("vda", "o")), "no error");
  EXPECT_EQ(head(0), overlay);
  ASSERT_TRUE(write(roots_[0], 512, 512, 'B'));
  EXPECT_EQ(read(roots_[0], 511, 2), "AB");
  EXPECT_TRUE(nodes_[0]->read_only());
  // It comes to the loop of the head.
  overlay = add_overlay("p");
  ASSERT_EQ(error_of(request("b", "p")), "no error");
  EXPECT_EQ(&overlay->home(), &nodes_[1]->home());
  EXPECT_EQ(head(1), overlay);
}

TEST_F(TransactionTest, OverlaysThatCanNotBeAreRefused) {
  add_overlay("o");
  EXPECT_EQ(error_of(request("nope", "o")), "Cannot find device='nope' nor node-name='nope'");
  EXPECT_EQ(error_of(request("a", "nope")), "Cannot find device='nope' nor node-name='nope'");
  EXPECT_EQ(error_of(request("a", "b")), "The overlay is already in use");
  EXPECT_EQ(error_of(request("a", "vdb")), "The overlay is already in use");
  EXPECT_EQ(error_of(request("a", "o"), request("b", "o")), "The overlay is already in use");
  EXPECT_EQ(error_of(request("a", "o"), request("o", "b")),
            "Node 'o' is busy: this transaction takes a snapshot of it already");
  make_image("base2", kSize);
  make_image("chained", kSize, path("base2"));
  add(spec("chained", "fake", path("chained")));
  EXPECT_EQ(error_of(request("a", "chained")), "The overlay already has a backing image");
  make_file("plain", kSize);
  add(spec("plain", "raw", path("plain")));
  EXPECT_EQ(error_of(request("a", "plain")), "The overlay does not support backing images");
  EXPECT_EQ(error_of(request("plain", "o"), request("a", "plain")),
            "The overlay is already in use");
  add_overlay("small", kSize / 2);
  EXPECT_NE(error_of(request("a", "small")).find("an overlay must be as large as"),
            std::string::npos);
  // What was refused, or undone, is as it was.
  EXPECT_EQ(error_of(request("a", "o"), AbortAction()), "Transaction aborted using Abort action");
  EXPECT_EQ(error_of(request("a", "o")), "no error");
}

// One point in time -----------------------------------------------------------------------------

// On the first disk's loop, so that nothing but the gate keeps it from overtaking a pivot that goes
// from loop to loop: writes each number to the first disk, and once that is done to the second.
Task<Result<>> count_on_both(Root& first, Root& second, async::Loop& second_home,
                             const std::atomic<bool>& stop) {
  uint64_t number = 0;
  while (!stop) {
    ++number;
    CO_TRY(co_await write_number(first, number));
    CO_TRY(co_await async::call_on(second_home, write_number(second, number)));
  }
  co_return Result<>();
}

// Keeps the control loop slow: whatever goes from loop to loop by way of it leaves time for others.
Task<Result<>> be_slow(const std::atomic<bool>& stop) {
  async::Loop& loop = async::Loop::current();
  while (!stop) {
    const async::TimePoint until = loop.now() + std::chrono::microseconds(500);
    while (loop.now() < until) {
    }
    co_await loop.yield();
  }
  co_return Result<>();
}

Task<Result<>> take_many(Graph& graph, std::vector<std::vector<TransactionAction>> groups,
                         std::atomic<bool>& stop) {
  Result<> first;
  for (auto& group : groups) {
    auto reports = co_await persist(graph, std::move(group));
    if (!reports && first) first = base::fail(reports.error());
  }
  stop = true;
  co_return first;
}

Task<uint64_t> number_in(Node& node) {
  char sector[512] = {};
  const IoVec iov(sector, sizeof sector);
  uint64_t number = 0;
  if (co_await node.driver().read(0, iov, flag::kNone)) {
    std::memcpy(&number, sector, sizeof number);
  }
  co_return number;
}

TEST_F(TransactionTest, NoSnapshotHasTheSecondWriteWithoutTheFirst) {
  constexpr int kGroups = 8;
  std::vector<std::vector<TransactionAction>> groups;
  for (int i = 0; i < kGroups; ++i) {
    auto& group = groups.emplace_back();
    group.emplace_back(request(0, "a" + std::to_string(i)));
    group.emplace_back(request(1, "b" + std::to_string(i)));
  }
  std::atomic<bool> stop = false;
  const auto both = [&]() -> Task<Result<>> {
    async::TaskScope scope;
    Result<> counted;
    const auto store = [](Task<Result<>> task, Result<>& out) -> Task<void> {
      out = co_await std::move(task);
    };
    scope.spawn(store(async::call_on(nodes_[0]->home(),
                                     count_on_both(roots_[0], roots_[1], nodes_[1]->home(), stop)),
                      counted));
    Result<> slow;
    scope.spawn(store(be_slow(stop), slow));
    Result<> taken = co_await take_many(*graph_, std::move(groups), stop);
    co_await scope.join();
    CO_TRY(counted);
    co_return taken;
  };
  const auto result = run(both());
  ASSERT_TRUE(result) << result.error().text();
  uint64_t last = 0;
  for (int i = 0; i < kGroups; ++i) {
    // The head that group i froze is the overlay of the group before it.
    Node* first = i == 0 ? nodes_[0] : graph_->find_node("a" + std::to_string(i - 1));
    Node* second = i == 0 ? nodes_[1] : graph_->find_node("b" + std::to_string(i - 1));
    const uint64_t a = run(async::call_on(first->home(), number_in(*first)));
    const uint64_t b = run(async::call_on(second->home(), number_in(*second)));
    EXPECT_GE(a, b) << "group " << i;
    EXPECT_LE(a, b + 1) << "group " << i;
    last = std::max(last, b);
  }
  EXPECT_GT(last, 0u) << "nothing was written beside the snapshots";
}

TEST_F(TransactionTest, ALoopThatIsLateHoldsUpNoOther) {
  const auto once = [&]() -> Task<Result<std::vector<SnapshotReport>>> {
    std::vector<TransactionAction> both;
    for (int i = 0; i != 2; ++i) both.emplace_back(request(i, "s" + std::to_string(i)));
    co_return reports_of(co_await run_transaction(*graph_, std::move(both)));
  };
  store_.late_loop = &nodes_[1]->home();
  const auto reports = run(once());
  ASSERT_FALSE(reports);
  EXPECT_EQ(reports.error().kind(), ErrorKind::kBusy) << reports.error().text();
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(head(i), nodes_[i]);
    EXPECT_FALSE(exists("s" + std::to_string(i)));
    EXPECT_TRUE(roots_[i].gate().is_open());
    ASSERT_TRUE(run(async::call_on(nodes_[i]->home(), write_number(roots_[i], 1))));
  }
  store_.late_loop = nullptr;
  EXPECT_EQ(error_of(request(0, "s0"), request(1, "s1")), "no error");
}

}  // namespace
}  // namespace firn::block
