// Internal snapshots and power cuts: at any moment the image is right or says that it is dirty, in
// which case opening it for writing makes it right; the disk holds what it may; each snapshot that
// was reported is there, whole, and none is there in parts. Links the library with canaries.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <random>

#include "async/scope.h"
#include "async/testing.h"
#include "base/canary.h"
#include "block/internal_snapshot.h"
#include "drivers/qcow2/check.h"
#include "drivers/qcow2/crash_stack.h"
#include "drivers/qcow2/create.h"

namespace firn::qcow2 {
namespace {

using async::TaskScope;
using async::testing::run_on_loop;
using testing::Bytes;
using testing::kSector;
using testing::Ledger;
using testing::Stack;

constexpr uint64_t kDiskBytes = 1 << 20;
constexpr uint64_t kSectors = kDiskBytes / kSector;

class SnapshotCrashRun {
 public:
  explicit SnapshotCrashRun(uint64_t seed)
      : random_(seed), seed_(seed), now_{Ledger(kSectors), {}, {}} {}

  // The first thing that is wrong after a cut, or nothing.
  Task<std::string> run() {
    const block::DriverEntry::CreateRequest request{.size_bytes = kDiskBytes, .options = options()};
    Bytes made;
    {
      Stack empty({}, seed_, false);
      if (!co_await create(empty.node.children().file, request)) co_return "create failed";
      made = empty.file->cut();
    }
    Stack stack(std::move(made), seed_, true);
    if (!co_await stack.open()) co_return "open failed";
    const int rounds = 2 + static_cast<int>(random_() % 10);
    for (int round = 0; round < rounds && wrong_.empty(); ++round) {
      TaskScope scope;
      taken_.assign(kSectors, false);
      if (round + 1 == rounds) scope.spawn(cut_somewhere(*stack.file));
      if (random_() % 4 == 0) {
        scope.spawn(revert(*stack.image));
      } else {
        for (int i = 0; i < 12; ++i) start_step(*stack.image, scope);
        if (random_() % 3 == 0) scope.spawn(flush(*stack.image));
        if (random_() % 2 == 0) scope.spawn(change_snapshots(*stack.image));
      }
      co_await scope.join();
    }
    if (wrong_.empty()) wrong_ = co_await judge();
    (void)co_await stack.image->close();
    co_return wrong_;
  }

 private:
  using Content = std::vector<Ledger::Ids>;
  struct State {
    Ledger disk;
    // By id. What was deleted may be there until that is reported.
    std::map<std::string, Content> stored;
    std::map<std::string, Content> perhaps;
  };

  std::vector<std::pair<std::string, std::string>> options() const {
    switch (seed_ % 3) {
      case 0:
        return {{"cluster_size", "4k"}};
      case 1:
        return {{"cluster_size", "16k"}, {"extended_l2", "on"}};
      default:
        return {{"cluster_size", "512"}, {"refcount_bits", "64"}};
    }
  }

  void fail(const Result<>& result) {
    if (!result && wrong_.empty()) wrong_ = result.error().text();
  }

  void start_step(Image& image, TaskScope& scope) {
    const uint64_t length = 1 + random_() % (random_() % 4 == 0 ? kSectors / 5 : 24);
    const uint64_t first = random_() % (kSectors - length + 1);
    for (uint64_t i = 0; i < length; ++i) {
      if (taken_[first + i]) return;
    }
    const uint32_t id = random_() % 4 == 0 ? 0 : next_id_++;
    for (uint64_t i = 0; i < length; ++i) {
      taken_[first + i] = true;
      now_.disk.issue(first + i, id);
    }
    scope.spawn(step(image, first, length, id));
  }

