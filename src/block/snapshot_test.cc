#include "block/snapshot.h"

#include <cstdio>
#include <filesystem>
#include <optional>
#include <vector>

#include "async/scope.h"
#include "block/lab.h"

namespace firn::block {
namespace {

using base::ErrorKind;

constexpr uint64_t kSize = 8 * kFakeCluster;

class SnapshotTest : public Lab {
 protected:
  void SetUp() override {
    make_image("base", kSize);
    base_ = add(spec("a", "fake", path("base")));
    ASSERT_TRUE(run(graph_->add_device("vda", "a")));
    ASSERT_TRUE(attach(root_, base_, kWrite));
  }
  void TearDown() override { detach(root_); }

  SnapshotRequest request(const std::string& file, const std::string& node_name = "s1") {
    SnapshotRequest request;
    request.device = "vda";
    request.overlay_path = path(file);
    request.overlay_node_name = node_name;
    request.format = "fake";
    return request;
  }
  std::string error_of(SnapshotRequest request) {
    auto report = snapshot(std::move(request));
    return report ? "no error" : report.error().text();
  }
  Node* head() { return run(graph_->find_head("vda", "")).value(); }

  Node* base_ = nullptr;
  Root root_{"block export 'e0'"};
};

TEST_F(SnapshotTest, FreezesTheHeadAndMovesItsUsers) {
  ASSERT_TRUE(write(root_, 0, 4096, 'A'));
  const auto report = snapshot(request("s1"));
  ASSERT_TRUE(report) << report.error().text();
  EXPECT_EQ(report->device, "vda");
  EXPECT_EQ(report->old_node, "a");
  EXPECT_EQ(report->overlay_node, "s1");
  EXPECT_EQ(report->overlay_path, path("s1"));
  EXPECT_GT(report->prepare_ns, 0u);
  EXPECT_EQ(report->in_flight, 0u);

  Node* overlay = graph_->find_node("s1");
  EXPECT_EQ(head(), overlay);
  EXPECT_EQ(root_.head(), overlay);
  EXPECT_EQ(overlay->children().backing.child(), base_);
  EXPECT_TRUE(base_->read_only());
  EXPECT_FALSE(overlay->read_only());
  EXPECT_EQ(overlay->unsealed_below, nullptr);
  EXPECT_EQ(overlay->driver().size_bytes(), kSize);

  ASSERT_TRUE(write(root_, 100, 100, 'B'));
  EXPECT_EQ(read(root_, 99, 3), "ABB");
  EXPECT_EQ(read(root_, 199, 2), "BA");
  ASSERT_TRUE(flush(root_));
  EXPECT_EQ(content("base", kFakeCluster, 4096), std::string(4096, 'A'));
}

TEST_F(SnapshotTest, WhatWasFrozenOpensAgainFromTheHeaderAlone) {
  ASSERT_TRUE(write(root_, 0, 4096, 'A'));
  ASSERT_TRUE(snapshot(request("s1")));
  ASSERT_TRUE(write(root_, 0, 512, 'B'));
  detach(root_);
  ASSERT_TRUE(run(graph_->remove_device("vda")));
  ASSERT_TRUE(run(graph_->remove_node("s1")));
  ASSERT_TRUE(run(graph_->remove_node("a")));
  Node* again = add(spec("again", "fake", path("s1")));
  ASSERT_TRUE(attach(root_, again, kWrite));
  EXPECT_EQ(read(root_, 511, 2), "BA");
}

TEST_F(SnapshotTest, ARelativePathIsStoredAsAnAbsoluteOne) {
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(folder_);
  auto wanted = request("s1");
  wanted.overlay_path = "s1";
  const auto report = snapshot(std::move(wanted));
  std::filesystem::current_path(before);
  ASSERT_TRUE(report) << report.error().text();
  EXPECT_EQ(report->overlay_path, path("s1"));
  EXPECT_EQ(run_io(head()->driver().facts())->backing_filename, path("base"));
}

TEST_F(SnapshotTest, ARelativePathIsTheWayFromTheOverlaysFolder) {
  std::filesystem::create_directories(path("there/deep"));
  const auto stored = [&](const std::string& file, const std::string& node) {
    auto wanted = request(file, node);
    wanted.mode = SnapshotMode::kRelativePaths;
    const auto report = snapshot(std::move(wanted));
    EXPECT_TRUE(report) << report.error().text();
    return run_io(head()->driver().facts())->backing_filename;
  };
  EXPECT_EQ(stored("there/deep/s1", "s1"), "../../base");
  EXPECT_EQ(stored("there/a:b", "s2"), "deep/s1");
  EXPECT_EQ(stored("there/s3", "s3"), "./a:b");
}

TEST_F(SnapshotTest, ExclusiveRefusesWhateverIsThere) {
  make_file("s1", 100, 'x');
  auto wanted = request("s1");
  wanted.mode = SnapshotMode::kExclusive;
  const auto refused = snapshot(wanted);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().text(), "Could not create '" + path("s1") + "': File exists");
  EXPECT_EQ(refused.error().kind(), ErrorKind::kOpenFileFailed);
  EXPECT_EQ(content("s1", 0, 100), std::string(100, 'x'));
  wanted.overlay_path = path("s2");
  EXPECT_TRUE(snapshot(wanted));
}

TEST_F(SnapshotTest, AChainOfManyReadsAsOneDisk) {
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(write(root_, static_cast<uint64_t>(i) * 4096, 4096, static_cast<char>('a' + i)));
    ASSERT_TRUE(snapshot(request("s" + std::to_string(i), "s" + std::to_string(i))));
  }
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(read(root_, static_cast<uint64_t>(i) * 4096, 2),
              std::string(2, static_cast<char>('a' + i)));
  }
  EXPECT_EQ(graph_->nodes().size(), 42u);
}

