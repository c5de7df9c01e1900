#include "drivers/qcow2/snapshots.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <random>

#include "async/scope.h"
#include "async/testing.h"
#include "block/internal_snapshot.h"
#include "drivers/qcow2/test_image.h"

namespace firn::qcow2 {
namespace {

using async::TaskScope;
using async::testing::run_on_loop;
using block::InternalSnapshotSpec;
using block::take_internal_snapshot;
using testing::create_image;
using testing::CreateOptionList;
using testing::Directory;
using ::testing::HasSubstr;
using testing::must;
using testing::Opened;
using testing::pattern;
using testing::shell;
using Bytes = std::vector<std::byte>;

#define ASSERT_DONE(result) \
  if (const auto& r = (result); !r) FAIL() << r.error().text()

constexpr uint64_t kDiskBytes = 4 << 20;
constexpr uint64_t kBlock = 4096;

// A disk with random writes, snapshots and reverts, and what each should hold.
class Workload {
 public:
  Workload(std::string path, uint64_t seed) : path_(std::move(path)), random_(seed) {}

  Task<Result<>> run(int rounds) {
    opened_ = CO_TRY(co_await Opened::open(path_));
    for (int round = 0; round < rounds; ++round) {
      for (int i = 0; i < 10; ++i) CO_TRY(co_await change());
      switch (random_() % 5) {
        case 0:
        case 1:
          CO_TRY(co_await take());
          break;
        case 2:
          CO_TRY(co_await remove());
          break;
        case 3:
          CO_TRY(co_await revert());
          break;
        default:
          CO_TRY(co_await opened_->image().flush());
      }
      if (random_() % 6 != 0) continue;
      CO_TRY(co_await opened_->close());
      opened_ = CO_TRY(co_await Opened::open(path_));
    }
    const Bytes now = CO_TRY(co_await opened_->read(0, kDiskBytes));
    EXPECT_TRUE(now == disk_) << "the disk differs";
    co_return co_await opened_->close();
  }

  const Bytes& disk() const { return disk_; }
  // By id.
  const std::map<std::string, Bytes>& snapshots() const { return snapshots_; }

 private:
  Task<Result<>> change() {
    const uint64_t offset = random_() % (kDiskBytes / kBlock) * kBlock;
    const uint64_t most = random_() % 4 == 0 ? kDiskBytes / 8 : 8 * kBlock;
    const uint64_t length =
        std::min(kDiskBytes - offset, (1 + random_() % (most / kBlock)) * kBlock);
    if (random_() % 4 == 0) {
      std::fill_n(disk_.begin() + static_cast<ptrdiff_t>(offset), length, std::byte{0});
      co_return co_await opened_->image().write_zeroes(offset, length, block::flag::kMayUnmap);
    }
    Bytes bytes = pattern(length, random_());
    std::ranges::copy(bytes, disk_.begin() + static_cast<ptrdiff_t>(offset));
    co_return co_await opened_->write(offset, std::move(bytes));
  }

  Task<void> change_aside(Result<>& result) {
    for (int i = 0; i < 10 && result; ++i) result = co_await change();
    if (result) result = co_await opened_->image().flush();
  }