  Task<void> step(Image& image, uint64_t first, uint64_t length, uint32_t id) {
    for (uint64_t turns = random_() % 30; turns != 0; --turns) {
      co_await async::Loop::current().yield();
    }
    if (id == 0) {
      fail(co_await image.write_zeroes(first * kSector, length * kSector, block::flag::kMayUnmap));
    } else {
      Bytes bytes(length * kSector);
      for (uint64_t at = 0; at < bytes.size(); at += 4) std::memcpy(bytes.data() + at, &id, 4);
      const IoVec iov{base::ConstByteSpan(bytes)};
      fail(co_await image.write(first * kSector, iov, block::flag::kNone));
    }
    for (uint64_t i = 0; i < length; ++i) now_.disk.acknowledge(first + i);
  }

  Task<void> flush(Image& image) {
    const std::vector<size_t> covered = now_.disk.begin_flush();
    fail(co_await image.flush());
    now_.disk.end_flush(covered);
  }

  Content content() const {
    Content all(kSectors);
    for (uint64_t i = 0; i < kSectors; ++i) all[i] = now_.disk.now(i);
    return all;
  }

  Task<void> change_snapshots(Image& image) {
    if (!now_.stored.empty() && random_() % 2 == 0) {
      co_await remove(image);
    } else {
      co_await take(image);
    }
  }

  Task<void> take(Image& image) {
    Result<uint64_t> prepared = co_await image.snapshot_prepare({.name = "s", .date_s = 1});
    if (!prepared) co_return fail(std::unexpected(prepared.error()));
    if (random_() % 6 == 0) co_return co_await image.snapshot_cancel();
    Content then = content();
    image.snapshot_take();
    // Nobody knows its id yet.
    now_.perhaps[std::to_string(next_snapshot())] = then;
    TaskScope aside;
    aside.spawn(use(image));
    auto stored = co_await image.snapshot_store();
    co_await aside.join();
    if (!stored) co_return fail(std::unexpected(stored.error()));
    now_.perhaps.clear();
    now_.stored[stored->id] = std::move(then);
  }

  // Writes over what a snapshot that is being stored has.
  Task<void> use(Image& image) {
    for (int round = 0; round < 3; ++round) {
      TaskScope scope;
      for (int i = 0; i < 4; ++i) start_step(image, scope);
      co_await scope.join();
      co_await flush(image);
    }
  }

  uint64_t next_snapshot() const {
    uint64_t highest = 0;
    for (const auto& [id, content] : now_.stored) highest = std::max(highest, std::stoul(id));
    return highest + 1;
  }

  std::string any_snapshot() {
    return std::next(now_.stored.begin(), static_cast<long>(random_() % now_.stored.size()))->first;
  }

  Task<void> remove(Image& image) {
    const std::string id = any_snapshot();
    now_.perhaps.insert(now_.stored.extract(id));
    fail(co_await image.snapshot_delete(id));
    now_.perhaps.clear();
  }

  Task<void> revert(Image& image) {
    if (now_.stored.empty()) co_return;
    const std::string id = any_snapshot();
    const Content& content = now_.stored[id];
    for (uint64_t i = 0; i < kSectors; ++i) now_.disk.issue(i, content[i]);
    fail(co_await image.snapshot_revert(id));
    for (uint64_t i = 0; i < kSectors; ++i) now_.disk.acknowledge(i);
    now_.disk.end_flush(now_.disk.begin_flush());
  }

  Task<void> cut_somewhere(testing::VolatileFile& file) {
    for (uint64_t turns = random_() % 200; turns != 0; --turns) {
      co_await async::Loop::current().yield();
    }
    left_ = file.cut();
    at_cut_ = now_;
  }

  Task<std::string> judge() {
    Stack stack(left_, seed_, false);
    Result<CheckReport> report = co_await check(stack.node.children().file);
    if (!report) co_return report.error().text();
    if (Result<> opened = co_await stack.open(); !opened) co_return opened.error().text();
    const bool was_dirty = (left_[79] & std::byte{1}) != std::byte{0};
    if (report->corruptions != 0 && !was_dirty) co_return report->findings.front();
    if (was_dirty) {
      report = co_await check(stack.node.children().file);
      if (!report->is_clean()) co_return "after repair: " + report->findings.front();
    }
    std::string wrong = co_await compare_disk(*stack.image);
    if (wrong.empty()) wrong = co_await compare_snapshots(*stack.image);
    Result<> closed = co_await stack.image->close();
    if (wrong.empty() && !closed) wrong = closed.error().text();
    if (!wrong.empty()) co_return wrong;
    report = co_await check(stack.node.children().file);
    if (!report) co_return report.error().text();
    if (report->corruptions != 0) co_return "at the end: " + report->findings.front();
    co_return "";
  }