TEST_F(SnapshotTest, ANodeWithoutUsersJustGetsAHead) {
  detach(root_);
  ASSERT_TRUE(run(graph_->remove_device("vda")));
  auto wanted = request("s1");
  wanted.device.clear();
  wanted.node_name = "a";
  ASSERT_TRUE(snapshot(std::move(wanted)));
  EXPECT_TRUE(base_->read_only());
  ASSERT_TRUE(attach(root_, graph_->find_node("s1"), kWrite));
  ASSERT_TRUE(write(root_, 0, 512, 'B'));
}

TEST_F(SnapshotTest, AReadOnlyHeadGetsAReadOnlyOverlay) {
  make_image("ro", kSize);
  Node* node = add(spec("ro", "fake", path("ro"), {.read_only = true}));
  Root reader("block export 'e1'");
  ASSERT_TRUE(attach(reader, node, kRead));
  auto wanted = request("s1");
  wanted.device.clear();
  wanted.node_name = "ro";
  ASSERT_TRUE(snapshot(std::move(wanted)));
  EXPECT_TRUE(graph_->find_node("s1")->read_only());
  EXPECT_EQ(reader.head(), graph_->find_node("s1"));
  EXPECT_EQ(read(reader, 0, 1), std::string(1, '\0'));
  ASSERT_TRUE(flush(reader));
  detach(reader);
}

