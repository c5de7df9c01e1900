#include "tests/sim/image_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace firn::sim {
namespace {

using base::store_be;
using testing::HasSubstr;

constexpr uint64_t kCluster = 512;
constexpr uint64_t kTable = 1 * kCluster;
constexpr uint64_t kBlock = 2 * kCluster;
constexpr uint64_t kL1 = 3 * kCluster;
constexpr uint64_t kL2 = 4 * kCluster;
constexpr uint64_t kData = 5 * kCluster;
constexpr uint64_t kCopied = uint64_t{1} << 63;

// Header, refcount table, refcount block, L1, L2 and one data cluster, each of 512 bytes.
class ImageCheckTest : public testing::Test {
 protected:
  ImageCheckTest() {
    put32(0, 0x514649fb);
    put32(4, 3);
    put32(20, 9);
    put64(24, 16 * kCluster);
    put32(36, 1);
    put64(40, kL1);
    put64(48, kTable);
    put32(56, 1);
    put32(96, 4);
    put32(100, 104);
    put64(kTable, kBlock);
    for (uint64_t i = 0; i < 6; ++i) set_refcount(i, 1);
    put64(kL1, kL2 | kCopied);
    put64(kL2, kData | kCopied);
  }
  void put32(uint64_t at, uint32_t value) { store_be<uint32_t>(file_.data() + at, value); }
  void put64(uint64_t at, uint64_t value) { store_be<uint64_t>(file_.data() + at, value); }
  void set_refcount(uint64_t cluster, uint16_t count) {
    store_be<uint16_t>(file_.data() + kBlock + 2 * cluster, count);
  }
  std::string corruption() { return check_qcow2(file_).corruption.value_or(""); }

  std::vector<std::byte> file_ = std::vector<std::byte>(6 * kCluster);
};

TEST_F(ImageCheckTest, AGoodImagePasses) {
  EXPECT_EQ(corruption(), "");
  EXPECT_EQ(check_qcow2(file_).data_clusters, 1u);
  EXPECT_EQ(check_qcow2(file_).leaked_clusters, 0u);
}

TEST_F(ImageCheckTest, LeaksAreCounted) {
  put64(kL2, 0);
  EXPECT_EQ(corruption(), "");
  EXPECT_EQ(check_qcow2(file_).leaked_clusters, 1u);
}

TEST_F(ImageCheckTest, AReferenceToAFreeClusterIsCorrupt) {
  set_refcount(5, 0);
  EXPECT_THAT(corruption(), HasSubstr("cluster 5 (at 0xa00) has 1 references and a refcount of 0"));
}

TEST_F(ImageCheckTest, TwoReferencesWithOneRefcountAreCorrupt) {
  put64(kL2 + 8, kData | kCopied);
  EXPECT_THAT(corruption(), HasSubstr("2 references and a refcount of 1"));
}

TEST_F(ImageCheckTest, TheCopiedBitMustTellTheTruth) {
  put64(kL2, kData);
  EXPECT_THAT(corruption(), HasSubstr("the COPIED bit is 0 and its refcount 1"));
  put64(kL2, kData | kCopied);
  set_refcount(5, 2);
  EXPECT_THAT(corruption(), HasSubstr("the COPIED bit is 1 and its refcount 2"));
}

TEST_F(ImageCheckTest, TablesMustLieInTheFile) {
  put64(kL1, (100 * kCluster) | kCopied);
  EXPECT_THAT(corruption(), HasSubstr("an L2 table at 0xc800 lies beyond the end"));
}

TEST_F(ImageCheckTest, MarksAndMissingHeadersAreCorrupt) {
  put64(72, 1);
  EXPECT_THAT(corruption(), HasSubstr("marked as dirty"));
  put32(0, 0);
  EXPECT_THAT(corruption(), HasSubstr("no qcow2 header"));
}

}  // namespace
}  // namespace firn::sim
