#include "cli/img/info_text.h"

#include <gtest/gtest.h>

namespace firn::cli::img {
namespace {

TEST(ShortSize, HasThreeDigitsThatCount) {
  EXPECT_EQ(short_size(0), "0 B");
  EXPECT_EQ(short_size(512), "512 B");
  EXPECT_EQ(short_size(1023), "0.999 KiB");
  EXPECT_EQ(short_size(1536), "1.5 KiB");
  EXPECT_EQ(short_size(200704), "196 KiB");
  EXPECT_EQ(short_size(uint64_t{1000} << 20), "0.977 GiB");
  EXPECT_EQ(short_size(UINT64_MAX), "16 EiB");
}

}  // namespace
}  // namespace firn::cli::img
