// For tests of any room: a runtime of its own per call, on a chosen engine.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>

#include "async/runtime.h"
#include "base/check.h"

namespace firn::async::testing {

// Runs `task` on a new runtime's control loop to its end and gives its result. Everything that the
// task has left running is joined before.
//   EXPECT_EQ(run_on_loop(count_clients()), 3);
template <typename T>
T run_on_loop(Task<T> task, RuntimeOptions options = {}) {
  auto runtime = make_runtime(options);
  CHECK(runtime.has_value());
  return run_until_done(**runtime, std::move(task));
}

// As parameter of TEST_P: runs a test on both engines. io_uring is left out where it is forbidden.
inline auto engines() {
  std::vector<RuntimeOptions::Engine> found = {RuntimeOptions::Engine::kEpoll};
  if (make_runtime({.engine = RuntimeOptions::Engine::kUring})) {
    found.insert(found.begin(), RuntimeOptions::Engine::kUring);
  }
  return ::testing::ValuesIn(found);
}
inline std::string engine_name(const ::testing::TestParamInfo<RuntimeOptions::Engine>& info) {
  return info.param == RuntimeOptions::Engine::kUring ? "uring" : "epoll";
}

// A fixture with a runtime: `EXPECT_TRUE(run(my_task()))`.
class LoopTest : public ::testing::TestWithParam<RuntimeOptions::Engine> {
 protected:
  LoopTest() {
    auto made = make_runtime({.engine = GetParam()});
    CHECK(made.has_value());
    runtime_ = std::move(*made);
  }
  Loop& loop() { return runtime_->control_loop(); }
  Runtime& runtime() { return *runtime_; }
  template <typename T>
  T run(Task<T> task) {
    return run_until_done(*runtime_, std::move(task));
  }

 private:
  std::unique_ptr<Runtime> runtime_;
};

}  // namespace firn::async::testing