TEST_F(SnapshotTest, ErrorsComeInOrderWithTheirTexts) {
  auto nobody = request("s1");
  nobody.device = "X";
  nobody.node_name = "Y";
  auto missing = snapshot(nobody);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().text(), "Cannot find device='X' nor node-name='Y'");
  EXPECT_EQ(missing.error().kind(), ErrorKind::kDeviceNotFound);

  auto unnamed = request("s1", "");
  unnamed.device.clear();
  unnamed.node_name = "a";
  EXPECT_EQ(error_of(unnamed), "New overlay node-name missing");
  unnamed.device = "vda";
  EXPECT_EQ(error_of(unnamed), "New overlay node-name missing");
  EXPECT_EQ(error_of(request("s1", "a")), "New overlay node-name already in use");

  auto bogus = request("s1");
  bogus.format = "bogus";
  auto format = snapshot(bogus);
  ASSERT_FALSE(format);
  EXPECT_EQ(format.error().text(), "Unknown file format 'bogus'");
  EXPECT_EQ(format.error().kind(), ErrorKind::kInvalidBlockFormat);
  EXPECT_EQ(format.error().data().at(0), (std::pair<std::string, std::string>("name", "bogus")));
  bogus.format = "raw";
  EXPECT_EQ(error_of(bogus), "Backing file not supported for file format 'raw'");
  bogus.format = "file";
  EXPECT_EQ(error_of(bogus), "Backing file not supported for file format 'file'");

  auto protocol = request("s1");
  protocol.overlay_path = "nope:disk";
  EXPECT_EQ(error_of(protocol), "Unknown protocol 'nope'");

  auto nowhere = snapshot(request("nodir/s1"));
  ASSERT_FALSE(nowhere);
  EXPECT_EQ(nowhere.error().text(),
            "Could not create '" + path("nodir/s1") + "': No such file or directory");
  EXPECT_EQ(nowhere.error().kind(), ErrorKind::kOpenFileFailed);
  EXPECT_EQ(nowhere.error().data().at(0),
            (std::pair<std::string, std::string>("filename", path("nodir/s1"))));

  EXPECT_EQ(error_of(request("base")),
            "Error: Trying to create an image with the same filename as the backing file");
  EXPECT_EQ(error_of(request("s1", "bad name")), "Invalid node-name: 'bad name'");

  EXPECT_FALSE(exists("s1"));
  EXPECT_EQ(head(), base_);
  EXPECT_EQ(graph_->nodes().size(), 2u);
  ASSERT_TRUE(write(root_, 0, 512, 'A'));
}

Task<void> resize_device(Graph& graph, int64_t size_bytes, Result<>& result) {
  result = co_await graph.resize("vda", "", size_bytes);
}
Task<void> take_into(Graph& graph, SnapshotRequest request, Result<>& result) {
  const auto report = co_await take_snapshot(graph, std::move(request));
  if (!report) result = base::fail(report.error());
}
Task<void> snapshot_then_resize(Graph& graph, SnapshotRequest request, Result<>& taken,
                                Result<>& resized) {
  async::TaskScope scope;
  scope.spawn(take_into(graph, std::move(request), taken));
  scope.spawn(resize_device(graph, 2 * static_cast<int64_t>(kSize), resized));
  co_await scope.join();
}

TEST_F(SnapshotTest, AResizeThatWaitsForASnapshotMeansTheNewHead) {
  Result<> taken;
  Result<> resized;
  run(snapshot_then_resize(*graph_, request("s1"), taken, resized));
  ASSERT_TRUE(taken) << taken.error().text();
  ASSERT_TRUE(resized) << resized.error().text();
  EXPECT_EQ(root_.size_bytes(), 2 * kSize);
  EXPECT_EQ(base_->driver().size_bytes(), kSize);
}

TEST_F(SnapshotTest, ABackingNodeIsBusy) {
  ASSERT_TRUE(snapshot(request("s1")));
  auto again = request("s2", "s2");
  again.device.clear();
  again.node_name = "a";
  EXPECT_EQ(error_of(again), "Node 'a' is busy: node is used as backing hd of 's1'");
  EXPECT_FALSE(exists("s2"));
}

// Requests of the node above are not counted on the one below, so that a seal could not wait for
// them.
TEST_F(SnapshotTest, ANodeBelowAnotherFormatIsBusy) {
  NodeSpec above;
  above.driver = "raw";
  above.node_name = "r";
  above.file.emplace(std::string("a"));
  add(std::move(above));
  auto inner = request("s1");
  inner.device.clear();
  inner.node_name = "a";
  EXPECT_EQ(error_of(inner), "Node 'a' is busy: node is used as file of 'r'");
  EXPECT_FALSE(exists("s1"));
  EXPECT_FALSE(base_->read_only());
}

TEST_F(SnapshotTest, AFailureWhileLayingOutLeavesNothing) {
  auto full = request("s1");
  full.overlay_options = {{kFakeFailCreate, "on"}};
  const auto failed = snapshot(full);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().text(), "Could not write fake header: No space left on device");
  EXPECT_EQ(failed.error().kind(), ErrorKind::kOpenFileFailed);
  EXPECT_FALSE(exists("s1"));
  EXPECT_EQ(head(), base_);
  ASSERT_TRUE(snapshot(request("s1")));
}

