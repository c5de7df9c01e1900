#include "block/revert.h"

#include <optional>
#include <string>
#include <vector>

#include "block/fork.h"
#include "block/internal_snapshot.h"
#include "block/lab.h"

namespace firn::block {
namespace {

using base::ErrorKind;

constexpr uint64_t kSize = 8 * kFakeCluster;

// What the state was told, in order; fails where it is told to.
class RecordingStore final : public StateStore {
 public:
  Task<Result<uint64_t>> record_intent(GraphChange change) override {
    calls.emplace_back("intent");
    changes.push_back(std::move(change));
    if (fail_at == "intent") co_return base::fail(ErrorKind::kIo, "no room for the intent");
    co_return uint64_t{7};
  }
  Task<Result<>> record_done(uint64_t intent, std::vector<std::string> left) override {
    EXPECT_EQ(intent, 7u);
    calls.emplace_back("done");
    unsealed = std::move(left);
    if (fail_at == "done") co_return base::fail(ErrorKind::kIo, "no room for the rest");
    co_return Result<>();
  }
  Task<Result<>> record_sealed(std::string) override { co_return Result<>(); }
  Task<Result<>> forget_intent(uint64_t intent) override {
    EXPECT_EQ(intent, 7u);
    calls.emplace_back("forget");
    co_return Result<>();
  }

  std::string fail_at;
  std::vector<std::string> calls;
  std::vector<GraphChange> changes;
  std::vector<std::string> unsealed;
};

Task<Result<>> write_fill(Root& root, uint64_t offset, uint64_t length, char fill) {
  std::string bytes(length, fill);
  const IoVec iov(bytes.data(), bytes.size());
  co_return co_await root.write(offset, iov, flag::kNone);
}

// A disk 'vda' with the base 'a', which has an 'A', and the head 's1', which has a 'B' there.
class RevertTest : public Lab {
 protected:
  void SetUp() override {
    const auto graph = run(graph_->close());
    ASSERT_TRUE(graph);
    graph_.reset();
    Registry registry;
    register_all(registry);
    graph_ = Graph::create(*runtime_, std::move(registry), store_).value();
    make_image("base", kSize);
    base_ = add(spec("a", "fake", path("base")));
    ASSERT_TRUE(run(graph_->add_device("vda", "a")));
    ASSERT_TRUE(attach(root_, base_, kWrite));
    ASSERT_TRUE(write(root_, 0, 4096, 'A'));
    ASSERT_TRUE(snapshot(overlay("s1")));
    ASSERT_TRUE(write(root_, 0, 4096, 'B'));
    store_.calls.clear();
    store_.changes.clear();
  }
  void TearDown() override {
    detach(root_);
    // The store ends with the fixture.
    ASSERT_TRUE(run(graph_->close()));
  }

  SnapshotRequest overlay(const std::string& name, const std::string& device = "vda") {
    SnapshotRequest request;
    request.device = device;
    request.overlay_path = path(name);
    request.overlay_node_name = name;
    request.format = "fake";
    return request;
  }
  RevertRequest back_to(const std::string& layer, const std::string& name) {
    RevertRequest request;
    request.disk = overlay(name);
    request.layer = layer;
    return request;
  }
  Result<RevertReport> revert_to(const std::string& layer, const std::string& name) {
    return run(revert(*graph_, back_to(layer, name)));
  }
  std::string error_of(Result<RevertReport> report) {
    return report ? "no error" : report.error().text();
  }
  ForkRequest fork_of(const std::string& node, const std::string& id) {
    ForkRequest request;
    request.id = id;
    request.overlay = overlay(id + "-head", "");
    request.overlay.node_name = node;
    return request;
  }
  Result<ForkReport> fork(ForkRequest request) {
    return run(fork_device(*graph_, std::move(request)));
  }
  Node* head(const std::string& device = "vda") {
    return run(graph_->find_head(device, "")).value();
  }

