#include "block/write_access.h"

#include <sys/stat.h>

#include "block/lab.h"

namespace firn::block {
namespace {

class WriteAccessTest : public Lab {
 protected:
  Result<> take(Node& node) {
    auto access = run_io(WriteAccess::take(node));
    if (!access) return base::fail(std::move(access).error());
    access_ = std::move(*access);
    return {};
  }
  Result<> give_back() { return run_io(access_.give_back()); }
  static Output image(const std::string& command) { return shell(command); }

  WriteAccess access_;
  Root root_{"block export 'e0'"};
};

TEST_F(WriteAccessTest, ABackingLayerIsWrittenToAndReadOnlyAgain) {
  ASSERT_EQ(shell("qemu-img create -q -f qcow2 " + path("b") + " 1M").status, 0);
  ASSERT_EQ(shell("qemu-img create -q -f qcow2 -b " + path("b") + " -F qcow2 " + path("t")).status,
            0);
  Node* top = add(spec("t", "qcow2", path("t")));
  Node* base = top->children().backing.child();
  ASSERT_TRUE(base->read_only());
  Root writer("block job 'j'");
  EXPECT_FALSE(attach(writer, base, kWrite));

  ASSERT_TRUE(take(*base));
  EXPECT_FALSE(base->read_only());
  EXPECT_FALSE(base->children().file.child()->read_only());
  // Nobody else may write, and an image is never open twice for writing.
  EXPECT_NE(shell("qemu-io -c 'write 0 512' " + path("b")).text.find("Failed to get"),
            std::string::npos);
  top->children().backing.set_also_shared(permission::kWrite | permission::kResize);
  ASSERT_TRUE(attach(writer, base, kWrite, kRead));
  ASSERT_TRUE(write(writer, 0, 4096, 'B'));
  detach(writer);
  top->children().backing.set_also_shared(permission::kNone);
  ASSERT_TRUE(give_back());
  EXPECT_TRUE(base->read_only());
  EXPECT_TRUE(base->children().file.child()->read_only());
  EXPECT_FALSE(attach(writer, base, kWrite));
  ASSERT_TRUE(attach(root_, top, kWrite));
  EXPECT_EQ(read(root_, 4095, 2), std::string("B\0", 2));
  detach(root_);
  ASSERT_TRUE(run(graph_->remove_node("t")));
  EXPECT_EQ(shell("qemu-img check -q " + path("b")).status, 0);
}

TEST_F(WriteAccessTest, TakenTwiceInALife) {
  ASSERT_EQ(shell("qemu-img create -q -f qcow2 " + path("b") + " 1M").status, 0);
  Node* node = add(spec("b", "qcow2", path("b"), {.read_only = true}));
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(take(*node));
    ASSERT_TRUE(attach(root_, node, kWrite));
    ASSERT_TRUE(write(root_, static_cast<uint64_t>(i) * 65536, 65536, static_cast<char>('a' + i)));
    detach(root_);
    ASSERT_TRUE(give_back());
  }
  ASSERT_TRUE(attach(root_, node, kRead));
  EXPECT_EQ(read(root_, 65535, 2), "ab");
  EXPECT_EQ(read(root_, 131071, 2), "bc");
  detach(root_);
  ASSERT_TRUE(run(graph_->remove_node("b")));
  const Output check = shell("qemu-img check " + path("b"));
  EXPECT_EQ(check.status, 0) << check.text;
}

TEST_F(WriteAccessTest, AWritableNodeTakesNothing) {
  make_image("b", kFakeCluster);
  Node* node = add(spec("b", "fake", path("b")));
  ASSERT_TRUE(take(*node));
  ASSERT_TRUE(give_back());
  EXPECT_FALSE(node->read_only());
}

TEST_F(WriteAccessTest, AnErrorLeavesItReadOnly) {
  make_image("b", kFakeCluster);
  Node* node = add(spec("b", "fake", path("b"), {.read_only = true}));
  ASSERT_EQ(shell("mv " + path("b") + " " + path("moved")).status, 0);
  auto gone = take(*node);
  ASSERT_FALSE(gone);
  EXPECT_NE(gone.error().text().find("Could not open '" + path("b") + "'"), std::string::npos);
  EXPECT_TRUE(node->read_only());
  ASSERT_EQ(shell("mv " + path("moved") + " " + path("b")).status, 0);
  fake_hooks("b").fail_read_only = true;
  EXPECT_FALSE(take(*node));
  EXPECT_TRUE(node->read_only());
  EXPECT_TRUE(node->children().file.child()->read_only());
}

TEST_F(WriteAccessTest, AnotherProgramThatReadsKeepsWritersOut) {
  ASSERT_EQ(shell("qemu-img create -q -f raw " + path("b") + " 1M").status, 0);
  Node* one = add(spec("a", "raw", path("b"), {.read_only = true}));
  Node* other = add(spec("b", "raw", path("b"), {.read_only = true}));
  ASSERT_TRUE(attach(root_, other, kRead, kRead));  // lets nobody write
  ASSERT_TRUE(take(*one));
  Root writer("block job 'j'");
  auto attached = attach(writer, one, kWrite);
  ASSERT_FALSE(attached);
  EXPECT_NE(attached.error().text().find("Failed to get \"write\" lock"), std::string::npos)
      << attached.error().text();
  ASSERT_TRUE(give_back());
  detach(root_);
}

TEST_F(WriteAccessTest, AForceSharedNodeIsNeverWritten) {
  make_image("b", kFakeCluster);
  Node* node = add(spec("b", "fake", path("b"), {.read_only = true, .force_share = true}));
  auto taken = take(*node);
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().kind(), base::ErrorKind::kReadOnly);
}

TEST_F(WriteAccessTest, AFailedFlushKeepsItWritable) {
  make_image("b", kFakeCluster);
  Node* node = add(spec("b", "fake", path("b"), {.read_only = true}));
  ASSERT_TRUE(take(*node));
  fake_hooks("b").fail_flush = true;
  EXPECT_FALSE(give_back());
  EXPECT_FALSE(node->read_only());
  fake_hooks("b").fail_flush = false;
}

}  // namespace
}  // namespace firn::block
