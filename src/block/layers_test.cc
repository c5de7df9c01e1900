#include "block/layers.h"

#include "async/scope.h"
#include "block/lab.h"

namespace firn::block {
namespace {

using base::ErrorKind;

constexpr uint64_t kSize = 8 * kFakeCluster;

// base <- s1 <- s2 <- s3, all by snapshots of device vda; cluster i is written in layer i.
class LayersTest : public Lab {
 protected:
  void SetUp() override {
    make_image("base", kSize);
    add(spec("base", "fake", path("base")));
    ASSERT_TRUE(run(graph_->add_device("vda", "base")));
    ASSERT_TRUE(attach(root_, node("base"), kWrite));
    put(0);
    for (int i = 1; i <= 3; ++i) {
      const std::string name = "s" + std::to_string(i);
      SnapshotRequest request;
      request.device = "vda";
      request.overlay_path = path(name);
      request.overlay_node_name = name;
      request.format = "fake";
      ASSERT_TRUE(snapshot(request));
      put(i);
    }
  }
  void TearDown() override {
    if (root_.head() != nullptr) detach(root_);
  }

  void put(int i) {
    ASSERT_TRUE(write(root_, static_cast<uint64_t>(i) * kFakeCluster, kFakeCluster,
                      static_cast<char>('0' + i)));
  }
  std::string clusters() {
    std::string bytes;
    for (uint64_t i = 0; i < 4; ++i) bytes += read(root_, i * kFakeCluster + 77, 1);
    return bytes;
  }
  Node* node(const std::string& name) { return graph_->find_node(name); }
  std::string stored_backing(const std::string& name) {
    return run_io(node(name)->driver().facts())->backing_filename;
  }

  // Copies cluster `i` by force, as a commit would.
  Task<Result<>> copy_into_base(Node& from, Node& base, uint64_t i) {
    std::vector<std::byte> bytes(kFakeCluster);
    const IoVec iov{base::ByteSpan(bytes)};
    CO_TRY(co_await from.driver().read(i * kFakeCluster, iov, flag::kNone));
    CO_TRY(co_await base.driver().write(i * kFakeCluster, iov, flag::kNone));
    co_return co_await base.driver().flush();
  }
  void copy(const std::string& from, const std::string& to, uint64_t i) {
    auto access = run_io(WriteAccess::take(*node(to)));
    ASSERT_TRUE(access);
    ASSERT_TRUE(run_io(copy_into_base(*node(from), *node(to), i)));
    ASSERT_TRUE(run_io(access->give_back()));
  }

  Task<Result<>> drop_all(LayerDrop::Plan plan) {
    const auto claim = co_await graph_->claim({plan.top.name()});
    LayerDrop drop(*graph_, claim, std::move(plan));
    CO_TRY(co_await drop.prepare());
    change_ = drop.change();
    if (auto written = co_await drop.rewrite_headers(); !written) {
      co_await drop.undo();
      co_return written;
    }
    co_await drop.pivot();
    CO_TRY(co_await drop.finish());
    co_return co_await drop.close();
  }
  Result<> drop(const std::string& top, const std::string& base, std::string backing_file = "") {
    return run(drop_all({.top = *node(top), .base = *node(base), .backing_file = backing_file}));
  }

  // Drops s1 while a read through the head waits inside it.
  Task<void> drop_below_a_reader(Result<>& dropped, bool& waited, std::string& read) {
    async::Loop& io = node("s3")->home();
    co_await async::call_on(io, hold_reads("s1"));
    async::TaskScope scope;
    scope.spawn(read_on(io, read));
    while (co_await async::call_on(io, reads_of("s1")) == 0) {
      (void)co_await async::Loop::current().sleep_for(std::chrono::milliseconds(1));
    }
    bool done = false;
    scope.spawn(drop_and_tell(dropped, done));
    (void)co_await async::Loop::current().sleep_for(std::chrono::milliseconds(50));
    waited = !done && node("s1") != nullptr;
    co_await async::call_on(io, let_reads_go("s1"));
    co_await scope.join();
  }
  Task<void> drop_and_tell(Result<>& dropped, bool& done) {
    dropped = co_await drop_all({.top = *node("s1"), .base = *node("base"), .backing_file = ""});
    done = true;
  }
  Task<void> read_on(async::Loop& io, std::string& bytes) {
    bytes = co_await async::call_on(io, read_one());
  }
  Task<std::string> read_one() {
    std::string bytes(1, '?');
    const IoVec iov(bytes.data(), bytes.size());
    (void)co_await root_.read(kFakeCluster, iov);
    co_return bytes;
  }
  static Task<void> hold_reads(std::string name) {
    fake_hooks(name).reads_begun = 0;
    fake_hooks(name).reads.close();
    co_return;
  }
  static Task<int> reads_of(std::string name) { co_return fake_hooks(name).reads_begun; }
  static Task<void> let_reads_go(std::string name) {
    fake_hooks(name).reads.open();
    co_return;
  }