  Task<Result<>> take() {
    Image& image = opened_->image();
    CO_TRY(co_await image.snapshot_prepare(
        {.name = fmt::format("s{}", ++taken_), .date_s = 1'700'000'000}));
    Bytes then = disk_;
    image.snapshot_take();
    Result<> aside;
    TaskScope scope;
    scope.spawn(change_aside(aside));
    Result<block::InternalSnapshotFacts> stored = co_await image.snapshot_store();
    co_await scope.join();
    CO_TRY(std::move(aside));
    snapshots_[CO_TRY(std::move(stored)).id] = std::move(then);
    co_return Result<>{};
  }

  std::string any() {
    const auto at = static_cast<ptrdiff_t>(random_() % snapshots_.size());
    return std::next(snapshots_.begin(), at)->first;
  }

  Task<Result<>> remove() {
    if (snapshots_.empty()) co_return Result<>{};
    const std::string id = any();
    snapshots_.erase(id);
    Result<> aside;
    TaskScope scope;
    scope.spawn(change_aside(aside));
    Result<> removed = co_await opened_->image().snapshot_delete(id);
    co_await scope.join();
    CO_TRY(std::move(aside));
    co_return removed;
  }

  Task<Result<>> revert() {
    if (snapshots_.empty()) co_return Result<>{};
    const std::string id = any();
    CO_TRY(co_await opened_->image().snapshot_revert(id));
    disk_ = snapshots_[id];
    co_return Result<>{};
  }

  const std::string path_;
  std::mt19937_64 random_;
  std::unique_ptr<Opened> opened_;
  Bytes disk_ = Bytes(kDiskBytes);
  std::map<std::string, Bytes> snapshots_;
  int taken_ = 0;
};

Bytes content_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const auto* bytes = reinterpret_cast<const std::byte*>(text.data());
  return {bytes, bytes + text.size()};
}

struct Shape {
  const char* name;
  CreateOptionList options;
};

class SnapshotsTest : public ::testing::TestWithParam<Shape> {
 protected:
  void SetUp() override { FIRN_NEEDS_QEMU(); }
  void expect_clean() {
    EXPECT_THAT(must("qemu-img check " + path_), HasSubstr("No errors were found"));
  }
  void expect_content(const Bytes& expected, const std::string& snapshot) {
    const std::string raw = directory_.path("out.raw");
    const std::string which = snapshot.empty() ? "" : "-l snapshot.id=" + snapshot + " ";
    must("qemu-img convert " + which + "-O raw " + path_ + " " + raw);
    EXPECT_TRUE(content_of(raw) == expected) << "snapshot '" << snapshot << "' differs";
  }
  const Directory directory_;
  const std::string path_ = directory_.path("a.qcow2");
};

TEST_P(SnapshotsTest, QemuReadsAllOfThem) {
  ASSERT_DONE(run_on_loop(create_image(path_, kDiskBytes, GetParam().options)));
  Workload workload(path_, 7);
  ASSERT_DONE(run_on_loop(workload.run(12)));
  expect_clean();
  ASSERT_FALSE(workload.snapshots().empty());
  expect_content(workload.disk(), "");
  for (const auto& [id, content] : workload.snapshots()) expect_content(content, id);
}

Task<Result<>> delete_first_and_revert_to_second(std::string path) {
  auto image = CO_TRY(co_await Opened::open(std::move(path)));
  const auto snapshots = image->image().snapshots();
  EXPECT_EQ(snapshots.size(), 2u);
  EXPECT_EQ(snapshots[0].name, "one");
  CO_TRY(co_await image->write(123 * 4096, pattern(kBlock, 99)));
  CO_TRY(co_await image->image().snapshot_delete(snapshots[0].id));
  CO_TRY(co_await image->write(0, pattern(1 << 20, 98)));
  CO_TRY(co_await image->image().snapshot_revert(snapshots[1].id));
  co_return co_await image->close();
}

TEST_P(SnapshotsTest, ThoseOfQemuAreDeletedAndRevertedTo) {
  ASSERT_DONE(run_on_loop(create_image(path_, kDiskBytes, GetParam().options)));
  must("qemu-io -c 'write -P 1 0 3M' " + path_ + " && qemu-img snapshot -c one " + path_ +
       " && qemu-io -c 'write -P 2 1M 1M' " + path_ + " && qemu-img snapshot -c two " + path_);
  ASSERT_DONE(run_on_loop(delete_first_and_revert_to_second(path_)));
  expect_clean();
  EXPECT_THAT(
      must("qemu-io -c 'read -P 1 0 1M' -c 'read -P 2 1M 1M' -c 'read -P 1 2M 1M' " + path_),
      ::testing::Not(HasSubstr("failed")));
  const std::string list = must("qemu-img snapshot -l " + path_);
  EXPECT_THAT(list, HasSubstr("two"));
  EXPECT_THAT(list, ::testing::Not(HasSubstr("one")));
}

Task<Result<>> take_one(std::string path, InternalSnapshotSpec spec) {
  auto image = CO_TRY(co_await Opened::open(std::move(path)));
  Result<block::InternalSnapshotReport> taken =
      co_await take_internal_snapshot(image->image(), std::move(spec));
  CO_TRY(co_await image->close());
  CO_TRY(std::move(taken));
  co_return Result<>{};
}

TEST_P(SnapshotsTest, QemuAppliesAndDeletesOurs) {
  ASSERT_DONE(run_on_loop(create_image(path_, kDiskBytes, GetParam().options)));
  must("qemu-io -c 'write -P 1 0 3M' " + path_);
  const InternalSnapshotSpec spec{.name = "nightly",
                                  .date_s = 1'700'000'000,
                                  .date_ns = 5,
                                  .vm_clock_ns = 3'723'004'000'000,
                                  .icount = 42};
  ASSERT_DONE(run_on_loop(take_one(path_, spec)));
  expect_clean();
  const std::string list = must("TZ=UTC qemu-img snapshot -l " + path_);
  EXPECT_THAT(list, HasSubstr("nightly"));
  EXPECT_THAT(list, HasSubstr("2023-11-14 22:13:20"));
  EXPECT_THAT(list, HasSubstr("01:02:03.004"));
  must("qemu-io -c 'write -P 2 1M 1M' " + path_ + " && qemu-img snapshot -a nightly " + path_);
  expect_clean();
  EXPECT_THAT(must("qemu-io -c 'read -P 1 0 3M' " + path_), ::testing::Not(HasSubstr("failed")));
  must("qemu-img snapshot -d nightly " + path_);
  expect_clean();
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, SnapshotsTest,
    ::testing::Values(Shape{"Default", {}}, Shape{"Subclusters", {{"extended_l2", "on"}}},
                      Shape{"SmallClusters", {{"cluster_size", "4k"}}},
                      Shape{"Version2", {{"compat", "0.10"}}},
                      Shape{"NarrowRefcounts", {{"refcount_bits", "8"}}},
                      Shape{"WideRefcounts", {{"cluster_size", "512"}, {"refcount_bits", "64"}}}),
    [](const auto& info) { return std::string(info.param.name); });

class SnapshotLimitsTest : public SnapshotsTest {};

// Failures --------------------------------------------------------------------------------------

TEST_P(SnapshotLimitsTest, AnImageThatCountsToOneHasNone) {
  ASSERT_DONE(run_on_loop(create_image(path_, kDiskBytes, {{"refcount_bits", "1"}})));
  const Result<> taken = run_on_loop(take_one(path_, {.name = "s"}));
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().text(), "an image with refcount_bits=1 can't have internal snapshots");
  expect_clean();
}

// Two bits count to three: the disk and two snapshots. The third is taken back.
TEST_P(SnapshotLimitsTest, AFullRefcountLeavesNoTrace) {
  ASSERT_DONE(run_on_loop(create_image(path_, kDiskBytes, {{"refcount_bits", "2"}})));
  must("qemu-io -c 'write -P 1 0 3M' " + path_);
  ASSERT_DONE(run_on_loop(take_one(path_, {.name = "a"})));
  must("qemu-io -c 'write -P 1 3M 1M' " + path_);
  ASSERT_DONE(run_on_loop(take_one(path_, {.name = "b"})));
  must("qemu-io -c 'write -P 3 1M 1M' " + path_);
  const Result<> taken = run_on_loop(take_one(path_, {.name = "c"}));
  ASSERT_FALSE(taken);
  EXPECT_THAT(taken.error().text(), HasSubstr("in use as often as 2 bits can count"));
  expect_clean();
  EXPECT_THAT(must("qemu-img snapshot -l " + path_), ::testing::Not(HasSubstr(" c ")));
  must("qemu-io -c 'write -P 4 0 4M' " + path_);
  expect_clean();
}

INSTANTIATE_TEST_SUITE_P(Once, SnapshotLimitsTest, ::testing::Values(Shape{"Default", {}}),
                         [](const auto& info) { return std::string(info.param.name); });

// Sizes -----------------------------------------------------------------------------------------

Task<Result<>> grow_and_revert(std::string path) {
  auto image = CO_TRY(co_await Opened::open(std::move(path)));
  CO_TRY(co_await image->write(0, pattern(1 << 20, 1)));
  CO_TRY(co_await take_internal_snapshot(image->image(), {.name = "small"}));
  CO_TRY(co_await image->image().resize(uint64_t{8} << 30));
  CO_TRY(co_await image->write(uint64_t{7} << 30, pattern(1 << 20, 2)));
  CO_TRY(co_await take_internal_snapshot(image->image(), {.name = "large"}));
  CO_TRY(co_await image->image().snapshot_revert("1"));
  EXPECT_EQ(image->image().size_bytes(), kDiskBytes);
  EXPECT_TRUE(CO_TRY(co_await image->read(0, 1 << 20)) == pattern(1 << 20, 1));
  CO_TRY(co_await image->image().snapshot_revert("2"));
  EXPECT_EQ(image->image().size_bytes(), uint64_t{8} << 30);
  EXPECT_TRUE(CO_TRY(co_await image->read(uint64_t{7} << 30, 1 << 20)) == pattern(1 << 20, 2));
  co_return co_await image->close();
}

TEST_P(SnapshotLimitsTest, ASnapshotHasItsOwnSize) {
  ASSERT_DONE(run_on_loop(create_image(path_, kDiskBytes)));
  ASSERT_DONE(run_on_loop(grow_and_revert(path_)));
  expect_clean();
}

}  // namespace
}  // namespace firn::qcow2
