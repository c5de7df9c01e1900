// Runtime: the loops of one program. In production each has a thread; in simulation
// (sim_world.h) all take turns on one.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "async/loop.h"
#include "base/result.h"

namespace firn::async {

class Runtime {
 public:
  virtual ~Runtime() = default;  // ends and joins what remove_loop did not

  // A new loop, running. Called on the control loop's thread, or before run().
  virtual base::Result<Loop*> add_loop(std::string name) = 0;
  // Ends a loop that add_loop gave: no task of it may be left. Its memory is freed.
  virtual void remove_loop(Loop* loop) = 0;

  // The loop that main's thread runs.
  virtual Loop& control_loop() = 0;

  // Runs the control loop until stop() is called; returns with everything still alive. A stop()
  // that came before ends it at once. Every run() comes from the same thread.
  virtual void run() = 0;
  // Any thread.
  virtual void stop() = 0;
};

struct RuntimeOptions {
  enum class Engine { kProbe, kUring, kEpoll } engine = Engine::kProbe;
  unsigned worker_count = 4;  // threads for blocking work, shared by all loops
};

// A runtime on this machine's kernel. With kProbe, loops run on io_uring if the kernel lets them,
// else on epoll and workers, which is logged once. Errors only if kUring was asked for and can't be
// had. Ignores SIGPIPE and SIGXFSZ and raises the limit of open files, both for the whole process.
// A process that forks does so before: rings and threads stay behind.
base::Result<std::unique_ptr<Runtime>> make_runtime(RuntimeOptions options = {});

// Runs `task` on a runtime's control loop to its end and gives its result. For main() and tests.
template <typename T>
T run_until_done(Runtime& runtime, Task<T> task) {
  if constexpr (std::is_void_v<T>) {
    start_on(runtime.control_loop(), std::move(task), [&] { runtime.stop(); });
    runtime.run();
  } else {
    std::optional<T> result;
    start_on(runtime.control_loop(), std::move(task), [&](T value) {
      result.emplace(std::move(value));
      runtime.stop();
    });
    runtime.run();
    return std::move(*result);
  }
}

// SIGTERM, SIGINT and SIGHUP as values. Blocks these signals in the calling thread, so it is
// made before any other thread; `wait` then gives the next one's number, on `loop`.
class SignalSource {
 public:
  virtual ~SignalSource() = default;
  virtual Task<int> wait() = 0;  // -1 after close()
  virtual void close() = 0;
};
// Before any loop or thread is made.
void block_signals();
base::Result<std::unique_ptr<SignalSource>> make_signal_source(Loop& loop);

}  // namespace firn::async
