#include "drivers/null/null_driver.h"

#include <gtest/gtest.h>

#include <chrono>

#include "async/runtime.h"

namespace firn::null {
namespace {

using async::IoVec;
using async::Task;

class NullTest : public ::testing::Test {
 protected:
  NullTest() {
    auto runtime = async::make_runtime();
    CHECK(runtime.has_value());
    runtime_ = std::move(*runtime);
    register_drivers(registry_);
  }
  template <typename T>
  T run(Task<T> task) {
    return async::run_until_done(*runtime_, std::move(task));
  }
  block::OpenedTree open(const char* driver, Options options) {
    block::NodeSpec spec;
    spec.driver = driver;
    spec.driver_options = std::make_unique<Options>(options);
    auto tree = run(block::open_tree(registry_, std::move(spec)));
    CHECK(tree.has_value());
    return std::move(*tree);
  }
  std::string read(block::Driver& driver) {
    std::string bytes(4, '?');
    const IoVec iov(bytes.data(), bytes.size());
    EXPECT_TRUE(run(driver.read(0, iov, block::flag::kNone)));
    return bytes;
  }

  std::unique_ptr<async::Runtime> runtime_;
  block::Registry registry_;
};

TEST_F(NullTest, ReadsZeroesOnlyIfAsked) {
  block::OpenedTree plain = open("null-co", {});
  EXPECT_EQ(plain.top->driver().size_bytes(), base::kGiB);
  EXPECT_EQ(plain.top->driver().filename(), "null-co://");
  EXPECT_EQ(read(plain.top->driver()), "????");
  EXPECT_EQ(run(plain.top->driver().status(0, 10))->kind, block::RunKind::kData);
  EXPECT_TRUE(run(block::close_tree(std::move(plain))));
  Options small;
  small.size_bytes = 4095;
  small.read_zeroes = true;
  block::OpenedTree zeroes = open("null-aio", small);
  EXPECT_EQ(zeroes.top->driver().name(), "null-aio");
  EXPECT_EQ(zeroes.top->driver().size_bytes(), 4096u);
  EXPECT_EQ(zeroes.top->driver().filename(),
            R"(json:{"read-zeroes": true, "driver": "null-aio", "size": 4095})");
  EXPECT_EQ(read(zeroes.top->driver()), std::string(4, '\0'));
  EXPECT_EQ(run(zeroes.top->driver().status(0, 10))->kind, block::RunKind::kZero);
  EXPECT_TRUE(run(block::close_tree(std::move(zeroes))));
}

TEST_F(NullTest, TakesTheTimeThatItIsGiven) {
  Options slow;
  slow.latency_ns = 20'000'000;
  block::OpenedTree tree = open("null-co", slow);
  const auto begun = std::chrono::steady_clock::now();
  read(tree.top->driver());
  EXPECT_GE(std::chrono::steady_clock::now() - begun, std::chrono::milliseconds(20));
  EXPECT_TRUE(run(block::close_tree(std::move(tree))));
}

}  // namespace
}  // namespace firn::null