TEST_F(SnapshotTest, AHeadThatCantFlushIsNotFrozen) {
  fake_hooks("a").fail_flush = true;
  EXPECT_EQ(error_of(request("s1")), "An IO error has occurred");
  fake_hooks("a").fail_flush = false;
  EXPECT_FALSE(exists("s1"));
}

TEST_F(SnapshotTest, AnExistingFileIsUsedAnewUnlessAnyoneUsesIt) {
  make_file("old", 300000, 'z');
  ASSERT_TRUE(snapshot(request("old")));
  EXPECT_EQ(read(root_, 0, 1), std::string(1, '\0'));
  // An image of another chain here stays what it is.
  make_image("other", kSize);
  add(spec("b", "fake", path("other")));
  const std::string before = content("other", 0, 4096);
  const auto taken = snapshot(request("other", "s2"));
  ASSERT_FALSE(taken);
  EXPECT_NE(taken.error().text().find("has this file open"), std::string::npos);
  // By another name too.
  std::filesystem::create_symlink(path("other"), path("link"));
  std::filesystem::create_hard_link(path("other"), path("hard"));
  EXPECT_NE(error_of(request("link", "s2")).find("has this file open"), std::string::npos);
  EXPECT_NE(error_of(request("hard", "s2")).find("has this file open"), std::string::npos);
  EXPECT_EQ(content("other", 0, 4096), before);
  EXPECT_TRUE(exists("other"));
}

TEST_F(SnapshotTest, ExclusiveRefusesAnyExistingFile) {
  make_file("old", 1000, 'z');
  auto wanted = request("old");
  wanted.mode = SnapshotMode::kExclusive;
  EXPECT_EQ(error_of(wanted), "Could not create '" + path("old") + "': File exists");
  EXPECT_EQ(content("old", 0, 1000), std::string(1000, 'z'));
}

TEST_F(SnapshotTest, AFileThatWasTakenOverIsNotRemovedAndItsLossIsTold) {
  make_file("old", 1000, 'z');
  auto wanted = request("old");
  wanted.overlay_options = {{kFakeFailCreate, "on"}};
  const auto failed = snapshot(wanted);
  ASSERT_FALSE(failed);
  EXPECT_TRUE(exists("old"));
  EXPECT_NE(failed.error().hint().find("its old content is gone"), std::string::npos);
}

TEST_F(SnapshotTest, ExistingImagesAreCheckedBeforeTheyAreUsed) {
  auto wanted = request("s1");
  wanted.mode = SnapshotMode::kExisting;
  EXPECT_EQ(error_of(wanted), "Could not open '" + path("s1") + "': No such file or directory");
  make_file("s1", 4096, 'x');
  EXPECT_EQ(error_of(wanted), "Image is not in fake format");
  EXPECT_EQ(content("s1", 0, 4096), std::string(4096, 'x'));
  make_image("s1", kSize / 2, path("base"));
  EXPECT_NE(error_of(wanted).find("an overlay must be as large as"), std::string::npos);
  make_image("s1", kSize);
  EXPECT_NE(error_of(wanted).find("names nothing as its backing image"), std::string::npos);
  make_image("s1", kSize, path("base"));
  EXPECT_EQ(error_of(wanted), "no error");
  EXPECT_TRUE(exists("s1"));
}

TEST_F(SnapshotTest, AMovedBackingImageIsNoticed) {
  std::filesystem::rename(path("base"), path("moved"));
  make_file("base", 4096, 'x');
  EXPECT_NE(error_of(request("s1")).find("is not the file that node 'a' has open"),
            std::string::npos);
  EXPECT_FALSE(exists("s1"));
}

// A state store that fails where it is told to, and remembers the order of calls.
class FailingStore final : public StateStore {
 public:
  std::string fail_at;
  std::vector<std::string> calls;
  Task<Result<uint64_t>> record_intent(GraphChange) override {
    CO_TRY(co_await call("intent"));
    co_return uint64_t{1};
  }
  Task<Result<>> record_done(uint64_t, std::vector<std::string>) override { return call("done"); }
  Task<Result<>> record_sealed(std::string) override { return call("sealed"); }
  Task<Result<>> forget_intent(uint64_t) override { return call("forget"); }

 private:
  Task<Result<>> call(std::string name) {
    calls.push_back(name);
    if (name == fail_at) co_return base::fail(ErrorKind::kIo, "the store is full");
    co_return Result<>();
  }
};