  static Task<Result<std::vector<uint32_t>>> read_all(Image& image) {
    std::vector<uint32_t> ids(kDiskBytes / 4);
    const IoVec iov(reinterpret_cast<std::byte*>(ids.data()), kDiskBytes);
    CO_TRY(co_await image.read(0, iov, block::flag::kNone));
    co_return ids;
  }

  Task<std::string> compare_disk(Image& image) {
    const auto ids = co_await read_all(image);
    if (!ids) co_return ids.error().text();
    for (uint64_t i = 0; i < ids->size(); ++i) {
      if (!at_cut_->disk.allows(i * 4 / kSector, (*ids)[i])) {
        co_return fmt::format("sector {} holds {}, which it may not", i * 4 / kSector, (*ids)[i]);
      }
    }
    co_return "";
  }

  Task<std::string> compare_snapshots(Image& image) {
    std::map<std::string, Content> missing = at_cut_->stored;
    for (const block::InternalSnapshotFacts& snapshot : image.snapshots()) {
      Content content;
      if (const auto found = missing.find(snapshot.id); found != missing.end()) {
        content = found->second;
        missing.erase(found);
      } else if (at_cut_->perhaps.contains(snapshot.id)) {
        content = at_cut_->perhaps[snapshot.id];
      } else {
        co_return fmt::format("nobody made snapshot {}", snapshot.id);
      }
      if (Result<> done = co_await image.snapshot_revert(snapshot.id); !done) {
        co_return done.error().text();
      }
      const auto ids = co_await read_all(image);
      if (!ids) co_return ids.error().text();
      for (uint64_t i = 0; i < ids->size(); ++i) {
        if (!content[i * 4 / kSector].contains((*ids)[i])) {
          co_return fmt::format("snapshot {}: sector {} holds {}, which it may not", snapshot.id,
                                i * 4 / kSector, (*ids)[i]);
        }
      }
    }
    if (!missing.empty()) co_return fmt::format("snapshot {} is lost", missing.begin()->first);
    co_return "";
  }

  std::mt19937_64 random_;
  const uint64_t seed_;
  State now_;
  std::optional<State> at_cut_;
  Bytes left_;
  std::string wrong_;
  std::vector<bool> taken_;  // sectors that are being written
  uint32_t next_id_ = 1;
};

// The first seed of `count` that goes wrong, and how; or nothing.
std::optional<std::string> first_failure(uint64_t count) {
  for (uint64_t seed = 1; seed <= count; ++seed) {
    SnapshotCrashRun run(seed);
    const std::string wrong = run_on_loop(run.run());
    if (!wrong.empty()) return fmt::format("seed {}: {}", seed, wrong);
  }
  return std::nullopt;
}

constexpr uint64_t kSeeds = 40;

TEST(SnapshotCrash, ImageAndSnapshotsAreRightAtAnyMoment) {
  const std::optional<std::string> wrong = first_failure(kSeeds);
  EXPECT_FALSE(wrong) << *wrong;
}

class SnapshotCanaryTest : public ::testing::Test {
 protected:
  ~SnapshotCanaryTest() override { base::canaries = {}; }
};

TEST_F(SnapshotCanaryTest, ASnapshotBeforeItsRefcountsIsNoticed) {
  base::canaries.snapshot_before_refcounts = true;
  EXPECT_TRUE(first_failure(kSeeds));
}

TEST_F(SnapshotCanaryTest, LettingGoBeforeCountingIsNoticed) {
  base::canaries.snapshot_lets_go_early = true;
  EXPECT_TRUE(first_failure(kSeeds * 5));
}

}  // namespace
}  // namespace firn::qcow2
