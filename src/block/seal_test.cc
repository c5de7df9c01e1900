#include "block/seal.h"

#include <string>

#include "block/lab.h"
#include "block/space_guard.h"

namespace firn::block {
namespace {

using base::ErrorKind;

constexpr uint64_t kSize = 8 * kFakeCluster;

// A device whose snapshot could not be sealed.
class SealTest : public Lab {
 protected:
  void SetUp() override {
    make_image("base", kSize);
    base_ = add(spec("a", "fake", path("base")));
    ASSERT_TRUE(run(graph_->add_device("vda", "a")));
    ASSERT_TRUE(attach(root_, base_, kWrite));
    ASSERT_TRUE(write(root_, 0, 4096, 'A'));
  }
  void TearDown() override { detach(root_); }

  void fail_a_snapshot() {
    fake_hooks("a").fail_read_only = true;
    SnapshotRequest request;
    request.device = "vda";
    request.overlay_path = path("s1");
    request.overlay_node_name = "s1";
    request.format = "fake";
    ASSERT_FALSE(snapshot(std::move(request)));
    ASSERT_FALSE(flush(root_));
  }
  Result<SealedNode> seal(const std::string& node, bool accept_loss = false) {
    return run(seal_again(*graph_, node, accept_loss));
  }

  Node* base_ = nullptr;
  Root root_{"block export 'e0'"};
};

TEST_F(SealTest, WhatWorksAtTheSecondTryEndsIt) {
  fail_a_snapshot();
  EXPECT_EQ(base_->seal_error, "the test says so");
  auto again = seal("a");
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().text(), "Node 'a' can't be sealed: the test says so");
  EXPECT_EQ(again.error().kind(), ErrorKind::kIo);
  EXPECT_TRUE(base_->seal_failed);

  fake_hooks("a").fail_read_only = false;
  again = seal("a");
  ASSERT_TRUE(again) << again.error().text();
  EXPECT_EQ(again->node, "a");
  EXPECT_EQ(again->overlay, "s1");
  EXPECT_TRUE(base_->read_only());
  EXPECT_FALSE(base_->seal_failed);
  EXPECT_EQ(graph_->find_node("s1")->unsealed_below, nullptr);
  ASSERT_TRUE(write(root_, 0, 512, 'B'));
  EXPECT_TRUE(flush(root_));
  EXPECT_EQ(read(root_, 511, 2), "BA");

  SnapshotRequest next;
  next.device = "vda";
  next.overlay_path = path("s2");
  next.overlay_node_name = "s2";
  next.format = "fake";
  EXPECT_TRUE(snapshot(std::move(next)));
}

TEST_F(SealTest, AcceptedLossEndsItWhateverTheStoreSays) {
  fail_a_snapshot();
  fake_hooks("a").fail_flush = true;
  const auto sealed = seal("a", true);
  ASSERT_TRUE(sealed) << sealed.error().text();
  EXPECT_TRUE(base_->read_only());
  EXPECT_FALSE(base_->seal_failed);
  EXPECT_TRUE(flush(root_));
  fake_hooks("a").fail_flush = false;
  fake_hooks("a").fail_read_only = false;
}

TEST_F(SealTest, ALostWriteIsNotTriedAgain) {
  fail_a_snapshot();
  fake_hooks("a").fail_read_only = false;
  fake_hooks("a").lost_data = true;
  EXPECT_FALSE(can_seal_again(*base_));
  const auto again = seal("a");
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().text(),
            "Node 'a' can't be sealed: a flush of it failed, and no later one can tell what was "
            "lost (the test says so)");
  EXPECT_TRUE(seal("a", true));
  EXPECT_TRUE(flush(root_));
}

TEST_F(SealTest, OnlyAFailedSealIsEnded) {
  const auto sealed = seal("a");
  ASSERT_FALSE(sealed);
  EXPECT_EQ(sealed.error().text(), "Node 'a' waits for no seal");
  EXPECT_FALSE(seal("a", true));
  const auto unknown = seal("nope");
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().kind(), ErrorKind::kDeviceNotFound);
  fail_a_snapshot();
  const auto above = seal("s1");
  ASSERT_FALSE(above);
  EXPECT_EQ(above.error().hint(), "node 'a' below it does");
  fake_hooks("a").fail_read_only = false;
}

TEST(SpaceReserveTest, IsASizeOrAShare) {
  EXPECT_EQ(parse_space_reserve("2G")->bytes, uint64_t{2} << 30);
  EXPECT_EQ(parse_space_reserve("5%")->percent, 5u);
  EXPECT_TRUE(parse_space_reserve("0")->none());
  for (const char* wrong : {"", "%", "101%", "-1", "5 %", "much", "5%%"}) {
    EXPECT_FALSE(parse_space_reserve(wrong)) << wrong;
  }
}

TEST_F(SealTest, NoSnapshotWhereTheStoreIsNearlyFull) {
  graph_->snapshot_reserve.bytes = uint64_t{1} << 62;
  SnapshotRequest request;
  request.device = "vda";
  request.overlay_path = path("s1");
  request.format = "fake";
  const auto refused = snapshot(request);
  ASSERT_FALSE(refused);
  EXPECT_TRUE(refused.error().text().starts_with("The store of '" + path("s1") + "' has "))
      << refused.error().text();
  EXPECT_EQ(refused.error().kind(), ErrorKind::kOpenFileFailed);
  EXPECT_FALSE(exists("s1"));
  make_image("ready", kSize, path("base"));
  request.overlay_path = path("ready");
  request.mode = SnapshotMode::kExisting;
  EXPECT_FALSE(snapshot(request));
  graph_->snapshot_reserve = {.bytes = 1, .percent = 0};
  EXPECT_TRUE(snapshot(request));
}

}  // namespace
}  // namespace firn::block
