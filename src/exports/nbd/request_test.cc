#include "exports/nbd/request.h"

#include <gtest/gtest.h>

namespace firn::nbd {
namespace {

constexpr uint64_t kSize = uint64_t{1} << 20;

Agreement full() {
  return {.size_bytes = kSize,
          .writable = true,
          .structured_replies = true,
          .base_allocation = true,
          .minimum_block_bytes = 1};
}

RequestHeader make(Command command, uint64_t offset, uint32_t length, uint16_t flags = 0) {
  return {.flags = flags, .command = command, .cookie = 1, .offset = offset, .length = length};
}

WireError check(const RequestHeader& request, const Agreement& agreement = full()) {
  return check_request(request, agreement).error;
}

TEST(Request, GoodOnesPass) {
  EXPECT_EQ(check(make(Command::kRead, 0, 4096)), WireError::kNone);
  EXPECT_EQ(check(make(Command::kRead, 0, 4096, command_flag::kDf | command_flag::kFua)),
            WireError::kNone);
  EXPECT_EQ(check(make(Command::kWrite, kSize - 1, 1, command_flag::kFua)), WireError::kNone);
  EXPECT_EQ(check(make(Command::kFlush, 0, 0)), WireError::kNone);
  EXPECT_EQ(check(make(Command::kTrim, 0, kSize)), WireError::kNone);
  EXPECT_EQ(check(make(Command::kCache, 0, kSize)), WireError::kNone);
  EXPECT_EQ(
      check(make(Command::kWriteZeroes, 0, kSize, command_flag::kNoHole | command_flag::kFastZero)),
      WireError::kNone);
  EXPECT_EQ(check(make(Command::kBlockStatus, 5, 7, command_flag::kReqOne)), WireError::kNone);
}

TEST(Request, UnknownCommandsAndFlagsAreInvalid) {
  EXPECT_EQ(check(make(static_cast<Command>(8), 0, 1)), WireError::kInval);
  EXPECT_EQ(check(make(static_cast<Command>(0xffff), 0, 1)), WireError::kInval);
  EXPECT_EQ(check(make(Command::kWrite, 0, 1, command_flag::kDf)), WireError::kInval);
  EXPECT_EQ(check(make(Command::kRead, 0, 1, command_flag::kNoHole)), WireError::kInval);
  EXPECT_EQ(check(make(Command::kTrim, 0, 1, command_flag::kFastZero)), WireError::kInval);
  EXPECT_EQ(check(make(Command::kRead, 0, 1, command_flag::kReqOne)), WireError::kInval);
  EXPECT_EQ(check(make(Command::kFlush, 0, 0, 1u << 15)), WireError::kInval);
}

TEST(Request, DfNeedsStructuredReplies) {
  Agreement agreement = full();
  agreement.structured_replies = false;
  EXPECT_EQ(check(make(Command::kRead, 0, 1, command_flag::kDf), agreement), WireError::kInval);
}

TEST(Request, BeyondTheEnd) {
  EXPECT_EQ(check(make(Command::kRead, kSize, 1)), WireError::kInval);
  EXPECT_EQ(check(make(Command::kRead, kSize, 0)), WireError::kNone);
  EXPECT_EQ(check(make(Command::kRead, UINT64_MAX, 2)), WireError::kInval);
  EXPECT_EQ(check(make(Command::kWrite, kSize - 1, 2)), WireError::kNoSpc);
  EXPECT_EQ(check(make(Command::kWrite, UINT64_MAX, UINT32_MAX)), WireError::kInval);
  EXPECT_EQ(check(make(Command::kWrite, UINT64_MAX, 4096)), WireError::kNoSpc);
  EXPECT_EQ(check(make(Command::kWriteZeroes, 1, kSize)), WireError::kNoSpc);
  EXPECT_EQ(check(make(Command::kTrim, 1, kSize)), WireError::kInval);
  EXPECT_EQ(check(make(Command::kBlockStatus, 1, kSize)), WireError::kInval);
  EXPECT_EQ(check(make(Command::kCache, 1, kSize)), WireError::kInval);
}

TEST(Request, TooLongForAPayload) {
  Agreement agreement = full();
  agreement.size_bytes = uint64_t{1} << 40;
  EXPECT_EQ(check(make(Command::kRead, 0, kMaxPayloadBytes), agreement), WireError::kNone);
  EXPECT_EQ(check(make(Command::kRead, 0, kMaxPayloadBytes + 1), agreement), WireError::kInval);
  EXPECT_EQ(check(make(Command::kWrite, 0, kMaxPayloadBytes + 1), agreement), WireError::kInval);
  EXPECT_EQ(check(make(Command::kWriteZeroes, 0, UINT32_MAX), agreement), WireError::kNone);
  EXPECT_EQ(check(make(Command::kTrim, 0, UINT32_MAX), agreement), WireError::kNone);
}

TEST(Request, ReadOnlyExportsRefuseWhatWrites) {
  Agreement agreement = full();
  agreement.writable = false;
  EXPECT_EQ(check(make(Command::kWrite, 0, 1), agreement), WireError::kPerm);
  EXPECT_EQ(check(make(Command::kTrim, 0, 1), agreement), WireError::kPerm);
  EXPECT_EQ(check(make(Command::kWriteZeroes, 0, 1), agreement), WireError::kPerm);
  EXPECT_EQ(check(make(Command::kFlush, 0, 0), agreement), WireError::kNone);
}

TEST(Request, AlignmentIsAskedOfThoseWhoKnow) {
  Agreement agreement = full();
  agreement.minimum_block_bytes = 512;
  EXPECT_EQ(check(make(Command::kRead, 512, 1024), agreement), WireError::kNone);
  EXPECT_EQ(check(make(Command::kRead, 1, 512), agreement), WireError::kInval);
  EXPECT_EQ(check(make(Command::kWrite, 512, 511), agreement), WireError::kInval);
}

TEST(Request, StatusNeedsAContextAndALength) {
  Agreement agreement = full();
  EXPECT_EQ(check(make(Command::kBlockStatus, 0, 0), agreement), WireError::kInval);
  agreement.base_allocation = false;
  EXPECT_EQ(check(make(Command::kBlockStatus, 0, 1), agreement), WireError::kInval);
  agreement.allocation_depth = true;
  EXPECT_EQ(check(make(Command::kBlockStatus, 0, 1), agreement), WireError::kNone);
}

}  // namespace
}  // namespace firn::nbd