  void start(Task<Result<>> task, std::optional<Result<>>& done) {
    async::start_on(graph_->default_io_loop(), std::move(task),
                    [&done](Result<> result) { done = std::move(result); });
  }
  template <typename Condition>
  bool wait_for(Condition condition) {
    for (int i = 0; i < 5000; ++i) {
      if (run_io(look(condition))) return true;
      run(pause());
    }
    return false;
  }
  template <typename Condition>
  static Task<bool> look(Condition& condition) {
    co_return condition();
  }
  static Task<void> pause() {
    (void)co_await async::Loop::current().sleep_for(std::chrono::milliseconds(1));
  }
  static Task<void> set_gate(std::string node, bool open) {
    open ? fake_hooks(node).writes.open() : fake_hooks(node).writes.close();
    co_return;
  }

  RecordingStore store_;
  Node* base_ = nullptr;
  Root root_{"block export 'e0'"};
};

TEST_F(RevertTest, MovesAllUsersToANewOverlayOfTheLayerAndSealsWhatTheyLeft) {
  const auto report = revert_to("a", "r1");
  ASSERT_TRUE(report) << report.error().text();
  EXPECT_EQ(report->device, "vda");
  EXPECT_EQ(report->head, "r1");
  EXPECT_EQ(report->left, "s1");
  EXPECT_EQ(report->layer, "a");
  EXPECT_GT(report->pause_ns, 0u);
  EXPECT_EQ(report->in_flight, 0u);

  EXPECT_EQ(head()->name(), "r1");
  EXPECT_EQ(root_.head(), head());
  EXPECT_EQ(head()->children().backing.child(), base_);
  EXPECT_FALSE(head()->read_only());
  Node* left = graph_->find_node("s1");
  EXPECT_TRUE(left->read_only());
  EXPECT_TRUE(left->parents().empty());
  EXPECT_EQ(read(root_, 0, 2), "AA");
  ASSERT_TRUE(write(root_, 1, 1, 'C'));
  ASSERT_TRUE(flush(root_));
  EXPECT_EQ(read(root_, 0, 3), "ACA");

  // And back to where it was.
  ASSERT_TRUE(revert_to("s1", "r2"));
  EXPECT_EQ(read(root_, 0, 2), "BB");
  // A branch that nobody needs goes; what the others need stays.
  ASSERT_TRUE(run(graph_->remove_node("r1")));
  EXPECT_EQ(run(graph_->remove_node("a")).error().kind(), ErrorKind::kBusy);
}

TEST_F(RevertTest, TheStoreHearsOfItBeforeAndAfter) {
  ASSERT_TRUE(revert_to("a", "r1"));
  EXPECT_EQ(store_.calls, (std::vector<std::string>{"intent", "done"}));
  const GraphChange& change = store_.changes.front();
  ASSERT_EQ(change.added.size(), 1u);
  EXPECT_EQ(change.added[0].name, "r1");
  EXPECT_EQ(change.added[0].path, path("r1"));
  EXPECT_EQ(change.added[0].backing_node, "a");
  EXPECT_FALSE(change.added[0].options.read_only);
  ASSERT_EQ(change.moved.size(), 1u);
  EXPECT_EQ(change.moved[0].from, "s1");
  EXPECT_EQ(change.moved[0].to, "r1");
  EXPECT_EQ(change.moved[0].device, "vda");
  EXPECT_EQ(change.to_seal, std::vector<std::string>{"s1"});

  store_.calls.clear();
  store_.fail_at = "intent";
  EXPECT_EQ(error_of(revert_to("s1", "r2")), "no room for the intent");
  EXPECT_EQ(store_.calls, std::vector<std::string>{"intent"});
  EXPECT_FALSE(exists("r2"));
  EXPECT_EQ(head()->name(), "r1");

  store_.calls.clear();
  store_.fail_at = "done";
  EXPECT_EQ(
      error_of(revert_to("s1", "r2")),
      "The disk was reverted and node 'r2' is in use, but that could not be recorded: no room "
      "for the rest");
  EXPECT_EQ(head()->name(), "r2");
}

TEST_F(RevertTest, WaitsForRequestsInFlightAndHoldsBackThoseThatCome) {
  run_io(set_gate("s1", false));
  std::optional<Result<>> before;
  start(write_fill(root_, 0, 512, 'H'), before);
  ASSERT_TRUE(wait_for([&] { return root_.in_flight() == 1; }));
  std::optional<Result<RevertReport>> report;
  async::start_on(runtime_->control_loop(), revert(*graph_, back_to("a", "r1")),
                  [&report](Result<RevertReport> result) { report = std::move(result); });
  ASSERT_TRUE(wait_for([&] { return !root_.gate().is_open(); }));
  std::optional<Result<>> after;
  start(write_fill(root_, 512, 512, 'N'), after);
  for (int i = 0; i < 20; ++i) run(pause());
  EXPECT_FALSE(report || before || after);
  EXPECT_EQ(root_.head()->name(), "s1");

  run_io(set_gate("s1", true));
  ASSERT_TRUE(wait_for([&] { return report && before && after; }));
  ASSERT_TRUE(*report) << report->error().text();
  EXPECT_TRUE(*before && *after);
  EXPECT_EQ((*report)->in_flight, 1u);
  EXPECT_EQ(read(root_, 511, 2), "AN");
  EXPECT_EQ(content("s1", kFakeCluster, 1), "H");  // where it was sent to
}

TEST_F(RevertTest, GivesUpOnRequestsThatDontEndAndLetsAllGoOn) {
  run_io(set_gate("s1", false));
  std::optional<Result<>> held;
  start(write_fill(root_, 0, 512, 'H'), held);
  ASSERT_TRUE(wait_for([&] { return root_.in_flight() == 1; }));
  auto request = back_to("a", "r1");
  request.patience = std::chrono::milliseconds(20);
  const auto report = run(revert(*graph_, std::move(request)));
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().text(),
            "Requests of block export 'e0' are under way for more than 20 ms");
  EXPECT_EQ(report.error().kind(), ErrorKind::kBusy);
  EXPECT_FALSE(exists("r1"));
  EXPECT_EQ(store_.calls, (std::vector<std::string>{"intent", "forget"}));
  EXPECT_EQ(head()->name(), "s1");
  EXPECT_TRUE(root_.gate().is_open());
  run_io(set_gate("s1", true));
  ASSERT_TRUE(wait_for([&] { return held.has_value(); }));
  EXPECT_EQ(read(root_, 0, 1), "H");
  ASSERT_TRUE(revert_to("a", "r1"));
}

TEST_F(RevertTest, ASealThatFailsIsToldAndTheRevertStands) {
  fake_hooks("s1").fail_read_only = true;
  EXPECT_EQ(
      error_of(revert_to("a", "r1")),
      "The disk was reverted and node 'r1' is in use, but node 's1', which it left, could not "
      "be sealed: the test says so");
  fake_hooks("s1").fail_read_only = false;
  EXPECT_EQ(store_.unsealed, std::vector<std::string>{"s1"});
  EXPECT_EQ(read(root_, 0, 1), "A");
  ASSERT_TRUE(write(root_, 0, 512, 'C'));
  ASSERT_TRUE(flush(root_));  // what was left is nothing to the disk any more
  EXPECT_TRUE(graph_->find_node("s1")->seal_failed);
  EXPECT_EQ(error_of(revert_to("s1", "r2")),
            "Node 's1' is busy: it is written to, not a sealed layer");
}

TEST_F(RevertTest, LeavesADiskWhoseSnapshotCouldNotBeSealed) {
  fake_hooks("s1").fail_read_only = true;
  EXPECT_FALSE(snapshot(overlay("s2")));
  fake_hooks("s1").fail_read_only = false;
  EXPECT_FALSE(flush(root_));
  ASSERT_TRUE(revert_to("a", "r1"));
  EXPECT_TRUE(flush(root_));
}

TEST_F(RevertTest, SizesChangeAsByAResize) {
  int told = 0;
  root_.set_on_resize([&] { ++told; });
  ASSERT_TRUE(run(graph_->resize("vda", "", static_cast<int64_t>(2 * kSize))));
  EXPECT_EQ(told, 1);
  ASSERT_TRUE(revert_to("a", "r1"));
  EXPECT_EQ(told, 2);
  EXPECT_EQ(root_.size_bytes(), kSize);
  EXPECT_EQ(write(root_, kSize, 512, 'x').error().kind(), ErrorKind::kNoSpace);
}

TEST_F(RevertTest, WhatIsNoLayerOfTheDiskIsRefused) {
  make_image("other", kSize);
  add(spec("other", "fake", path("other"), {.read_only = true}));
  EXPECT_EQ(error_of(revert_to("other", "r1")), "Node 'other' is no layer of 's1'");
  EXPECT_EQ(error_of(revert_to("s1", "r1")),
            "Node 's1' is the head: there is nothing to go back from");
  EXPECT_EQ(error_of(revert_to("nope", "r1")), "Cannot find device='' nor node-name='nope'");
  run_io([](Node& node) -> Task<void> {
    node.block("block device is in use by block job: commit");
    co_return;
  }(*base_));
  EXPECT_EQ(error_of(revert_to("a", "r1")),
            "Node 'a' is busy: block device is in use by block job: commit");
  EXPECT_EQ(fork(fork_of("a", "f1")).error().text(),
            "Node 'a' is busy: block device is in use by block job: commit");
  run_io([](Node& node) -> Task<void> {
    node.unblock("block device is in use by block job: commit");
    co_return;
  }(*base_));
  EXPECT_FALSE(exists("r1"));
  EXPECT_FALSE(exists("f1-head"));
  EXPECT_TRUE(store_.calls.empty());
}

TEST_F(RevertTest, AFormatWithoutInternalSnapshotsSaysSo) {
  RevertRequest request;
  request.disk.device = "vda";
  request.snapshot_name = "x";
  EXPECT_EQ(error_of(run(revert(*graph_, std::move(request)))),
            "Block format 'fake' used by device 'vda' does not support internal snapshots");
}

// An internal snapshot's state comes back within the image, again and again, and the image is
// whole.
TEST_F(RevertTest, TakesAnImageBackToASnapshotInsideIt) {
  ASSERT_EQ(shell("qemu-img create -q -f qcow2 " + path("inside") + " 16M").status, 0);
  Node* node = add(spec("i", "qcow2", path("inside")));
  ASSERT_TRUE(run(graph_->add_device("vdi", "i")));
  Root root("block export 'e1'");
  ASSERT_TRUE(attach(root, node, kWrite));
  ASSERT_TRUE(write(root, 0, 4096, 'A'));
  ASSERT_TRUE(run_io(take_internal_snapshot(node->driver(), {.name = "first"})));
  store_.calls.clear();
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(write(root, 0, 4096, 'B'));
    ASSERT_TRUE(write(root, 8 << 20, 4096, 'C'));
    RevertRequest request;
    request.disk.device = "vdi";
    request.snapshot_name = "first";
    const auto report = run(revert(*graph_, std::move(request)));
    ASSERT_TRUE(report) << report.error().text();
    EXPECT_EQ(report->device, "vdi");
    EXPECT_EQ(report->head, "i");
    EXPECT_TRUE(report->left.empty());
    EXPECT_EQ(report->snapshot_name, "first");
    EXPECT_EQ(report->snapshot_id, "1");
    EXPECT_GT(report->pause_ns, 0u);
    EXPECT_EQ(read(root, 0, 2), "AA");
    EXPECT_EQ(read(root, 8 << 20, 2), std::string(2, '\0'));
    EXPECT_TRUE(root.gate().is_open());
  }
  RevertRequest unknown;
  unknown.disk.device = "vdi";
  unknown.snapshot_name = "other";
  EXPECT_EQ(error_of(run(revert(*graph_, std::move(unknown)))),
            "Snapshot with id 'null' and name 'other' does not exist on device 'vdi'");
  EXPECT_TRUE(store_.calls.empty());  // the image's own matter
  detach(root);
  ASSERT_TRUE(run(graph_->remove_device("vdi")));
  ASSERT_TRUE(run(graph_->remove_node("i")));
  EXPECT_EQ(shell("qemu-img check -q " + path("inside")).status, 0);
}

