#include "tests/tools/fault_store.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <filesystem>
#include <memory>
#include <thread>

namespace firn::tests {
namespace {

class FaultStoreTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "fault_storeXXXXXX";
    folder_ = mkdtemp(pattern.data());
    restart();
  }
  void TearDown() override {
    store_.reset();
    std::filesystem::remove_all(folder_);
  }
  // As after a power cut that kept nothing.
  void restart() {
    store_.reset();
    store_ = *FaultStore::open(folder_);
  }
  uint64_t make(const std::string& name) { return *store_->create(name, 0644, true); }
  void put(uint64_t id, const std::string& text, off_t offset = 0) {
    ASSERT_EQ(store_->write(id, text.data(), text.size(), offset),
              static_cast<ssize_t>(text.size()));
  }
  std::string get(const std::string& name) {
    const auto id = store_->find(name);
    if (!id) return "no file";
    std::string text(4096, '\0');
    text.resize(static_cast<size_t>(store_->read(*id, text.data(), text.size(), 0)));
    return text;
  }

  std::string folder_;
  std::unique_ptr<FaultStore> store_;
};

TEST_F(FaultStoreTest, OnlyWhatWasSyncedSurvives) {
  const uint64_t id = make("a");
  put(id, "first");
  ASSERT_EQ(store_->fsync(id), 0);
  ASSERT_EQ(store_->sync_names(), 0);
  put(id, "later");
  EXPECT_EQ(get("a"), "later");
  restart();
  EXPECT_EQ(get("a"), "first");
}

TEST_F(FaultStoreTest, ANameIsLostUnlessTheFolderIsSynced) {
  ASSERT_EQ(store_->fsync(make("a")), 0);
  ASSERT_EQ(store_->sync_names(), 0);
  ASSERT_EQ(store_->fsync(make("b")), 0);
  ASSERT_EQ(store_->unlink("a"), 0);
  EXPECT_EQ(store_->names(), std::vector<std::string>{"b"});
  restart();
  EXPECT_EQ(store_->names(), std::vector<std::string>{"a"});
}

TEST_F(FaultStoreTest, ACutBySeedKeepsSomeSectors) {
  const uint64_t id = make("a");
  put(id, std::string(4096, 'o'));
  store_->sync_all();
  bool mixed = false;
  for (uint64_t seed = 1; seed != 20; ++seed) {
    put(*store_->find("a"), std::string(4096, 'n'));
    store_->cut(seed);
    restart();
    const std::string text = get("a");
    ASSERT_EQ(text.size(), 4096u);
    for (size_t sector = 0; sector != 4096; sector += 512) {
      ASSERT_EQ(text.substr(sector, 512), std::string(512, text[sector]));
    }
    mixed = mixed || (text.contains('o') && text.contains('n'));
    put(*store_->find("a"), std::string(4096, 'o'));
    store_->sync_all();
  }
  EXPECT_TRUE(mixed);
}

TEST_F(FaultStoreTest, ASizeIsOnTheDiskWithTheNextSync) {
  const uint64_t id = make("a");
  put(id, std::string(2048, 'x'));
  store_->sync_all();
  ASSERT_EQ(store_->truncate(id, 512), 0);
  ASSERT_EQ(store_->truncate(id, 2048), 0);
  restart();
  EXPECT_EQ(get("a"), std::string(2048, 'x'));
  ASSERT_EQ(store_->truncate(*store_->find("a"), 512), 0);
  ASSERT_EQ(store_->truncate(*store_->find("a"), 2048), 0);
  ASSERT_EQ(store_->fsync(*store_->find("a")), 0);
  restart();
  EXPECT_EQ(get("a"), std::string(512, 'x') + std::string(1536, '\0'));
}

TEST_F(FaultStoreTest, RulesCountAndNameFiles) {
  const uint64_t id = make("disk.qcow2");
  store_->add_rule({.operation = "fsync", .name_pattern = "*.qcow2", .error = EIO, .count = 1});
  EXPECT_EQ(store_->obey("write", id, ""), 0);
  EXPECT_EQ(store_->obey("fsync", 0, "other"), 0);
  EXPECT_EQ(store_->obey("fsync", id, ""), -EIO);
  EXPECT_EQ(store_->obey("fsync", id, ""), 0);
}

TEST_F(FaultStoreTest, WhatHangsGoesOnWhenTheRulesAreCleared) {
  store_->add_rule({.operation = "any", .count = {}, .hang = true});
  int result = -1;
  std::thread caller([&] { result = store_->obey("write", 0, "a"); });
  while (store_->hanging() == 0) std::this_thread::yield();
  store_->clear_rules();
  caller.join();
  EXPECT_EQ(result, 0);
}

}  // namespace
}  // namespace firn::tests
