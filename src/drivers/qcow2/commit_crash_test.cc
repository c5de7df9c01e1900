// Power cuts: an image on a store that forgets what was not flushed, in any order and in parts, is
// right at any moment. Links the library with canaries, so that each rule can be broken to see that
// this test would notice.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>

#include "async/scope.h"
#include "async/testing.h"
#include "base/canary.h"
#include "drivers/qcow2/check.h"
#include "drivers/qcow2/crash_stack.h"
#include "drivers/qcow2/create.h"
#include "drivers/qcow2/image.h"

namespace firn::qcow2 {
namespace {

using async::TaskScope;
using async::testing::run_on_loop;
using testing::Bytes;
using testing::kSector;
using testing::Ledger;
using testing::Stack;

class CrashRun {
 public:
  explicit CrashRun(uint64_t seed)
      : random_(seed),
        seed_(seed),
        // Small clusters with wide refcounts: the refcount table outgrows its place.
        disk_bytes_(seed % 4 == 2 ? 4 << 20 : 1 << 20),
        size_(disk_bytes_ / 2),
        ledger_(disk_bytes_ / kSector) {}

  // The first thing that is wrong after a cut, or nothing.
  Task<std::string> run() {
    block::DriverEntry::CreateRequest request{.size_bytes = size_, .options = options()};
    Bytes made;
    {
      Stack empty({}, seed_, false);
      if (!co_await create(empty.node.children().file, request)) co_return "create failed";
      made = empty.file->cut();
    }
    Stack stack(std::move(made), seed_, true);
    if (!co_await stack.open()) co_return "open failed";
    std::string wrong;
    const int cuts_after = 2 + static_cast<int>(random_() % 12);
    const int grows_at = static_cast<int>(random_() % 8);
    for (int round = 0; round < cuts_after; ++round) {
      TaskScope scope;
      std::vector<bool> taken(ledger_.sectors());
      for (int i = 0; i < 16; ++i) start_step(*stack.image, scope, taken);
      if (random_() % 3 == 0) scope.spawn(flush(*stack.image));
      if (round == grows_at) scope.spawn(grow(*stack.image));
      if (round + 1 == cuts_after) scope.spawn(cut_somewhere(*stack.file));
      co_await scope.join();
      if (random_() % 3 == 0) co_await flush(*stack.image);
    }
    wrong = co_await judge();
    (void)co_await stack.image->close();
    co_return wrong;
  }

 private:
  std::vector<std::pair<std::string, std::string>> options() const {
    switch (seed_ % 4) {
      case 0:
        return {{"cluster_size", "4k"}};
      case 1:
        return {{"cluster_size", "16k"}, {"extended_l2", "on"}};
      case 2:
        return {{"cluster_size", "512"}, {"refcount_bits", "64"}};
      default:
        return {{"cluster_size", "64k"}, {"refcount_bits", "64"}};
    }
  }

  void start_step(Image& image, TaskScope& scope, std::vector<bool>& taken) {
    const uint64_t length = 1 + random_() % (random_() % 4 == 0 ? size_ / kSector / 5 : 24);
    const uint64_t first = random_() % (size_ / kSector - length + 1);
    for (uint64_t i = 0; i < length; ++i) {
      if (taken[first + i]) return;
    }
    const bool zero = random_() % 4 == 0;
    const uint32_t id = zero ? 0 : next_id_++;
    for (uint64_t i = 0; i < length; ++i) {
      taken[first + i] = true;
      ledger_.issue(first + i, id);
    }
    scope.spawn(step(image, first, length, id));
  }

  Task<void> step(Image& image, uint64_t first, uint64_t length, uint32_t id) {
    Result<> done;
    if (id == 0) {
      done = co_await image.write_zeroes(first * kSector, length * kSector, block::flag::kMayUnmap);
    } else {
      Bytes bytes(length * kSector);
      for (uint64_t at = 0; at < bytes.size(); at += 4) std::memcpy(bytes.data() + at, &id, 4);
      const IoVec iov{base::ConstByteSpan(bytes)};
      done = co_await image.write(first * kSector, iov, block::flag::kNone);
    }
    if (!done) ADD_FAILURE() << done.error().text();
    for (uint64_t i = 0; i < length; ++i) ledger_.acknowledge(first + i);
  }

