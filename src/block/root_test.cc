#include "block/root.h"

#include <gmock/gmock.h>

#include "async/scope.h"
#include "block/lab.h"
#include "block/permissions.h"

namespace firn::block {
namespace {

using base::ErrorKind;
using ::testing::HasSubstr;

constexpr uint64_t kSize = 4 * kFakeCluster;

Task<Result<>> zero(Root& root, uint64_t offset, uint64_t length, Flags flags) {
  co_return co_await root.write_zeroes(offset, length, flags);
}
Task<Result<>> discard(Root& root, uint64_t offset, uint64_t length) {
  co_return co_await root.discard(offset, length, flag::kNone);
}
Task<Result<Root::ChainRun>> status(Root& root, uint64_t offset, uint64_t length) {
  co_return co_await root.status(offset, length);
}

class RootTest : public Lab {
 protected:
  explicit RootTest(uint32_t alignment = 1) : Lab(alignment) {}
  void open(NodeOptions options = {}, Permissions used = kWrite) {
    make_image("a", kSize);
    node_ = add(spec("a", "fake", path("a"), options));
    ASSERT_TRUE(attach(root_, node_, used));
  }
  void TearDown() override { detach(root_); }

  Node* node_ = nullptr;
  Root root_{"block export 'e0'"};
};

TEST_F(RootTest, ReadsWhatWasWritten) {
  open();
  ASSERT_TRUE(write(root_, 65000, 2000, 'A', flag::kFua));
  EXPECT_EQ(fake_hooks("a").last_flags, flag::kFua);
  EXPECT_EQ(read(root_, 64999, 2002), std::string(1, '\0') + std::string(2000, 'A') + '\0');
  EXPECT_EQ(root_.stats().write.operations, 1u);
  EXPECT_EQ(root_.stats().write.bytes, 2000u);
  EXPECT_EQ(root_.stats().read.operations, 1u);
  EXPECT_GT(root_.stats().write.total_ns, 0u);
  EXPECT_EQ(root_.in_flight(), 0u);
  EXPECT_FALSE(node_->has_mutations());
}

TEST_F(RootTest, RangesAreChecked) {
  open();
  EXPECT_EQ(read(root_, kSize - 1, 2),
            "error: a read of 2 bytes at 262143 goes beyond the end of node 'a' (262144 bytes)");
  EXPECT_EQ(write(root_, kSize, 1, 'A').error().kind(), ErrorKind::kNoSpace);
  EXPECT_EQ(run_io(zero(root_, 1, kSize, flag::kNone)).error().kind(), ErrorKind::kNoSpace);
  EXPECT_EQ(run_io(discard(root_, UINT64_MAX, 2)).error().kind(), ErrorKind::kNoSpace);
  EXPECT_EQ(run_io(status(root_, kSize, 1)).error().kind(), ErrorKind::kOutOfRange);
  EXPECT_TRUE(write(root_, kSize, 0, 'A'));
  EXPECT_EQ(read(root_, kSize, 0), "");
}

TEST_F(RootTest, AReaderMayNotWrite) {
  open({}, kRead);
  EXPECT_FALSE(root_.writable());
  const auto written = write(root_, 0, 1, 'A');
  EXPECT_EQ(written.error().kind(), ErrorKind::kReadOnly);
  EXPECT_THAT(written.error().text(), HasSubstr("attached for reading"));
  EXPECT_EQ(run_io(discard(root_, 0, 1)).error().kind(), ErrorKind::kReadOnly);
}

TEST_F(RootTest, WithoutANodeThereIsNoMedium) {
  EXPECT_EQ(read(root_, 0, 1), "error: block export 'e0' has no medium");
  EXPECT_EQ(root_.size_bytes(), 0u);
}

TEST_F(RootTest, DiscardsAndUnmappingFollowTheNodesOption) {
  open({.unmap = false});
  ASSERT_TRUE(run_io(discard(root_, 0, 4096)));
  EXPECT_EQ(fake_hooks("a").discards, 0);
  ASSERT_TRUE(run_io(zero(root_, 0, 4096, flag::kMayUnmap | flag::kFua)));
  EXPECT_EQ(fake_hooks("a").last_flags, flag::kFua);
}

TEST_F(RootTest, DiscardsArePassedOnWithUnmap) {
  open({.unmap = true});
  ASSERT_TRUE(run_io(discard(root_, 0, 4096)));
  EXPECT_EQ(fake_hooks("a").discards, 1);
  ASSERT_TRUE(run_io(zero(root_, 0, 4096, flag::kMayUnmap)));
  EXPECT_EQ(fake_hooks("a").last_flags, flag::kMayUnmap);
}

TEST_F(RootTest, ZeroesAreDetectedWhereAsked) {
  open({.unmap = true, .detect_zeroes = DetectZeroes::kUnmap});
  ASSERT_TRUE(write(root_, 0, 4096, '\0'));
  EXPECT_EQ(fake_hooks("a").zeroings, 1);
  EXPECT_EQ(fake_hooks("a").last_flags, flag::kMayUnmap);
  ASSERT_TRUE(write(root_, 0, 4096, 'A'));
  EXPECT_EQ(fake_hooks("a").zeroings, 1);
}

TEST_F(RootTest, ZeroesAreDataWhereNothingIsAsked) {
  open();
  ASSERT_TRUE(write(root_, 0, 4096, '\0'));
  EXPECT_EQ(fake_hooks("a").zeroings, 0);
  EXPECT_EQ(fake_hooks("a").writes_begun, 1);
}

TEST_F(RootTest, AFailedRequestIsCountedAsOne) {
  open();
  fake_hooks("a").fail_writes = true;
  EXPECT_FALSE(write(root_, 0, 4096, 'A'));
  EXPECT_EQ(root_.stats().write.failed, 1u);
  EXPECT_EQ(root_.stats().write.bytes, 0u);
  fake_hooks("a").fail_writes = false;
}

TEST_F(RootTest, ADeviceCountsWhatAllUsersOfItsHeadsDo) {
  open();
  Device* device = *run(graph_->add_device("vda", "a"));
  Root other("block export 'e1'");
  ASSERT_TRUE(attach(other, node_, kWrite));
  ASSERT_TRUE(write(root_, 0, 1000, 'A'));
  ASSERT_TRUE(write(other, 5000, 24, 'B'));
  EXPECT_EQ(read(other, 0, 10), std::string(10, 'A'));
  ASSERT_TRUE(flush(root_));
  const RootStats& stats = device->root.stats();
  EXPECT_EQ(stats.write.operations, 2u);
  EXPECT_EQ(stats.write.bytes, 1024u);
  EXPECT_EQ(stats.read.bytes, 10u);
  EXPECT_EQ(stats.flush.operations, 1u);
  EXPECT_TRUE(stats.last_end);
  EXPECT_EQ(root_.stats().write.operations, 1u);

  // A new head goes on where the old one was; what is done to that alone is not the device's.
  ASSERT_TRUE(snapshot(
      {.device = "vda", .overlay_path = path("s1"), .overlay_node_name = "s1", .format = "fake"}));
  ASSERT_TRUE(write(root_, 0, 1000, 'C'));
  fake_hooks("s1").fail_writes = true;
  EXPECT_FALSE(write(root_, 0, 4096, 'A'));
  fake_hooks("s1").fail_writes = false;
  EXPECT_EQ(stats.write.operations, 4u);
  EXPECT_EQ(stats.write.failed, 1u);
  EXPECT_EQ(stats.write.bytes, 2024u);
  Root below("block export 'e2'");
  ASSERT_TRUE(attach(below, node_, kRead));
  EXPECT_EQ(read(below, 0, 10), std::string(10, 'A'));
  EXPECT_EQ(stats.read.bytes, 10u);
  detach(below);
  detach(other);
  ASSERT_TRUE(run(graph_->remove_device("vda")));
}

TEST_F(RootTest, ANodeCountsWhatItIsAskedFor) {
  open({.unmap = true});
  const Node& file = *node_->children().file.child();
  const NodeCounters before = file.counters();
  ASSERT_TRUE(write(root_, 0, 1000, 'A'));
  ASSERT_TRUE(run_io(zero(root_, 70000, 96, flag::kNone)));
  ASSERT_TRUE(run_io(discard(root_, 0, 4096)));
  EXPECT_EQ(read(root_, 8192, 10).size(), 10u);
  ASSERT_TRUE(flush(root_));
  const NodeCounters& counters = node_->counters();
  EXPECT_EQ(counters.writes, 2u);
  EXPECT_EQ(counters.write_bytes, 1096u);
  EXPECT_EQ(counters.discards, 1u);
  EXPECT_EQ(counters.discard_bytes, 4096u);
  EXPECT_EQ(counters.reads, 1u);
  EXPECT_EQ(counters.read_bytes, 10u);
  EXPECT_EQ(counters.flushes, 1u);
  EXPECT_EQ(counters.highest_write_end, 70096u);
  EXPECT_GE(file.counters().writes, before.writes + 1);
  EXPECT_GE(file.counters().flushes, before.flushes + 1);
}

TEST_F(RootTest, AWriteBeyondTheThresholdIsToldOnce) {
  open();
  std::vector<uint64_t> told;
  const auto tell = [&told](uint64_t exceeded) { told.push_back(exceeded); };
  node_->set_write_threshold(8192, tell);
  EXPECT_EQ(node_->write_threshold(), 8192u);
  ASSERT_TRUE(write(root_, 4096, 4096, 'A'));  // up to it
  EXPECT_TRUE(told.empty());
  ASSERT_TRUE(write(root_, 4096, 5000, 'A'));
  EXPECT_EQ(told, std::vector<uint64_t>({4096 + 5000 - 8192}));
  EXPECT_EQ(node_->write_threshold(), 0u);
  ASSERT_TRUE(write(root_, 100000, 1, 'A'));
  EXPECT_EQ(told.size(), 1u);
  node_->set_write_threshold(4096, tell);
  node_->set_write_threshold(0, nullptr);
  ASSERT_TRUE(write(root_, 100000, 1, 'A'));
  EXPECT_EQ(told.size(), 1u);
}

TEST_F(RootTest, StatusGoesDownTheChain) {
  make_image("base", 2 * kFakeCluster);
  make_image("top", kSize, path("base"));
  Node* base = add(spec("base", "fake", path("base")));
  ASSERT_TRUE(attach(root_, base, kWrite));
  ASSERT_TRUE(write(root_, kFakeCluster, 512, 'A'));
  detach(root_);
  ASSERT_TRUE(run(graph_->remove_node("base")));
  ASSERT_TRUE(attach(root_, add(spec("top", "fake", path("top"))), kWrite));
  ASSERT_TRUE(write(root_, 0, 512, 'B'));
  const auto own = run_io(status(root_, 0, kSize));
  EXPECT_EQ(own->run.kind, RunKind::kData);
  EXPECT_EQ(own->depth, 1u);
  EXPECT_EQ(own->run.length_bytes, kFakeCluster);
  const auto below = run_io(status(root_, kFakeCluster, kSize - kFakeCluster));
  EXPECT_EQ(below->run.kind, RunKind::kData);
  EXPECT_EQ(below->depth, 2u);
  const auto beyond = run_io(status(root_, 2 * kFakeCluster, 1000));
  EXPECT_EQ(beyond->run.kind, RunKind::kUnallocated);
  EXPECT_EQ(beyond->run.length_bytes, 1000u);
  // The base ends before its overlay does: zeroes.
  EXPECT_EQ(read(root_, 2 * kFakeCluster - 1, 2), std::string(2, '\0'));
}

// What comes while the gate is closed is not admitted: after a pivot it goes to the new head.
Task<void> through_a_gate(Root& root, Node& other, std::string& log) {
  root.gate().close();
  async::TaskScope scope;
  const auto request = [](Root& root, std::string& log) -> Task<void> {
    char byte = 'G';
    const IoVec iov(&byte, 1);
    log += (co_await root.write(0, iov, flag::kNone)) ? "written;" : "failed;";
  };
  scope.spawn(request(root, log));
  co_await async::Loop::current().yield();
  log += root.in_flight() == 0 ? "held;" : "admitted;";
  root.edge().repoint(&other);
  root.gate().open();
  co_await scope.join();
}

TEST_F(RootTest, WhatIsHeldAtTheGateGoesToTheNewHead) {
  open();
  make_image("b", kSize);
  Node* other = add(spec("b", "fake", path("b")));
  std::string log;
  run_io(through_a_gate(root_, *other, log));
  EXPECT_EQ(log, "held;written;");
  EXPECT_EQ(fake_hooks("a").writes_begun, 0);
  EXPECT_EQ(fake_hooks("b").writes_begun, 1);
}

// A node that asks for blocks of 512 bytes -------------------------------------------------------

class AlignedRootTest : public RootTest {
 protected:
  AlignedRootTest() : RootTest(512) {}
};

TEST_F(AlignedRootTest, AnyRangeIsMendedToWholeBlocks) {
  open();
  ASSERT_TRUE(write(root_, 0, 4096, '.'));
  // Starts and ends at, before and after the edges of blocks; within one, across two and many.
  for (const uint64_t offset : {0u, 1u, 511u, 512u, 513u, 700u}) {
    for (const uint64_t length : {1u, 2u, 511u, 512u, 513u, 1024u, 1500u}) {
      ASSERT_TRUE(write(root_, 0, 4096, '.'));
      ASSERT_TRUE(write(root_, offset, length, 'A'));
      std::string wanted(4096, '.');
      wanted.replace(offset, length, length, 'A');
      ASSERT_EQ(read(root_, 0, 4096), wanted) << offset << " " << length;
      ASSERT_EQ(read(root_, offset, length), std::string(length, 'A')) << offset << " " << length;
      ASSERT_TRUE(run_io(zero(root_, offset, length, flag::kNone)));
      wanted.replace(offset, length, length, '\0');
      ASSERT_EQ(read(root_, 0, 4096), wanted) << offset << " " << length;
    }
  }
}

TEST_F(AlignedRootTest, NeitherOfTwoWritesToOneBlockIsLost) {
  open();
  const auto write_one = [](Root& root, uint64_t offset) -> Task<void> {
    char byte = 'A';
    const IoVec iov(&byte, 1);
    const auto result = co_await root.write(offset, iov, flag::kNone);
    EXPECT_TRUE(result.has_value());
  };
  const auto all = [&](Root& root) -> Task<void> {
    async::TaskScope scope;
    for (uint64_t i = 0; i < 512; ++i) scope.spawn(write_one(root, i));
    co_await scope.join();
  };
  run_io(all(root_));
  EXPECT_EQ(read(root_, 0, 512), std::string(512, 'A'));
}

TEST_F(AlignedRootTest, OnlyWholeBlocksAreDiscarded) {
  open({.unmap = true});
  ASSERT_TRUE(run_io(discard(root_, 1, 511)));
  EXPECT_EQ(fake_hooks("a").discards, 0);
  ASSERT_TRUE(run_io(discard(root_, 1, 1023)));
  EXPECT_EQ(fake_hooks("a").discards, 1);
  EXPECT_EQ(run_io(zero(root_, 1, 100, flag::kNoFallback)).error().kind(), ErrorKind::kUnsupported);
}

// Permissions -----------------------------------------------------------------------------------

TEST(Permissions, OfChildrenFollowTheRules) {
  auto runtime = async::make_runtime();
  async::Loop& loop = (*runtime)->control_loop();
  Node child("child", {}, loop);
  Node writer("writer", {}, loop);
  Node reader("reader", {.read_only = true}, loop);
  Node raw("raw", {}, loop);
  raw.set_transparent(true);
  const auto of = [&](Node& parent, Edge& edge, PermissionSet users) {
    edge.attach(&child, permission::kNone, permission::kAll);
    const PermissionSet set = child_permissions(edge, users);
    edge.detach();
    (void)parent;
    return std::pair(permission_names(set.used), permission_names(set.shared));
  };
  const PermissionSet idle;
  const PermissionSet writing{.used = 0x3, .shared = permission::kAll};
  using Pair = std::pair<std::string, std::string>;
  EXPECT_EQ(of(writer, writer.children().file, idle),
            Pair("consistent read, write, resize", "consistent read, write unchanged"));
  EXPECT_EQ(of(reader, reader.children().file, idle),
            Pair("consistent read", "consistent read, write unchanged"));
  EXPECT_EQ(of(raw, raw.children().file, idle),
            Pair("none", "consistent read, write, write unchanged, resize"));
  EXPECT_EQ(of(raw, raw.children().file, writing),
            Pair("consistent read, write", "consistent read, write, write unchanged, resize"));
  EXPECT_EQ(of(writer, writer.children().backing, writing),
            Pair("consistent read", "consistent read, write unchanged"));
  EXPECT_EQ(of(writer, writer.children().backing, idle),
            Pair("none", "consistent read, write unchanged"));
  Node shared_child("shared", {.read_only = true, .force_share = true}, loop);
  writer.children().file.attach(&shared_child, 0, permission::kAll);
  EXPECT_EQ(child_permissions(writer.children().file, idle).shared, permission::kAll);
  writer.children().file.detach();
}

}  // namespace
}  // namespace firn::block
