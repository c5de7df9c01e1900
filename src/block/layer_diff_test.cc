#include "block/layer_diff.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "block/lab.h"

namespace firn::block {
namespace {

using testing::ElementsAre;

constexpr uint64_t kSize = 64 * kFakeCluster;

// Three layers, "a" below "b" below "c", each with something of its own.
class LayerDiffTest : public Lab {
 protected:
  void SetUp() override {
    make_image("a", kSize);
    Node* a = add(spec("a", "fake", path("a")));
    ASSERT_TRUE(run(graph_->add_device("vda", "a")));
    ASSERT_TRUE(attach(root_, a, kWrite));
    ASSERT_TRUE(write(root_, 0, 4 * kFakeCluster, 'a'));
    overlay("b");
    ASSERT_TRUE(write(root_, 2 * kFakeCluster, 4 * kFakeCluster, 'b'));
    overlay("c");
    ASSERT_TRUE(write(root_, 5 * kFakeCluster, kFakeCluster, 'c'));
    ASSERT_TRUE(write(root_, 40 * kFakeCluster, 3 * kFakeCluster, 'c'));
  }
  void TearDown() override { detach(root_); }

  void overlay(const std::string& name) {
    SnapshotRequest request;
    request.device = "vda";
    request.overlay_path = path(name);
    request.overlay_node_name = name;
    request.format = "fake";
    ASSERT_TRUE(snapshot(std::move(request)));
  }

  // "c:5+1": what layer c has from cluster 5 on, for one cluster.
  static std::vector<std::string> texts(const LayerDiff& diff) {
    std::vector<std::string> texts;
    for (const DiffExtent& extent : diff.extents) {
      texts.push_back(fmt::format("{}:{}+{}{}", extent.layer->name(),
                                  extent.offset_bytes / kFakeCluster,
                                  extent.length_bytes / kFakeCluster, extent.zero ? "z" : ""));
    }
    return texts;
  }
  LayerDiff diff(DiffRequest request) {
    auto result = run_io(diff_layers(std::move(request)));
    EXPECT_TRUE(result) << result.error().text();
    return result.value_or(LayerDiff{});
  }
  Node* node(const char* name) { return graph_->find_node(name); }