  Root root_{"block export 'e0'"};
  GraphChange change_;
};

TEST_F(LayersTest, AMiddleLayerLeaves) {
  copy("s1", "base", 1);
  ASSERT_TRUE(drop("s1", "base"));
  EXPECT_EQ(node("s1"), nullptr);
  EXPECT_EQ(node("s2")->children().backing.child(), node("base"));
  EXPECT_EQ(stored_backing("s2"), path("base"));
  EXPECT_TRUE(node("s2")->read_only());
  EXPECT_EQ(clusters(), "0123");
  EXPECT_EQ(node("base")->parents().size(), 1u);
  // The next snapshot and the next drop find the chain in order.
  copy("s2", "base", 2);
  ASSERT_TRUE(drop("s2", "base"));
  EXPECT_EQ(clusters(), "0123");
  EXPECT_EQ(stored_backing("s3"), path("base"));
  EXPECT_FALSE(node("s3")->read_only());
  put(3);
}

TEST_F(LayersTest, SeveralLayersLeaveAtOnceAndTheStoreHearsOfThem) {
  copy("s1", "base", 1);
  copy("s2", "base", 2);
  ASSERT_TRUE(drop("s2", "base", "other/name"));
  EXPECT_EQ(clusters(), "0123");
  EXPECT_EQ(graph_->nodes().size(), 4u);
  EXPECT_EQ(stored_backing("s3"), "other/name");
  ASSERT_EQ(change_.backings.size(), 1u);
  EXPECT_EQ(change_.backings[0].overlay, "s3");
  EXPECT_EQ(change_.backings[0].backing_node, "base");
  EXPECT_EQ(change_.backings[0].backing_file, "other/name");
  EXPECT_EQ(change_.removed, (std::vector<std::string>{"s2", "s1"}));
  EXPECT_TRUE(change_.moved.empty());
}

TEST_F(LayersTest, TheHeadLeavesAndItsUsersGoOnBelow) {
  for (uint64_t i = 1; i <= 3; ++i) copy("s" + std::to_string(i), "base", i);
  auto access = run_io(WriteAccess::take(*node("base")));
  ASSERT_TRUE(access);
  access->keep();
  node("s1")->children().backing.set_also_shared(permission::kWrite | permission::kResize);
  const auto dropped = drop("s3", "base");
  ASSERT_TRUE(dropped) << dropped.error().text();
  EXPECT_EQ(root_.head(), node("base"));
  EXPECT_EQ(run(graph_->find_head("vda", "")).value(), node("base"));
  EXPECT_EQ(graph_->nodes().size(), 2u);
  ASSERT_EQ(change_.moved.size(), 1u);
  EXPECT_EQ(change_.moved[0].from, "s3");
  EXPECT_EQ(change_.moved[0].to, "base");
  EXPECT_EQ(change_.moved[0].device, "vda");
  EXPECT_EQ(clusters(), "0123");
  ASSERT_TRUE(write(root_, 0, kFakeCluster, 'X'));
  EXPECT_EQ(clusters(), "X123");
}

TEST_F(LayersTest, AReaderInFlightIsWaitedFor) {
  copy("s1", "base", 1);
  Result<> dropped;
  bool waited = false;
  std::string bytes;
  run(drop_below_a_reader(dropped, waited, bytes));
  EXPECT_TRUE(waited);
  EXPECT_TRUE(dropped);
  EXPECT_EQ(bytes, "1");
  EXPECT_EQ(node("s1"), nullptr);
}

TEST_F(LayersTest, WhoElseUsesTheBaseIsNamed) {
  make_image("x", kSize);
  NodeSpec x = spec("x", "fake", path("x"));
  x.backing.emplace(std::string("s1"));
  add(std::move(x));
  auto base_used = drop("s2", "s1");
  ASSERT_FALSE(base_used);
  EXPECT_EQ(base_used.error().kind(), ErrorKind::kBusy);
  EXPECT_EQ(base_used.error().text(), "Node 's1' is busy: node 'x' uses it as backing image");
  EXPECT_EQ(drop("s2", "base").error().text(),
            "Node 's1' is busy: node 'x' uses it as backing image");
  Root reader("block export 'e1'");
  ASSERT_TRUE(attach(reader, node("base"), kRead));
  EXPECT_EQ(drop("s1", "base").error().text(), "Node 'base' is busy: block export 'e1' uses it");
  detach(reader);
  EXPECT_EQ(drop("base", "s1").error().text(), "Node 's1' is not below node 'base'");
  EXPECT_EQ(clusters(), "0123");
}

TEST_F(LayersTest, EveryOverlayOfTheTopMoves) {
  make_image("x", kSize);
  NodeSpec x = spec("x", "fake", path("x"));
  x.backing.emplace(std::string("s1"));
  add(std::move(x));
  copy("s1", "base", 1);
  ASSERT_TRUE(drop("s1", "base"));
  EXPECT_EQ(stored_backing("x"), path("base"));
  EXPECT_EQ(node("x")->children().backing.child(), node("base"));
  EXPECT_EQ(node("s2")->children().backing.child(), node("base"));
  ASSERT_TRUE(run(graph_->remove_node("x")));
}

TEST_F(LayersTest, AHeaderThatCantBeWrittenChangesNothing) {
  make_image("x", kSize, path("s1"));
  NodeSpec x = spec("x", "fake", path("x"));
  x.backing.emplace(std::string("s1"));
  add(std::move(x));
  fake_hooks("x").fail_backing_name = true;
  auto dropped = drop("s1", "base");
  ASSERT_FALSE(dropped);
  EXPECT_EQ(dropped.error().text(),
            "Could not change the backing file of node 'x': the test says so");
  EXPECT_EQ(stored_backing("s2"), path("s1"));
  EXPECT_EQ(stored_backing("x"), path("s1"));
  EXPECT_TRUE(node("s2")->read_only());
  EXPECT_EQ(node("s2")->children().backing.child(), node("s1"));
  EXPECT_EQ(clusters(), "0123");
}

TEST_F(LayersTest, ALayerThatAUserAddedStaysAndIsCutOff) {
  make_image("t", kSize);
  NodeSpec t = spec("t", "fake", path("t"));
  t.backing.emplace(std::unique_ptr<NodeSpec>());
  add(std::move(t));
  SnapshotRequest request;
  request.device = "vda";
  request.overlay_node = "t";
  ASSERT_TRUE(snapshot(request));
  request.overlay_node.clear();
  request.overlay_path = path("s5");
  request.overlay_node_name = "s5";
  request.format = "fake";
  ASSERT_TRUE(snapshot(request));
  // s5 -> t -> s3 -> s2; t was added, s3 goes with it only if t does.
  copy("s3", "s2", 3);
  ASSERT_TRUE(drop("t", "s2"));
  EXPECT_EQ(clusters(), "0123");
  ASSERT_NE(node("t"), nullptr);
  ASSERT_NE(node("s3"), nullptr);
  EXPECT_EQ(node("t")->children().backing.child(), node("s3"));
  EXPECT_FALSE(node("s3")->children().backing);
  EXPECT_TRUE(change_.removed.empty());
  ASSERT_EQ(change_.backings.size(), 2u);
  EXPECT_EQ(change_.backings[1].overlay, "s3");
  EXPECT_EQ(change_.backings[1].backing_node, "");
  ASSERT_TRUE(run(graph_->remove_node("t")));
}

TEST_F(LayersTest, StatusStopsAboveTheBaseAndAtAShorterLayersEnd) {
  const auto at = [&](uint64_t offset) {
    return *run_io(status_above(*node("s3"), *node("s1"), offset, kFakeCluster));
  };
  EXPECT_EQ(at(3 * kFakeCluster).kind, RunKind::kData);
  EXPECT_EQ(at(2 * kFakeCluster).kind, RunKind::kData);
  EXPECT_EQ(at(kFakeCluster).kind, RunKind::kUnallocated);
  // A layer in the middle that ends early hides what the base has behind its end.
  make_image("short", 2 * kFakeCluster, path("base"));
  make_image("long", kSize);
  NodeSpec low = spec("low", "fake", path("short"));
  low.backing.emplace(std::string("s1"));
  add(std::move(low));
  NodeSpec high = spec("high", "fake", path("long"));
  high.backing.emplace(std::string("low"));
  add(std::move(high));
  const auto hidden = run_io(status_above(*node("high"), *node("s1"), kFakeCluster, kSize));
  EXPECT_EQ(hidden->kind, RunKind::kUnallocated);
  const auto beyond =
      run_io(status_above(*node("high"), *node("s1"), 2 * kFakeCluster, 5 * kFakeCluster));
  EXPECT_EQ(beyond->kind, RunKind::kZero);
}

}  // namespace
}  // namespace firn::block