TEST_F(SnapshotTest, TheStoreHearsOfItBeforeAndAfter) {
  FailingStore store;
  detach(root_);
  ASSERT_TRUE(run(graph_->close()));
  graph_.reset();
  Registry registry;
  register_all(registry);
  graph_ = std::move(*Graph::create(*runtime_, std::move(registry), store));
  base_ = add(spec("a", "fake", path("base")));
  ASSERT_TRUE(run(graph_->add_device("vda", "a")));
  ASSERT_TRUE(attach(root_, base_, kWrite));

  store.fail_at = "intent";
  EXPECT_EQ(error_of(request("s1")), "the store is full");
  EXPECT_FALSE(exists("s1"));
  EXPECT_EQ(graph_->find_node("s1"), nullptr);
  EXPECT_EQ(head(), base_);
  EXPECT_EQ(store.calls, (std::vector<std::string>{"intent"}));

  store.calls.clear();
  store.fail_at = "done";
  EXPECT_NE(error_of(request("s1")).find("The snapshot was taken and node 's1' is in use"),
            std::string::npos);
  EXPECT_EQ(store.calls, (std::vector<std::string>{"intent", "done"}));
  EXPECT_EQ(head(), graph_->find_node("s1"));
  detach(root_);
  ASSERT_TRUE(run(graph_->close()));  // the store ends with this test
}

// Requests across the pivot ---------------------------------------------------------------------

Task<Result<>> write_fill(Root& root, uint64_t offset, uint64_t length, char fill) {
  std::string bytes(length, fill);
  const IoVec iov(bytes.data(), bytes.size());
  co_return co_await root.write(offset, iov, flag::kNone);
}

// Starts tasks on the I/O loop that are still at work while the test looks on.
class PivotTest : public SnapshotTest {
 protected:
  struct Started {
    bool done = false;
    Result<> result;
  };
  void start(Task<Result<>> task, Started& started) {
    async::start_on(graph_->default_io_loop(), std::move(task), [&started](Result<> result) {
      started.result = std::move(result);
      started.done = true;
    });
  }
  void start_snapshot(SnapshotRequest request, std::optional<Result<SnapshotReport>>& report) {
    async::start_on(runtime_->control_loop(), take_snapshot(*graph_, std::move(request)),
                    [&report](Result<SnapshotReport> result) { report = std::move(result); });
  }
  // Runs both loops until `condition`, which is looked at on the I/O loop.
  template <typename Condition>
  bool wait_for(Condition condition) {
    const auto look = [](Condition& condition) -> Task<bool> { co_return condition(); };
    for (int i = 0; i < 5000; ++i) {
      if (run_io(look(condition))) return true;
      run(pause());
    }
    return false;
  }
  static Task<void> pause() {
    (void)co_await async::Loop::current().sleep_for(std::chrono::milliseconds(1));
  }
  void hold(const std::string& node) { run_io(set_gate(node, false)); }
  void let_go(const std::string& node) { run_io(set_gate(node, true)); }
  static Task<void> set_flush_gate(std::string node, bool open) {
    open ? fake_hooks(node).flush_gate.open() : fake_hooks(node).flush_gate.close();
    co_return;
  }
  static Task<void> set_gate(std::string node, bool open) {
    open ? fake_hooks(node).writes.open() : fake_hooks(node).writes.close();
    co_return;
  }
};

