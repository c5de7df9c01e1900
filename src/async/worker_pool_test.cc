#include "async/worker_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <latch>
#include <memory>
#include <thread>
#include <vector>

namespace firn::async {
namespace {

// Work that ends, and work that hangs until the test lets it go.
class WorkerPoolTest : public ::testing::Test {
 protected:
  struct Item : WorkItem {
    WorkerPoolTest* test = nullptr;
  };
  // Queues `count` items at once, of which those before `hanging` hang.
  void submit(size_t count, size_t hanging, bool quick) {
    std::vector<Item*> list;
    for (size_t i = 0; i < count; ++i) {
      auto& item = items_.emplace_back(std::make_unique<Item>());
      item->test = this;
      item->quick = quick;
      item->run = i < hanging ? &hang : &end;
      list.push_back(item.get());
      if (i != 0) list[i - 1]->next = list[i];
    }
    pool_->submit(list.front(), list.back(), count);
  }
  static void hang(WorkItem& item) {
    auto& test = *static_cast<Item&>(item).test;
    ++test.hanging_;
    test.let_go_.wait();
    ++test.ended_;
  }
  static void end(WorkItem& item) { ++static_cast<Item&>(item).test->ended_; }
  void wait_for(const std::atomic<int>& counter, int value) const {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (counter != value && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    EXPECT_EQ(counter, value);
  }
  void TearDown() override { let_go_.count_down(); }

  std::latch let_go_{1};
  std::atomic<int> hanging_ = 0;
  std::atomic<int> ended_ = 0;
  std::vector<std::unique_ptr<Item>> items_;
  std::unique_ptr<WorkerPool> pool_ = std::make_unique<WorkerPool>(2);
};

TEST_F(WorkerPoolTest, WhatHangsDoesNotStopTheRest) {
  submit(5, 5, false);
  wait_for(hanging_, 5);
  submit(3, 0, false);
  wait_for(ended_, 3);
}

// A worker that has taken several quick items at once hangs at the first of them.
TEST_F(WorkerPoolTest, WhatAWorkerHasTakenIsTakenBack) {
  submit(64, 2, true);
  wait_for(ended_, 62);
  EXPECT_EQ(hanging_, 2);
}

TEST_F(WorkerPoolTest, EndsWithWorkInTheQueue) {
  submit(200, 0, true);
  submit(4, 0, false);
  pool_.reset();
  EXPECT_EQ(ended_, 204);
}

}  // namespace
}  // namespace firn::async
