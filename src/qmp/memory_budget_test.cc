#include "qmp/memory_budget.h"

#include <gtest/gtest.h>

#include <optional>

namespace firn::qmp {
namespace {

constexpr size_t kFree = MemoryBudget::kFreeBytes;

struct Holder final : MemoryBudget::Owner {
  explicit Holder(MemoryBudget* budget) { share.emplace(budget, *this); }
  void on_memory_short() override { ++given_up; }
  std::optional<MemoryBudget::Share> share;
  int given_up = 0;
};

TEST(MemoryBudget, CountsWhatIsBeyondTheFreePart) {
  MemoryBudget budget(1000);
  Holder one(&budget);
  Holder two(&budget);
  one.share->set(kFree);
  EXPECT_EQ(budget.used_bytes(), 0u);
  one.share->set(kFree + 600);
  two.share->set(kFree + 400);
  EXPECT_EQ(budget.used_bytes(), 1000u);
  one.share->set(kFree + 100);
  EXPECT_EQ(budget.used_bytes(), 500u);
  two.share.reset();
  EXPECT_EQ(budget.used_bytes(), 100u);
  EXPECT_EQ(one.given_up + two.given_up, 0);
}

TEST(MemoryBudget, GivesUpWhoHoldsMost) {
  MemoryBudget budget(1000);
  Holder one(&budget);
  Holder two(&budget);
  Holder three(&budget);
  one.share->set(kFree + 300);
  two.share->set(kFree + 600);
  three.share->set(kFree + 200);
  EXPECT_EQ(one.given_up, 0);
  EXPECT_EQ(two.given_up, 1);
  EXPECT_EQ(three.given_up, 0);
  EXPECT_EQ(budget.used_bytes(), 500u);
  // It counts no more, whatever it holds until it is gone.
  two.share->set(kFree + 10'000);
  EXPECT_EQ(budget.used_bytes(), 500u);
  // One that can't fit by itself.
  three.share->set(kFree + 5000);
  EXPECT_EQ(three.given_up, 1);
  EXPECT_EQ(one.given_up, 0);
}

TEST(MemoryBudget, CountsNothingWithoutABudget) {
  Holder one(nullptr);
  one.share->set(size_t{1} << 40);
  EXPECT_EQ(one.given_up, 0);
}

}  // namespace
}  // namespace firn::qmp