TEST_F(PivotTest, NobodyWaitsForARequestInFlightButTheSealAndACopyThatOverlapsIt) {
  ASSERT_TRUE(write(root_, 0, kFakeCluster, 'o'));
  hold("a");
  Started held;
  start(write_fill(root_, 0, 512, 'H'), held);
  ASSERT_TRUE(wait_for([&] { return fake_hooks("a").writes_begun == 2; }));

  std::optional<Result<SnapshotReport>> report;
  start_snapshot(request("s1"), report);
  ASSERT_TRUE(wait_for([&] { return root_.head() != base_; }));
  EXPECT_FALSE(report.has_value());
  EXPECT_EQ(root_.head()->unsealed_below, base_);

  // Another place: goes straight to the overlay. So does a flush.
  ASSERT_TRUE(write(root_, 2 * kFakeCluster, 512, 'N'));
  const int flushes = fake_hooks("a").flushes;
  ASSERT_TRUE(flush(root_));
  EXPECT_EQ(fake_hooks("a").flushes, flushes + 1);  // the old head's too
  EXPECT_FALSE(held.done);

  // The same cluster: its copy must hold what the request in flight will have written.
  Started copying;
  start(write_fill(root_, 1024, 512, 'C'), copying);
  ASSERT_TRUE(wait_for([&] { return fake_hooks("s1").copies == 2; }));
  for (int i = 0; i < 20; ++i) run(pause());
  EXPECT_FALSE(copying.done);

  let_go("a");
  ASSERT_TRUE(wait_for([&] { return held.done && copying.done; }));
  EXPECT_TRUE(held.result && copying.result);
  ASSERT_TRUE(wait_for([&] { return report.has_value(); }));
  ASSERT_TRUE(report->has_value()) << report->error().text();
  EXPECT_EQ((*report)->in_flight, 1u);
  EXPECT_EQ(read(root_, 511, 2), "Ho");
  EXPECT_EQ(read(root_, 1023, 2), "oC");
  EXPECT_TRUE(base_->read_only());
  EXPECT_EQ(root_.head()->unsealed_below, nullptr);
}

TEST_F(PivotTest, AMissedDeadlineChangesNothing) {
  run_io(set_flush_gate("a", false));
  auto wanted = request("s1");
  wanted.deadline = std::chrono::milliseconds(20);
  const auto late = snapshot(wanted);
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().kind(), ErrorKind::kTimedOut);
  EXPECT_EQ(late.error().text(), "The snapshot was not ready within 20 ms");
  ASSERT_TRUE(write(root_, 0, 512, 'W'));
  EXPECT_EQ(head(), base_);
  EXPECT_EQ(graph_->leftovers().running(), 1u);
  // The next one of this disk waits for what is left of it, within its own time.
  EXPECT_FALSE(snapshot(wanted));
  run_io(set_flush_gate("a", true));
  run(graph_->leftovers().join());
  EXPECT_FALSE(exists("s1"));
  EXPECT_EQ(graph_->nodes().size(), 2u);
  EXPECT_FALSE(base_->read_only());

  wanted.deadline = std::chrono::minutes(1);
  const auto taken = snapshot(wanted);
  ASSERT_TRUE(taken) << taken.error().text();
  EXPECT_EQ(read(root_, 0, 2), "WW");
}

TEST_F(PivotTest, ASealThatFailsLeavesTheSnapshotStandingAndFlushesFailing) {
  fake_hooks("a").fail_read_only = true;
  const auto report = snapshot(request("s1"));
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().text(),
            "The snapshot was taken and node 's1' is in use, but node 'a' below it could not be "
            "sealed: the test says so");
  EXPECT_EQ(report.error().kind(), ErrorKind::kIo);
  EXPECT_EQ(head(), graph_->find_node("s1"));
  EXPECT_TRUE(base_->seal_failed);
  EXPECT_FALSE(base_->read_only());
  ASSERT_TRUE(write(root_, 0, 512, 'N'));
  const auto flushed = flush(root_);
  ASSERT_FALSE(flushed);
  EXPECT_EQ(flushed.error().kind(), ErrorKind::kIo);
  EXPECT_NE(error_of(request("s2", "s2")).find("is unsealed"), std::string::npos);
  EXPECT_FALSE(exists("s2"));
  // Nobody writes to the old head any more.
  Root other("block export 'e1'");
  EXPECT_FALSE(attach(other, base_, kWrite));
  fake_hooks("a").fail_read_only = false;
}

TEST_F(PivotTest, AFlushThatFailedDuringTheSealFailsIt) {
  hold("a");
  Started held;
  start(write_fill(root_, 0, 512, 'H'), held);
  ASSERT_TRUE(wait_for([&] { return fake_hooks("a").writes_begun == 1; }));
  std::optional<Result<SnapshotReport>> report;
  start_snapshot(request("s1"), report);
  ASSERT_TRUE(wait_for([&] { return root_.head() != base_; }));
  // The kernel reports a lost write-back once, to whoever flushes first.
  fake_hooks("a").fail_flush = true;
  EXPECT_FALSE(flush(root_));
  fake_hooks("a").fail_flush = false;
  let_go("a");
  ASSERT_TRUE(wait_for([&] { return report.has_value(); }));
  ASSERT_FALSE(report->has_value());
  EXPECT_TRUE(base_->seal_failed);
}

