#include "tests/tools/history.h"

#include <gtest/gtest.h>

#include <filesystem>

namespace firn::tests {
namespace {

class HistoryFile : public ::testing::Test {
 protected:
  HistoryFile() : path_(::testing::TempDir() + "firn-history-" + std::to_string(getpid())) {}
  ~HistoryFile() override { std::filesystem::remove(path_); }

  std::string path_;
};

TEST_F(HistoryFile, ComesBackAsItWas) {
  History history{.run_id = 5, .region_offset_bytes = 4096, .block_count = 9};
  history.writers.resize(2);
  history.writers[1].push_back({.block = 8, .sent = 1, .acked = 4, .sent_ns = 7, .acked_ns = 9});
  history.snapshots.push_back({.sent = 2, .replied = 3, .sent_ns = 7, .replied_ns = 8});
  ASSERT_TRUE(history.save(path_));

  auto loaded = History::load(path_);
  ASSERT_TRUE(loaded) << loaded.error().text();
  EXPECT_EQ(loaded->run_id, 5U);
  EXPECT_EQ(loaded->region_offset_bytes, 4096U);
  EXPECT_EQ(loaded->block_count, 9U);
  ASSERT_EQ(loaded->writers.size(), 2U);
  EXPECT_TRUE(loaded->writers[0].empty());
  ASSERT_EQ(loaded->writers[1].size(), 1U);
  EXPECT_EQ(loaded->writers[1][0].block, 8U);
  EXPECT_EQ(loaded->writers[1][0].acked, 4U);
  ASSERT_EQ(loaded->snapshots.size(), 1U);
  EXPECT_EQ(loaded->snapshots[0].replied, 3U);
}

TEST_F(HistoryFile, CutOffAnywhereIsAnError) {
  History history{.run_id = 5, .block_count = 9};
  history.writers.resize(1);
  history.writers[0].push_back({.block = 8});
  ASSERT_TRUE(history.save(path_));
  for (auto size = std::filesystem::file_size(path_); size-- > 0;) {
    std::filesystem::resize_file(path_, size);
    EXPECT_FALSE(History::load(path_)) << size;
  }
}

TEST_F(HistoryFile, MissingFileIsNamed) {
  auto loaded = History::load(path_);
  ASSERT_FALSE(loaded);
  EXPECT_NE(loaded.error().text().find(path_), std::string::npos);
}

}  // namespace
}  // namespace firn::tests