  Task<void> grow(Image& image) {
    Result<> done = co_await image.resize(disk_bytes_);
    if (!done) ADD_FAILURE() << done.error().text();
    size_ = disk_bytes_;
  }

  Task<void> flush(Image& image) {
    const std::vector<size_t> covered = ledger_.begin_flush();
    Result<> done = co_await image.flush();
    if (!done) ADD_FAILURE() << done.error().text();
    ledger_.end_flush(covered);
  }

  Task<void> cut_somewhere(testing::VolatileFile& file) {
    for (uint64_t turns = random_() % 60; turns != 0; --turns) {
      co_await async::Loop::current().yield();
    }
    left_ = file.cut();
    ledger_at_cut_ = ledger_;
  }

  Task<std::string> judge() {
    Stack stack(left_, seed_, false);
    Result<CheckReport> report = co_await check(stack.node.children().file);
    if (!report) co_return report.error().text();
    if (report->corruptions != 0) co_return report->findings.front();
    if (Result<> opened = co_await stack.open(); !opened) co_return opened.error().text();
    Bytes bytes(stack.image->size_bytes());
    const IoVec iov{base::ByteSpan(bytes)};
    Result<> read = co_await stack.image->read(0, iov, block::flag::kNone);
    (void)co_await stack.image->close();
    if (!read) co_return read.error().text();
    for (uint64_t at = 0; at < bytes.size(); at += 4) {
      uint32_t id;
      std::memcpy(&id, bytes.data() + at, 4);
      if (!ledger_at_cut_->allows(at / kSector, id)) {
        co_return fmt::format("sector {} holds {}, which it may not", at / kSector, id);
      }
    }
    co_return "";
  }