// With qcow2, before QEMU's own tools -------------------------------------------------------------

class Qcow2SnapshotTest : public Lab {
 protected:
  void SetUp() override {
    if (shell("qemu-img --version").status != 0) GTEST_SKIP() << "qemu-img is not installed";
    ASSERT_EQ(shell("qemu-img create -q -f qcow2 " + path("base") + " 16M").status, 0);
    NodeOptions options;
    options.unmap = true;
    base_ = add(spec("a", "qcow2", path("base"), options));
    ASSERT_TRUE(run(graph_->add_device("vda", "a")));
    ASSERT_TRUE(attach(root_, base_, kWrite));
  }
  void TearDown() override { detach(root_); }

  SnapshotRequest request(const std::string& name) {
    SnapshotRequest request;
    request.device = "vda";
    request.overlay_path = path(name);
    request.overlay_node_name = name;
    return request;
  }
  std::string peer(const std::string& flags, const std::string& command, const std::string& image) {
    return shell("qemu-io " + flags + " -f qcow2 -c '" + command + "' " + path(image)).text;
  }
  void close_all() {
    detach(root_);
    ASSERT_TRUE(run(graph_->remove_device("vda")));
    while (!graph_->nodes().empty()) {
      const auto nodes = graph_->nodes();
      for (auto node = nodes.rbegin(); node != nodes.rend(); ++node) {
        if (run(graph_->remove_node((*node)->name()))) break;
      }
    }
  }

  Node* base_ = nullptr;
  Root root_{"block export 'e0'"};
};

// Writes a pattern all over the disk, again and again, until it is told to end.
Task<void> write_on(Root& root, const bool& end, uint64_t& written) {
  uint64_t i = 0;
  while (!end) {
    std::string bytes(4096, static_cast<char>('a' + i % 26));
    const IoVec iov(bytes.data(), bytes.size());
    const uint64_t offset = (i * 7919 % 2048) * 4096 + (8 << 20);
    const auto result = co_await root.write(offset, iov, flag::kNone);
    EXPECT_TRUE(result.has_value()) << result.error().text();
    if (i % 64 == 0) EXPECT_TRUE((co_await root.flush()).has_value());
    ++written;
    ++i;
    co_await async::Loop::current().yield();
  }
}
Task<void> set_flag(bool& flag) {
  flag = true;
  co_return;
}

TEST_F(Qcow2SnapshotTest, AChainTakenUnderLoadPassesItsChecksAndKeepsEachMoment) {
  bool end = false;
  bool ended = false;
  uint64_t written = 0;
  async::start_on(graph_->default_io_loop(), write_on(root_, end, written),
                  [&ended] { ended = true; });
  for (int i = 1; i <= 4; ++i) {
    ASSERT_TRUE(write(root_, 0, 3000, static_cast<char>('0' + i)));
    const auto report = snapshot(request("s" + std::to_string(i)));
    ASSERT_TRUE(report) << report.error().text();
  }
  run_io(set_flag(end));
  const auto has_ended = [](const bool& ended) -> Task<bool> { co_return ended; };
  while (!run_io(has_ended(ended))) {
  }
  EXPECT_GT(written, 0u);
  ASSERT_TRUE(write(root_, 0, 3000, '5'));
  close_all();
  const std::vector<std::string> layers = {"base", "s1", "s2", "s3", "s4"};
  for (size_t i = 0; i < layers.size(); ++i) {
    const Output check = shell("qemu-img check " + path(layers[i]));
    EXPECT_EQ(check.status, 0) << check.text;
    EXPECT_NE(check.text.find("No errors were found"), std::string::npos) << check.text;
    const std::string read =
        peer("-r", "read -P " + std::to_string('1' + static_cast<int>(i)) + " 0 3000", layers[i]);
    EXPECT_EQ(read.find("failed"), std::string::npos) << read;
    EXPECT_NE(read.find("read 3000/3000"), std::string::npos) << read;
  }
  const std::string info = shell("qemu-img info " + path("s1")).text;
  EXPECT_NE(info.find("extended l2: true"), std::string::npos) << info;
  EXPECT_NE(info.find("backing file: " + path("base")), std::string::npos) << info;
  EXPECT_NE(info.find("backing file format: qcow2"), std::string::npos) << info;
}

