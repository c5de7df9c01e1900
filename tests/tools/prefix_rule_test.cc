#include "tests/tools/prefix_rule.h"

#include <gtest/gtest.h>

#include "tests/tools/prefix_self_test.h"

namespace firn::tests {
namespace {

// One writer, two blocks; the command goes out at order 10 and its reply comes at order 20.
class PrefixRule : public ::testing::Test {
 protected:
  PrefixRule() {
    history_.run_id = 7;
    history_.block_count = 2;
    history_.writers.resize(1);
  }

  uint32_t write(uint64_t block, uint64_t sent, uint64_t acked) {
    history_.writers[0].push_back({.block = block, .sent = sent, .acked = acked});
    return static_cast<uint32_t>(history_.writers[0].size() - 1);
  }

  // The faults of a layer that holds these writes; -1 stands for zeroes.
  std::vector<Fault> faults(int64_t in_block_0, int64_t in_block_1) {
    LayerContent content(history_);
    int64_t held[] = {in_block_0, in_block_1};
    for (uint64_t block = 0; block < 2; ++block) {
      if (held[block] < 0) {
        content.add_stamp(block, std::nullopt);
      } else {
        content.add_stamp(block, Stamp{7, block, 0, static_cast<uint32_t>(held[block])});
      }
    }
    std::vector<Fault> result;
    for (const Violation& violation : content.check({.sent = 10, .replied = 20})) {
      EXPECT_FALSE(violation.text.empty());
      result.push_back(violation.fault);
    }
    return result;
  }

  History history_;
};

using Faults = std::vector<Fault>;

TEST_F(PrefixRule, EmptyLayerOfEmptyHistoryHolds) { EXPECT_EQ(faults(-1, -1), Faults{}); }

TEST_F(PrefixRule, AcknowledgedBeforeTheCommandMustBeIn) {
  write(0, 1, 9);
  EXPECT_EQ(faults(0, -1), Faults{});
  EXPECT_EQ(faults(-1, -1), Faults{Fault::kMissing});
}

TEST_F(PrefixRule, ALaterWriteToTheBlockStandsForTheEarlier) {
  write(0, 1, 2);
  write(0, 3, 15);
  EXPECT_EQ(faults(1, -1), Faults{});
  EXPECT_EQ(faults(0, -1), Faults{});
  EXPECT_EQ(faults(-1, -1), Faults{Fault::kMissing});
}

TEST_F(PrefixRule, SentAfterTheReplyMustBeOut) {
  write(0, 21, 22);
  EXPECT_EQ(faults(-1, -1), Faults{});
  EXPECT_EQ(faults(0, -1), Faults{Fault::kTooNew});
}

TEST_F(PrefixRule, InFlightAtTheCommandMayBeInOrOut) {
  write(0, 5, 15);
  write(1, 6, 0);
  for (int64_t first : {-1, 0}) {
    for (int64_t second : {-1, 1}) EXPECT_EQ(faults(first, second), Faults{});
  }
}

TEST_F(PrefixRule, AcknowledgedBeforeOneThatIsInWasSentMustBeIn) {
  write(0, 5, 12);
  write(1, 13, 18);
  EXPECT_EQ(faults(0, 1), Faults{});
  EXPECT_EQ(faults(0, -1), Faults{});
  EXPECT_EQ(faults(-1, -1), Faults{});
  EXPECT_EQ(faults(-1, 1), Faults{Fault::kOutOfOrder});
}

// X, admitted after the pivot, may be acknowledged before Y, which was in flight at the pivot.
TEST_F(PrefixRule, AcknowledgedBeforeOneThatIsInWasAcknowledgedMayBeOut) {
  write(0, 12, 13);
  write(1, 11, 18);
  EXPECT_EQ(faults(-1, 1), Faults{});
}

TEST_F(PrefixRule, ACrashKeepsWhatWasFlushed) {
  write(0, 1, 2);
  history_.flush_sent = 3;
  write(0, 4, 5);
  write(1, 6, 7);
  LayerContent content(history_);
  content.add_stamp(0, Stamp{7, 0, 0, 0});
  content.add_stamp(1, Stamp{7, 1, 0, 2});  // kept, although what came before it was not
  EXPECT_TRUE(content.check(history_.crash_window()).empty());
  content.add_stamp(0, std::nullopt);
  auto violations = content.check(history_.crash_window());
  ASSERT_EQ(violations.size(), 1U);
  EXPECT_EQ(violations[0].fault, Fault::kMissing);
}

TEST_F(PrefixRule, APowerCutMayTearWhatWasNotFlushed) {
  write(0, 1, 2);
  write(1, 1, 2);
  history_.flush_sent = 3;
  write(0, 4, 5);
  const std::vector<std::byte> torn(kBlockBytes, std::byte{1});
  LayerContent content(history_);
  content.add(0, torn);
  content.add_stamp(1, Stamp{7, 1, 0, 1});
  EXPECT_TRUE(content.check(history_.cut_window()).empty());
  EXPECT_FALSE(content.check(history_.crash_window()).empty());
  content.add(1, torn);  // that one was flushed
  EXPECT_EQ(content.check(history_.cut_window()).size(), 1U);
}

TEST_F(PrefixRule, DescribesNoMoreThanAsked) {
  write(0, 1, 2);
  write(1, 3, 4);
  LayerContent content(history_);
  auto violations = content.check({.sent = 10, .replied = 20}, 1);
  ASSERT_EQ(violations.size(), 2U);
  EXPECT_FALSE(violations[0].text.empty());
  EXPECT_TRUE(violations[1].text.empty());
}

TEST_F(PrefixRule, CountsSupersededWritesAsIncluded) {
  write(0, 1, 2);
  write(0, 3, 4);
  write(1, 5, 6);
  LayerContent content(history_);
  content.add_stamp(0, Stamp{7, 0, 0, 1});
  EXPECT_EQ(content.included_count(), 2U);
}

TEST(PrefixSelfTest, FindsEveryPlantedViolation) {
  auto result = run_prefix_self_test(200);
  ASSERT_TRUE(result) << result.error().text();
  EXPECT_EQ(result->clean, 400);
}

}  // namespace
}  // namespace firn::tests
