#include "block/dirty_tracker.h"

#include <random>
#include <set>

#include "async/scope.h"
#include "block/lab.h"

namespace firn::block {
namespace {

constexpr uint32_t kPart = 4096;

TEST(DirtyMapTest, FindsRunsAndCutsThem) {
  DirtyMap map(kPart);
  EXPECT_TRUE(map.empty());
  EXPECT_FALSE(map.find(0, UINT64_MAX));
  map.mark(kPart + 1, 2 * kPart);  // touches three
  EXPECT_EQ(map.dirty_bytes(), 3u * kPart);
  auto range = map.find(0, UINT64_MAX);
  ASSERT_TRUE(range);
  EXPECT_EQ(range->offset, kPart);
  EXPECT_EQ(range->length, 3u * kPart);
  range = map.find(2 * kPart + 5, kPart);
  ASSERT_TRUE(range);
  EXPECT_EQ(range->offset, 2u * kPart);
  EXPECT_EQ(range->length, kPart);
  EXPECT_FALSE(map.find(4 * kPart, UINT64_MAX));
  map.clear(2 * kPart, kPart);
  EXPECT_EQ(map.find(0, UINT64_MAX)->length, kPart);
  EXPECT_EQ(map.find(2 * kPart, UINT64_MAX)->offset, 3u * kPart);
  map.clear(0, 100 * kPart);
  EXPECT_TRUE(map.empty());
}

TEST(DirtyMapTest, MarkingNothingMarksNothing) {
  DirtyMap map(kPart);
  map.mark(77, 0);
  map.clear(0, 0);
  EXPECT_TRUE(map.empty());
}

// Against a set of part numbers, over a range wide enough for four levels.
TEST(DirtyMapTest, AgreesWithASet) {
  DirtyMap map(kPart);
  std::set<uint64_t> model;
  std::mt19937_64 random(7);
  const auto draw_part = [&] {
    const unsigned bits = static_cast<unsigned>(random() % 21);
    return random() & ((uint64_t{1} << bits) - 1);
  };
  for (int step = 0; step < 20000; ++step) {
    const uint64_t first = draw_part();
    const uint64_t count = 1 + (random() % 8 == 0 ? random() % 300 : random() % 3);
    switch (random() % 3) {
      case 0:
        map.mark(first * kPart, count * kPart);
        for (uint64_t part = first; part < first + count; ++part) model.insert(part);
        break;
      case 1:
        map.clear(first * kPart, count * kPart);
        model.erase(model.lower_bound(first), model.lower_bound(first + count));
        break;
      default: {
        const auto range = map.find(first * kPart, count * kPart);
        const auto at = model.lower_bound(first);
        ASSERT_EQ(range.has_value(), at != model.end());
        if (!range) break;
        ASSERT_EQ(range->offset, *at * kPart);
        uint64_t end = *at + 1;
        while (end - *at < count && model.contains(end)) ++end;
        ASSERT_EQ(range->length, (end - *at) * kPart);
      }
    }
    ASSERT_EQ(map.dirty_bytes(), model.size() * kPart);
  }
}

TEST(DirtyMapTest, GranularityGrowsWithTheDisk) {
  EXPECT_EQ(dirty_granularity_bytes(0), 65536u);
  EXPECT_EQ(dirty_granularity_bytes(uint64_t{2} << 40), 65536u);
  EXPECT_EQ(dirty_granularity_bytes(uint64_t{16} << 40), 524288u);
}

class DirtyTrackerTest : public Lab {
 protected:
  void SetUp() override {
    make_image("disk", 8 * kFakeCluster);
    NodeOptions options;
    options.unmap = true;
    node_ = add(spec("disk", "fake", path("disk"), options));
    ASSERT_TRUE(attach(root_, node_, kWrite));
    run_io(start());
  }
  void TearDown() override {
    run_io(stop());
    detach(root_);
  }
  Task<void> start() {
    tracker_.emplace(*node_, 65536);
    co_return;
  }
  Task<void> stop() {
    tracker_.reset();
    co_return;
  }
  Task<std::vector<uint64_t>> take_all() {
    std::vector<uint64_t> parts;
    while (const auto range = tracker_->take(65536)) parts.push_back(range->offset / 65536);
    co_return parts;
  }
  Task<Result<>> zero_and_discard() {
    CO_TRY(co_await root_.write_zeroes(2 * kFakeCluster, 512, flag::kNone));
    co_return co_await root_.discard(3 * kFakeCluster, kFakeCluster, flag::kNone);
  }
  // Closes the fake format's writes, starts one, looks, and lets it go.
  Task<void> look_while_a_write_is_held(bool& marked_before, bool& marked_after) {
    FakeHooks& hooks = fake_hooks("disk");
    hooks.writes.close();
    async::TaskScope scope;
    scope.spawn(write_one());
    while (hooks.writes_begun == 0) co_await async::Loop::current().yield();
    marked_before = !tracker_->map().empty();
    hooks.writes.open();
    co_await scope.join();
    marked_after = !tracker_->map().empty();
  }
  Task<void> write_one() {
    std::string bytes(512, 'x');
    const IoVec iov(bytes.data(), bytes.size());
    (void)co_await root_.write(0, iov, flag::kNone);
  }

  Node* node_ = nullptr;
  Root root_{"block export 'e0'"};
  std::optional<DirtyTracker> tracker_;
};

TEST_F(DirtyTrackerTest, EveryMutationIsMarked) {
  ASSERT_TRUE(write(root_, 5 * kFakeCluster - 1, 2, 'A'));
  ASSERT_TRUE(run_io(zero_and_discard()));
  EXPECT_EQ(run_io(take_all()), (std::vector<uint64_t>{2, 3, 4, 5}));
  EXPECT_EQ(run_io(take_all()), (std::vector<uint64_t>{}));
}

TEST_F(DirtyTrackerTest, MarksAtTheEndOfTheRequest) {
  bool before = true;
  bool after = false;
  run_io(look_while_a_write_is_held(before, after));
  EXPECT_FALSE(before);
  EXPECT_TRUE(after);
}

TEST_F(DirtyTrackerTest, AFailedWriteMarksToo) {
  fake_hooks("disk").fail_writes = true;
  EXPECT_FALSE(write(root_, 0, 512, 'A'));
  EXPECT_EQ(run_io(take_all()), (std::vector<uint64_t>{0}));
}

TEST_F(DirtyTrackerTest, TakingGoesRoundAndStaysWithinTheDisk) {
  ASSERT_TRUE(write(root_, 7 * kFakeCluster, 512, 'A'));
  EXPECT_EQ(run_io(take_all()), (std::vector<uint64_t>{7}));
  ASSERT_TRUE(write(root_, 0, 512, 'A'));
  EXPECT_EQ(run_io(take_all()), (std::vector<uint64_t>{0}));
}

}  // namespace
}  // namespace firn::block