TEST_F(Qcow2SnapshotTest, TheFrozenImageIsOpenToReadersOnlyAndTheOverlayToNobody) {
  ASSERT_TRUE(write(root_, 0, 512, 'A'));
  EXPECT_NE(peer("-r", "read 0 512", "base").find("Failed to get shared \"write\" lock"),
            std::string::npos);
  ASSERT_TRUE(snapshot(request("s1")));
  EXPECT_NE(peer("-r", "read -P 65 0 512", "base").find("read 512/512"), std::string::npos);
  EXPECT_NE(peer("", "write 0 512", "base").find("Failed to get \"write\" lock"),
            std::string::npos);
  EXPECT_NE(peer("-r", "read 0 512", "s1").find("Failed to get shared \"write\" lock"),
            std::string::npos);
}

TEST_F(Qcow2SnapshotTest, PlainOverlaysIfAskedFor) {
  auto plain = request("s1");
  plain.overlay_options = {{"extended_l2", "off"}};
  ASSERT_TRUE(snapshot(plain));
  graph_->overlay_defaults.clear();
  ASSERT_TRUE(snapshot(request("s2")));
  for (const char* name : {"s1", "s2"}) {
    const std::string info = shell("qemu-img info -U " + path(name)).text;
    EXPECT_NE(info.find("extended l2: false"), std::string::npos) << info;
  }
  auto unknown = request("s3");
  unknown.overlay_options = {{"bogus", "on"}};
  EXPECT_FALSE(snapshot(unknown));
  EXPECT_FALSE(exists("s3"));
  // What can't be laid out costs no file its content.
  make_file("s4", 100, 'x');
  unknown = request("s4");
  unknown.overlay_options = {{"cluster_size", "12345"}};
  EXPECT_EQ(snapshot(unknown).error().text(),
            "Cluster size must be a power of two between 512 and 2048k");
  EXPECT_EQ(content("s4", 0, 100), std::string(100, 'x'));
}

TEST_F(Qcow2SnapshotTest, AnImageMadeByQemuImgServesAsOverlay) {
  ASSERT_EQ(
      shell("cd " + folder_ + " && qemu-img create -q -f qcow2 -b base -F qcow2 -u s1 16M").status,
      0);
  auto wanted = request("s1");
  wanted.mode = SnapshotMode::kExisting;
  const auto report = snapshot(wanted);
  ASSERT_TRUE(report) << report.error().text();
  make_file("raw", 16 << 20);
  wanted = request("raw");
  wanted.mode = SnapshotMode::kExisting;
  EXPECT_EQ(snapshot(wanted).error().text(), "Image is not in qcow2 format");
}

TEST_F(Qcow2SnapshotTest, AnImageThatAnotherProgramHoldsIsNotTouched) {
  ASSERT_EQ(shell("qemu-img create -q -f qcow2 " + path("other") + " 16M").status, 0);
  FILE* holder = ::popen(
      ("exec qemu-io -f qcow2 " + path("other") + " >" + path("out") + " 2>&1").c_str(), "w");
  ASSERT_NE(holder, nullptr);
  std::fputs("read 0 512\n", holder);
  std::fflush(holder);
  for (int i = 0; i < 1000 && content("out", 0, 1000).find("read 512/512") == std::string::npos;
       ++i) {
    shell("sleep 0.01");
  }
  const auto taken = snapshot(request("other"));
  std::fputs("quit\n", holder);
  ::pclose(holder);
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().text(),
            "Could not lock '" + path("other") + "': Failed to get \"write\" lock");
  EXPECT_EQ(taken.error().kind(), ErrorKind::kOpenFileFailed);
  EXPECT_EQ(shell("qemu-img check " + path("other")).status, 0);
}

}  // namespace
}  // namespace firn::block
