#include <fmt/format.h>
#include <pthread.h>
#include <sys/resource.h>

#include <algorithm>
#include <csignal>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "async/epoll_loop.h"
#include "async/runtime.h"
#include "async/uring_loop.h"
#include "async/worker_pool.h"
#include "base/check.h"
#include "base/log.h"

namespace firn::async {
namespace {

class KernelRuntime final : public Runtime {
 public:
  explicit KernelRuntime(const RuntimeOptions& options)
      : workers_(options.worker_count), engine_(options.engine) {}

  ~KernelRuntime() override {
    while (!threads_.empty()) end(threads_.back());
  }

  base::Result<> set_up() {
    if (engine_ == RuntimeOptions::Engine::kProbe) choose_engine();
    control_ = TRY(make_loop("control"));
    return {};
  }

  base::Result<Loop*> add_loop(std::string name) override {
    std::unique_ptr<KernelLoop> loop = TRY_CONTEXT(make_loop(name), name);
    KernelLoop* const raw = loop.get();
    // The kernel keeps 15 characters of a thread's name.
    const auto serve = [raw, short_name = name.substr(0, 15)] {
      pthread_setname_np(pthread_self(), short_name.c_str());
      raw->run();
    };
    try {
      threads_.push_back({std::move(loop), std::thread(serve)});
    } catch (const std::system_error& error) {
      return base::fail(base::Error::from_errno(
          error.code().value(), fmt::format("Could not start a thread for '{}'", name)));
    }
    return raw;
  }

  void remove_loop(Loop* loop) override {
    const auto found = std::ranges::find_if(
        threads_, [loop](const LoopThread& each) { return each.loop.get() == loop; });
    CHECK(found != threads_.end());
    end(*found);
  }

  Loop& control_loop() override { return *control_; }
  void run() override { control_->run(); }
  void stop() override { control_->stop(); }

 private:
  struct LoopThread {
    std::unique_ptr<KernelLoop> loop;
    std::thread thread;
  };

  void choose_engine() {
    engine_ = RuntimeOptions::Engine::kUring;
    const auto probe = UringLoop::create("probe", workers_);
    if (probe) return;
    engine_ = RuntimeOptions::Engine::kEpoll;
    base::log_warning(
        fmt::format("{}: using epoll and worker threads instead", probe.error().text()));
  }

  base::Result<std::unique_ptr<KernelLoop>> make_loop(std::string name) {
    if (engine_ == RuntimeOptions::Engine::kUring) {
      return TRY(UringLoop::create(std::move(name), workers_));
    }
    return TRY(EpollLoop::create(std::move(name), workers_));
  }

  void end(LoopThread& ended) {
    ended.loop->stop();
    ended.thread.join();
    std::erase_if(threads_, [&](const LoopThread& each) { return &each == &ended; });
  }

  WorkerPool workers_;  // outlives the loops
  RuntimeOptions::Engine engine_;
  std::unique_ptr<KernelLoop> control_;
  std::vector<LoopThread> threads_;
};

// Chains are long, and every layer is an open file.
void raise_open_file_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

base::Result<std::unique_ptr<Runtime>> make_runtime(RuntimeOptions options) {
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);  // writing past a limit is an error of that write
  raise_open_file_limit();
  auto runtime = std::make_unique<KernelRuntime>(options);
  TRY(runtime->set_up());
  return runtime;
}

}  // namespace firn::async