// Forks -----------------------------------------------------------------------------------------

TEST_F(RevertTest, AForkStartsAsItsLayerAndGoesItsOwnWay) {
  const auto report = fork(fork_of("a", "f1"));
  ASSERT_TRUE(report) << report.error().text();
  EXPECT_EQ(report->id, "f1");
  EXPECT_EQ(report->head, "f1-head");
  EXPECT_EQ(report->layer, "a");
  EXPECT_FALSE(report->snapshot);
  EXPECT_GT(report->total_ns, 0u);
  EXPECT_EQ(store_.calls, (std::vector<std::string>{"intent", "done"}));
  ASSERT_EQ(store_.changes[0].devices.size(), 1u);
  EXPECT_EQ(store_.changes[0].devices[0].id, "f1");
  EXPECT_EQ(store_.changes[0].devices[0].node, "f1-head");

  Root own("block export 'e1'");
  ASSERT_TRUE(attach(own, head("f1"), kWrite));
  EXPECT_EQ(read(own, 0, 2), "AA");
  ASSERT_TRUE(write(own, 0, 1, 'F'));
  EXPECT_EQ(read(own, 0, 2), "FA");
  EXPECT_EQ(read(root_, 0, 2), "BB");
  // Each has snapshots and reverts of its own.
  ASSERT_TRUE(snapshot(overlay("f2", "f1")));
  ASSERT_TRUE(revert_to("a", "r1"));
  EXPECT_EQ(read(own, 0, 2), "FA");
  EXPECT_EQ(read(root_, 0, 2), "AA");
  detach(own);
  ASSERT_TRUE(run(graph_->remove_device("f1")));
  ASSERT_TRUE(run(graph_->remove_node("f2")));
  ASSERT_TRUE(run(graph_->remove_node("f1-head")));
  EXPECT_EQ(read(root_, 0, 2), "AA");
}

