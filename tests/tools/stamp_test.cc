#include "tests/tools/stamp.h"

#include <gtest/gtest.h>

#include <vector>

namespace firn::tests {
namespace {

constexpr Stamp kStamp{.run_id = 0x1234, .block = 77, .writer = 3, .sequence = 1'000'000};

TEST(Stamp, ReadsWhatWasWritten) {
  std::vector<std::byte> block(kBlockBytes);
  write_stamp(block, kStamp);
  EXPECT_EQ(read_stamp(block), kStamp);
}

TEST(Stamp, ZeroesAreNoStamp) {
  std::vector<std::byte> block(kBlockBytes);
  EXPECT_EQ(read_stamp(block), std::nullopt);
}

TEST(Stamp, EveryChangedByteIsNoticed) {
  std::vector<std::byte> block(kBlockBytes);
  write_stamp(block, kStamp);
  for (size_t i = 0; i < block.size(); ++i) {
    block[i] ^= std::byte{1};
    EXPECT_EQ(read_stamp(block), std::nullopt) << "byte " << i;
    block[i] ^= std::byte{1};
  }
}

TEST(Stamp, HalfOfAnotherStampIsNoticed) {
  std::vector<std::byte> block(kBlockBytes);
  std::vector<std::byte> later(kBlockBytes);
  write_stamp(block, kStamp);
  Stamp next = kStamp;
  ++next.sequence;
  write_stamp(later, next);
  std::copy(later.begin() + 2048, later.end(), block.begin() + 2048);
  EXPECT_EQ(read_stamp(block), std::nullopt);
}

}  // namespace
}  // namespace firn::tests