  std::mt19937_64 random_;
  const uint64_t seed_;
  const uint64_t disk_bytes_;
  uint64_t size_;  // now
  Ledger ledger_;
  std::optional<Ledger> ledger_at_cut_;
  Bytes left_;
  uint32_t next_id_ = 1;
};

// The first seed of `count` that goes wrong, and how; or nothing.
std::optional<std::string> first_failure(uint64_t count) {
  for (uint64_t seed = 1; seed <= count; ++seed) {
    CrashRun run(seed);
    const std::string wrong = run_on_loop(run.run());
    if (!wrong.empty()) return fmt::format("seed {}: {}", seed, wrong);
  }
  return std::nullopt;
}

constexpr uint64_t kSeeds = 200;

TEST(Crash, ImageIsRightAtAnyMoment) {
  const std::optional<std::string> wrong = first_failure(kSeeds);
  EXPECT_FALSE(wrong) << *wrong;
}

class CanaryTest : public ::testing::Test {
 protected:
  ~CanaryTest() override { base::canaries = {}; }
};

TEST_F(CanaryTest, L2BeforeRefcountIsNoticed) {
  base::canaries.l2_before_refcount = true;
  EXPECT_TRUE(first_failure(kSeeds));
}

TEST_F(CanaryTest, L2BeforeDataIsNoticed) {
  base::canaries.l2_before_data = true;
  EXPECT_TRUE(first_failure(kSeeds));
}

TEST_F(CanaryTest, FreedClusterReusedEarlyIsNoticed) {
  base::canaries.freed_cluster_reused_early = true;
  EXPECT_TRUE(first_failure(kSeeds * 3));
}

// Errors of the store ---------------------------------------------------------------------------

Task<Result<std::unique_ptr<Stack>>> fresh_stack() {
  block::DriverEntry::CreateRequest request{.size_bytes = 1 << 20};
  Bytes made;
  {
    Stack empty({}, 1, false);
    CO_TRY(co_await create(empty.node.children().file, request));
    made = empty.file->cut();
  }
  auto stack = std::make_unique<Stack>(std::move(made), 1, false);
  CO_TRY(co_await stack->open());
  co_return stack;
}

Task<Result<>> write_at(Stack& stack, uint64_t offset) {
  const Bytes bytes(4096, std::byte{1});
  const IoVec iov{base::ConstByteSpan(bytes)};
  co_return co_await stack.image->write(offset, iov, block::flag::kNone);
}

Task<Result<>> full_store() {
  auto stack = CO_TRY(co_await fresh_stack());
  CO_TRY(co_await write_at(*stack, 0));
  stack->file->fail_writes = true;
  const Result<> written = co_await write_at(*stack, 1 << 19);
  EXPECT_FALSE(written);
  if (!written) EXPECT_EQ(written.error().kind(), base::ErrorKind::kNoSpace);
  EXPECT_FALSE(co_await stack->image->flush());
  // With room again all is well: the tables are written now, the failed write's cluster is free.
  stack->file->fail_writes = false;
  CO_TRY(co_await stack->image->flush());
  CO_TRY(co_await stack->image->close());
  const CheckReport report = CO_TRY(co_await check(stack->node.children().file));
  EXPECT_TRUE(report.is_clean()) << report.findings.front();
  co_return Result<>{};
}

TEST(StoreErrors, AFullStoreIsNotForEver) {
  const Result<> done = run_on_loop(full_store());
  EXPECT_TRUE(done) << done.error().text();
}

Task<Result<>> lost_flush() {
  auto stack = CO_TRY(co_await fresh_stack());
  CO_TRY(co_await write_at(*stack, 0));
  stack->file->fail_flush = true;
  EXPECT_FALSE(co_await stack->image->flush());
  const Result<> again = co_await stack->image->flush();
  EXPECT_FALSE(again);
  if (!again) EXPECT_EQ(again.error().kind(), base::ErrorKind::kIo);
  EXPECT_FALSE(co_await stack->image->close());
  co_return Result<>{};
}

TEST(StoreErrors, AFailedFlushIsForEver) {
  const Result<> done = run_on_loop(lost_flush());
  EXPECT_TRUE(done) << done.error().text();
}

// Hostile images --------------------------------------------------------------------------------

constexpr uint64_t kHostileDisk = uint64_t{1} << 30;  // two L2 tables

// An image with an L2 table whose own refcount is 0, so that the table is handed out as free.
Task<Result<Bytes>> image_with_uncounted_table() {
  const block::DriverEntry::CreateRequest request{.size_bytes = kHostileDisk};
  Stack stack({}, 1, false);
  CO_TRY(co_await create(stack.node.children().file, request));
  CO_TRY(co_await stack.open());
  CO_TRY(co_await write_at(stack, 0));
  CO_TRY(co_await stack.image->close());
  Bytes bytes = stack.file->cut();
  const auto load = [&](uint64_t at) { return base::load_be<uint64_t>(bytes.data() + at); };
  const uint64_t table = load(load(40)) & format::kOffsetMask;
  const uint64_t counts = load(load(48));
  store_refcount(bytes.data() + counts, table >> 16, 4, 0);
  co_return bytes;
}

Task<void> read_aside(Image* image) {
  Bytes bytes(4096);
  const IoVec iov{base::ByteSpan(bytes)};
  (void)co_await image->read(0, iov, block::flag::kNone);
}

// The table is being read while a write elsewhere is given its place. True if that was refused.
Task<Result<bool>> reuse_table_in_use(uint64_t seed) {
  Stack stack(CO_TRY(co_await image_with_uncounted_table()), seed, true);
  CO_TRY(co_await stack.open());
  Result<> written;
  {
    TaskScope scope;
    scope.spawn(read_aside(stack.image));
    written = co_await write_at(stack, kHostileDisk / 2);
    co_await scope.join();
  }
  (void)co_await stack.image->close();
  if (written) co_return false;
  EXPECT_EQ(written.error().kind(), base::ErrorKind::kCorrupt) << written.error().text();
  co_return true;
}

TEST(Hostile, ATableThatIsCountedAsFreeIsNotOverwrittenWhileItIsRead) {
  bool refused = false;
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    const Result<bool> done = run_on_loop(reuse_table_in_use(seed));
    ASSERT_TRUE(done) << done.error().text();
    refused = refused || *done;
  }
  EXPECT_TRUE(refused);
}

}  // namespace
}  // namespace firn::qcow2