TEST_F(RevertTest, AForkOfALiveHeadTakesASnapshotFirst) {
  auto request = fork_of("", "f1");
  request.overlay.device = "vda";
  request.overlay.node_name.clear();
  EXPECT_EQ(fork(request).error().text(),
            "Node 's1' is written to: a fork stands on a snapshot of it");
  request.snapshot_path = path("s2");
  request.snapshot_node_name = "s2";
  const auto report = fork(std::move(request));
  ASSERT_TRUE(report) << report.error().text();
  ASSERT_TRUE(report->snapshot);
  EXPECT_EQ(report->snapshot->old_node, "s1");
  EXPECT_EQ(report->layer, "s1");
  EXPECT_EQ(report->device, "vda");
  EXPECT_EQ(head()->name(), "s2");
  EXPECT_EQ(head()->children().backing.child(), head("f1")->children().backing.child());
  EXPECT_EQ(store_.calls, (std::vector<std::string>{"intent", "done", "intent", "done"}));
}

TEST_F(RevertTest, AForkThatFailsLeavesNothing) {
  auto request = fork_of("a", "f1");
  request.snapshot_path = path("s2");
  EXPECT_EQ(fork(std::move(request)).error().text(),
            "Node 'a' is a sealed layer: it needs no snapshot");
  EXPECT_EQ(fork(fork_of("a", "vda")).error().text(), "Device with id 'vda' already exists");
  EXPECT_EQ(fork(fork_of("a", "s1")).error().text(),
            "Device name 's1' conflicts with an existing node name");

  store_.fail_at = "intent";
  EXPECT_EQ(fork(fork_of("a", "f1")).error().text(), "no room for the intent");
  EXPECT_FALSE(exists("f1-head"));
  EXPECT_EQ(graph_->find_device("f1"), nullptr);
  store_.fail_at.clear();

  // The seal of the snapshot below it fails: that stands, and there is no fork.
  auto live = fork_of("", "f1");
  live.overlay.device = "vda";
  live.overlay.node_name.clear();
  live.snapshot_path = path("s2");
  live.snapshot_node_name = "s2";
  fake_hooks("s1").fail_read_only = true;
  const auto report = fork(std::move(live));
  fake_hooks("s1").fail_read_only = false;
  ASSERT_FALSE(report);
  EXPECT_NE(report.error().text().find("The snapshot was taken and node 's2' is in use"),
            std::string::npos)
      << report.error().text();
  EXPECT_FALSE(exists("f1-head"));
  EXPECT_EQ(graph_->find_device("f1"), nullptr);
  EXPECT_EQ(head()->name(), "s2");
}

}  // namespace
}  // namespace firn::block
