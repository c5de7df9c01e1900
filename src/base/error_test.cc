#include "base/error.h"

#include <cerrno>

#include <gtest/gtest.h>

#include "base/bytes.h"
#include "base/result.h"

namespace firn::base {
namespace {

TEST(Error, ContextStandsBeforeTheText) {
  Error error = Error::from_errno(ENOENT, "Could not open '/a'").with_context("disk 'vda'");
  EXPECT_EQ(error.text(), "disk 'vda': Could not open '/a': No such file or directory");
  EXPECT_EQ(error.kind(), ErrorKind::kNotFound);
  EXPECT_EQ(error.errno_value(), ENOENT);
}

TEST(Error, ACopyDoesNotSeeLaterContext) {
  Error first(ErrorKind::kIo, "gone");
  Error second = first;
  second.with_context("outer");
  EXPECT_EQ(first.text(), "gone");
  EXPECT_EQ(second.text(), "outer: gone");
}

Result<int> half(int value) {
  if (value % 2 != 0) return fail(ErrorKind::kInvalidArgument, "odd");
  return value / 2;
}
Result<int> quarter(int value) { return TRY(half(TRY(half(value)))); }

TEST(Result, TryLeavesWithTheError) {
  EXPECT_EQ(*quarter(12), 3);
  EXPECT_EQ(quarter(6).error().text(), "odd");
}

TEST(Bytes, OrderIsExplicit) {
  std::byte buffer[8];
  store_be<uint32_t>(buffer, 0x01020304);
  EXPECT_EQ(buffer[0], std::byte{1});
  EXPECT_EQ(load_be<uint32_t>(buffer), 0x01020304u);
  store_le<uint16_t>(buffer, 0x0102);
  EXPECT_EQ(buffer[0], std::byte{2});
}

TEST(Bytes, IsZeroSeesEveryByte) {
  std::byte page[4096] = {};
  EXPECT_TRUE(is_zero(page));
  for (size_t at : {size_t{0}, size_t{15}, size_t{16}, size_t{17}, size_t{4095}}) {
    page[at] = std::byte{1};
    EXPECT_FALSE(is_zero(page)) << at;
    page[at] = std::byte{0};
  }
}

}  // namespace
}  // namespace firn::base
