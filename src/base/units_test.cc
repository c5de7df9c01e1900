#include "base/units.h"

#include <gtest/gtest.h>

namespace firn::base {
namespace {

TEST(Units, ParsesPlainAndSuffixedSizes) {
  EXPECT_EQ(*parse_size("0"), 0u);
  EXPECT_EQ(*parse_size("4096"), 4096u);
  EXPECT_EQ(*parse_size("64k"), 64 * kKiB);
  EXPECT_EQ(*parse_size("1.5G"), kGiB + kGiB / 2);
  EXPECT_EQ(*parse_size("15E"), uint64_t{15} << 60);
}

TEST(Units, RefusesWhatIsNoSize) {
  for (const char* bad : {"", "k", "-1", "1.5", "1..5G", "12q", "64kk", "16E", "1.G"}) {
    EXPECT_FALSE(parse_size(bad)) << bad;
  }
  EXPECT_EQ(parse_size("12q").error().text(), "'12q' is not a size");
}

TEST(Units, FormatsForReading) {
  EXPECT_EQ(format_size(17), "17 B");
  EXPECT_EQ(format_size(64 * kMiB), "64 MiB");
  EXPECT_EQ(format_size(kGiB + kGiB / 2), "1.5 GiB");
}

}  // namespace
}  // namespace firn::base
