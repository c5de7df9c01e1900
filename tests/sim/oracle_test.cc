#include "tests/sim/oracle.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <vector>

namespace firn::sim {
namespace {

using testing::HasSubstr;

constexpr uint64_t kSectors = 8;

// A disk beside an oracle.
class OracleTest : public testing::Test {
 protected:
  RequestId begin(uint64_t first, uint64_t sectors, Request::Kind kind = Request::Kind::kWrite,
                  bool fua = false) {
    return oracle_.begin({.kind = kind, .fua = fua, .first_sector = first, .sectors = sectors});
  }
  // A write that succeeds; whether it reaches the disk is another matter.
  RequestId write(uint64_t first, uint64_t sectors, bool fua = false) {
    const RequestId id = begin(first, sectors, Request::Kind::kWrite, fua);
    oracle_.end(id, true);
    return id;
  }
  void flush() { oracle_.flushed(oracle_.now()); }
  // Puts what `request` writes to `sector` on the disk; 0: zeroes.
  void put(RequestId request, uint64_t first, uint64_t sector) {
    std::byte* at = disk_.data() + sector * kSectorBytes;
    if (request == 0) {
      std::memset(at, 0, kSectorBytes);
      return;
    }
    std::vector<std::byte> all(kSectors * kSectorBytes);
    // Long enough for any of them: the oracle asks for exactly the request's length.
    const uint64_t length = lengths_[request] * kSectorBytes;
    oracle_.fill(request, {all.data(), length});
    std::memcpy(at, all.data() + (sector - first) * kSectorBytes, kSectorBytes);
  }
  RequestId write_to_disk(uint64_t first, uint64_t sectors, bool fua = false) {
    const RequestId id = write(first, sectors, fua);
    lengths_[id] = sectors;
    for (uint64_t i = 0; i < sectors; ++i) put(id, first, first + i);
    return id;
  }
  std::optional<std::string> after_cut() {
    oracle_.cut();
    return oracle_.check_after_cut(disk_, found_);
  }