  Root root_{"block export 'e0'"};
};

TEST_F(LayerDiffTest, IsWhatLiesAboveTheBase) {
  const LayerDiff one = diff({.top = node("c"), .base = node("b")});
  EXPECT_THAT(texts(one), ElementsAre("c:5+1", "c:40+3"));
  EXPECT_EQ(one.data_bytes, 4 * kFakeCluster);
  EXPECT_EQ(one.zero_bytes, 0u);
  EXPECT_FALSE(one.next_offset);
  EXPECT_THAT(texts(diff({.top = node("c"), .base = node("a")})),
              ElementsAre("b:2+3", "c:5+1", "c:40+3"));
  EXPECT_THAT(texts(diff({.top = node("b"), .base = node("a")})), ElementsAre("b:2+4"));
}

TEST_F(LayerDiffTest, WithoutABaseIsAllThatIsThere) {
  EXPECT_THAT(texts(diff({.top = node("c")})), ElementsAre("a:0+2", "b:2+3", "c:5+1", "c:40+3"));
  EXPECT_THAT(texts(diff({.top = node("a")})), ElementsAre("a:0+4"));
}

TEST_F(LayerDiffTest, GoesOnWhereItStopped) {
  DiffRequest request{.top = node("c"), .base = node("a"), .max_extents = 2};
  const LayerDiff first = diff(request);
  EXPECT_THAT(texts(first), ElementsAre("b:2+3", "c:5+1"));
  EXPECT_EQ(first.data_bytes, 4 * kFakeCluster);
  ASSERT_EQ(first.next_offset, 40 * kFakeCluster);
  request.offset_bytes = *first.next_offset;
  const LayerDiff second = diff(request);
  EXPECT_THAT(texts(second), ElementsAre("c:40+3"));
  EXPECT_FALSE(second.next_offset);

  // Exactly as many as may be: there is nothing after them.
  EXPECT_FALSE(diff({.top = node("c"), .base = node("a"), .max_extents = 3}).next_offset);
}

TEST_F(LayerDiffTest, StopsWhenItsTimeIsOver) {
  DiffRequest request{.top = node("c"), .base = node("a"), .budget = async::Duration(0)};
  LayerDiff all;
  int steps = 0;
  for (;; ++steps) {
    const LayerDiff part = diff(request);
    all.data_bytes += part.data_bytes;
    if (!part.next_offset) break;
    ASSERT_GT(*part.next_offset, request.offset_bytes);
    request.offset_bytes = *part.next_offset;
  }
  EXPECT_GT(steps, 1);
  EXPECT_EQ(all.data_bytes, 7 * kFakeCluster);
}

TEST_F(LayerDiffTest, KeepsToItsRange) {
  EXPECT_THAT(texts(diff({.top = node("c"),
                          .base = node("a"),
                          .offset_bytes = 3 * kFakeCluster,
                          .end_bytes = 41 * kFakeCluster})),
              ElementsAre("b:3+2", "c:5+1", "c:40+1"));
  EXPECT_THAT(texts(diff({.top = node("c"), .base = node("a"), .offset_bytes = 2 * kSize})),
              ElementsAre());
}

TEST_F(LayerDiffTest, ABaseMustLieBelow) {
  for (const auto& [top, base] : {std::pair{"a", "b"}, {"b", "b"}}) {
    const auto result = run_io(diff_layers({.top = node(top), .base = node(base)}));
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().text(), fmt::format("Node 'b' does not lie below node '{}'", top));
  }
}

// Overlays of their own sizes over a raw base of ten clusters of data.
class LayerDiffOfSizesTest : public LayerDiffTest {
 protected:
  void SetUp() override {
    make_file("base.raw", 10 * kFakeCluster, 'x');
    image("mid.qcow2", "base.raw", "raw", 4);
    image("top.qcow2", "mid.qcow2", "qcow2", 12);
    const Output zeroed =
        shell(fmt::format("qemu-io -f qcow2 -c 'write -z {0} {0}' -c 'write {1} {0}' {2}",
                          kFakeCluster, 11 * kFakeCluster, path("top.qcow2")));
    ASSERT_EQ(zeroed.status, 0) << zeroed.text;
    top_ = add(spec("top", "qcow2", path("top.qcow2"), {.read_only = true}));
    mid_ = top_->children().backing.child();
    base_ = mid_->children().backing.child();
  }
  void TearDown() override {}
  void image(const std::string& name, const std::string& backing, const std::string& format,
             uint64_t clusters) {
    const Output made =
        shell(fmt::format("qemu-img create -q -f qcow2 -b {} -F {} {} {}", path(backing), format,
                          path(name), clusters * kFakeCluster));
    ASSERT_EQ(made.status, 0) << made.text;
  }
  // The layers have made-up names here.
  std::vector<std::string> plain(const LayerDiff& diff) {
    std::vector<std::string> texts = LayerDiffTest::texts(diff);
    for (std::string& text : texts) {
      const size_t colon = text.find(':');
      const std::string name = text.substr(0, colon);
      text.replace(0, colon, name == top_->name() ? "top" : name == mid_->name() ? "mid" : "base");
    }
    return texts;
  }

  Node* top_ = nullptr;
  Node* mid_ = nullptr;
  Node* base_ = nullptr;
};

TEST_F(LayerDiffOfSizesTest, AShorterLayerHidesWhatLiesBelow) {
  EXPECT_THAT(plain(diff({.top = top_, .base = base_})),
              ElementsAre("top:1+1z", "mid:4+6z", "top:11+1"));
  EXPECT_THAT(plain(diff({.top = top_, .base = mid_})), ElementsAre("top:1+1z", "top:11+1"));
  EXPECT_THAT(plain(diff({.top = mid_, .base = base_})), ElementsAre());
  // Zeroes say nothing where there is nothing to compare with.
  EXPECT_THAT(plain(diff({.top = top_})), ElementsAre("base:0+1", "base:2+2", "top:11+1"));
}

}  // namespace
}  // namespace firn::block