  Oracle oracle_{42, kSectors};
  std::vector<std::byte> disk_ = std::vector<std::byte>(kSectors * kSectorBytes);
  std::map<RequestId, uint64_t> lengths_;
  Content found_;
};

TEST_F(OracleTest, WhatWasFlushedMustSurvive) {
  write(0, 2);
  EXPECT_FALSE(after_cut());  // not flushed: may be lost
  flush();
  EXPECT_THAT(after_cut().value_or(""), HasSubstr("sector 0 holds zeroes"));
}

TEST_F(OracleTest, ForceUnitAccessMustSurvive) {
  write(3, 1, true);
  EXPECT_THAT(after_cut().value_or(""), HasSubstr("sector 3 holds zeroes"));
}

TEST_F(OracleTest, AFlushCoversWhatEndedBeforeIt) {
  const RequestId late = begin(0, 1);
  flush();
  oracle_.end(late, true);
  EXPECT_FALSE(after_cut());
}

TEST_F(OracleTest, OlderThanFlushedIsStale) {
  write_to_disk(0, 1);
  write(0, 1);
  EXPECT_FALSE(after_cut());
  flush();
  EXPECT_TRUE(after_cut());
}

TEST_F(OracleTest, TornWritesAreLegalUntilFlushed) {
  const RequestId id = write(0, 2);
  lengths_[id] = 2;
  put(id, 0, 1);
  EXPECT_FALSE(after_cut());
  flush();
  EXPECT_THAT(after_cut().value_or(""), HasSubstr("sector 0"));
}

TEST_F(OracleTest, MisplacedAndDamagedDataIsFound) {
  const RequestId id = write_to_disk(0, 2);
  std::memcpy(disk_.data() + 5 * kSectorBytes, disk_.data(), kSectorBytes);
  EXPECT_THAT(after_cut().value_or(""), HasSubstr("sector 5 is damaged"));
  put(0, 0, 5);
  disk_[100] ^= std::byte{1};
  EXPECT_THAT(after_cut().value_or(""), HasSubstr("sector 0 is damaged"));
  put(id, 0, 0);
  EXPECT_FALSE(after_cut());
}

TEST_F(OracleTest, ADiscardLeavesZeroesOrWhatWasThere) {
  write_to_disk(0, 1);
  flush();
  oracle_.end(begin(0, 1, Request::Kind::kDiscard), true);
  flush();
  EXPECT_FALSE(after_cut());
  put(0, 0, 0);
  EXPECT_FALSE(after_cut());
}

TEST_F(OracleTest, ZeroesMustComeFromSomewhere) {
  write_to_disk(0, 1);
  flush();
  put(0, 0, 0);
  EXPECT_TRUE(after_cut());
  begin(0, 1, Request::Kind::kZero);  // in flight at the cut
  EXPECT_FALSE(after_cut());
}

TEST_F(OracleTest, ReadsSeeTheLatest) {
  write_to_disk(0, 1);
  const std::vector<std::byte> old(disk_.begin(), disk_.begin() + kSectorBytes);
  const Tick early = oracle_.now();
  write_to_disk(0, 1);
  EXPECT_FALSE(oracle_.check_read(0, {disk_.data(), kSectorBytes}, oracle_.now()));
  EXPECT_FALSE(oracle_.check_read(0, old, early));  // it was sent before the second write
  EXPECT_THAT(oracle_.check_read(0, old, oracle_.now()).value_or(""), HasSubstr("stale"));
}

TEST_F(OracleTest, AFrozenLayerHasWhatWasAcknowledgedBefore) {
  write(0, 1);
  const Tick sent = oracle_.now();
  EXPECT_TRUE(oracle_.check_frozen(disk_, sent, oracle_.now(), found_));
  EXPECT_FALSE(oracle_.check_frozen(disk_, 1, oracle_.now(), found_));
}

TEST_F(OracleTest, AFrozenLayerHasNothingSentAfterTheReply) {
  const Tick sent = oracle_.now();
  const Tick replied = oracle_.now();
  write_to_disk(0, 1);
  EXPECT_TRUE(oracle_.check_frozen(disk_, sent, replied, found_));
  EXPECT_FALSE(oracle_.check_frozen(disk_, sent, oracle_.now(), found_));
}

TEST_F(OracleTest, AFrozenLayerHasWhatItsContentPresumes) {
  const Tick sent = oracle_.now();
  write(0, 1);  // acknowledged before the next is sent, not in the layer
  write_to_disk(1, 1);
  EXPECT_TRUE(oracle_.check_frozen(disk_, sent, oracle_.now(), found_));
}

TEST_F(OracleTest, RequestsThatOverlapInTimeMayGoEitherWay) {
  const Tick sent = oracle_.now();
  const RequestId first = begin(0, 1);
  write_to_disk(1, 1);
  oracle_.end(first, true);
  EXPECT_FALSE(oracle_.check_frozen(disk_, sent, oracle_.now(), found_));
}

TEST_F(OracleTest, StartingOverMakesTheFoundDurable) {
  const RequestId id = write_to_disk(0, 1);
  ASSERT_FALSE(after_cut());
  EXPECT_EQ(found_[0], id);
  oracle_.start_over(found_);
  EXPECT_FALSE(after_cut());
  put(0, 0, 0);
  EXPECT_TRUE(after_cut());
  EXPECT_TRUE(oracle_.check_unchanged(disk_, Content{id, 0, 0, 0, 0, 0, 0, 0}));
}

TEST_F(OracleTest, ARevertTakesTheDiskBack) {
  const RequestId old = write_to_disk(0, 1);
  flush();
  const Content then(kSectors, 0);
  const Tick sent = oracle_.now();
  oracle_.reverted(then, sent);
  ASSERT_THAT(after_cut().value_or(""), HasSubstr("before a revert"));
  put(0, 0, 0);
  EXPECT_EQ(after_cut(), std::nullopt);
  // What is written after it counts as ever.
  const RequestId fresh = write_to_disk(0, 1, true);
  EXPECT_EQ(after_cut(), std::nullopt);
  put(0, 0, 0);
  EXPECT_NE(after_cut(), std::nullopt);
  EXPECT_NE(old, fresh);
}

TEST_F(OracleTest, WhatEndedDuringARevertCameBeforeOrAfterOneMoment) {
  const Content then(kSectors, 0);
  const Tick sent = oracle_.now();
  const RequestId first = write(0, 1, true);
  const RequestId second = write(1, 1, true);
  const RequestId third = write(2, 1, true);
  for (const RequestId id : {first, second, third}) lengths_[id] = 1;
  oracle_.reverted(then, sent);
  EXPECT_EQ(after_cut(), std::nullopt);  // none of them
  put(third, 2, 2);
  EXPECT_EQ(after_cut(), std::nullopt);  // the last of them
  put(second, 1, 1);
  EXPECT_EQ(after_cut(), std::nullopt);
  // The second is there, and the third, which ended later, is not.
  put(0, 0, 2);
  EXPECT_THAT(after_cut().value_or(""), HasSubstr("sector 2"));
}

TEST_F(OracleTest, WhatWasInFlightAtARevertsReplyIsThereOnceItEnded) {
  const Content then(kSectors, 0);
  const Tick sent = oracle_.now();
  const RequestId late = begin(0, 1, Request::Kind::kWrite, true);
  lengths_[late] = 1;
  oracle_.reverted(then, sent);
  oracle_.end(late, true);
  EXPECT_NE(after_cut(), std::nullopt);
  put(late, 0, 0);
  EXPECT_EQ(after_cut(), std::nullopt);
}

}  // namespace
}  // namespace firn::sim
