// WorkerPool: the threads on which blocking work runs, shared by all loops of a runtime.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "async/loop.h"

namespace firn::async {

// Where a finished WorkItem goes. Called on a worker's thread.
class WorkSink {
 public:
  virtual void work_done(WorkItem& item) = 0;

 protected:
  ~WorkSink() = default;
};

// Threads start when work first needs them and stay. Everything here may be called from any thread.
//
// `thread_limit` threads do the work as long as it gets done. A disk that does not answer may hold
// all of them; then, whenever no work has begun for kPatience, one more is started, up to
// kMostThreads, so that one dead disk does not stop the work for all others.
class WorkerPool {
 public:
  static constexpr auto kPatience = std::chrono::milliseconds(50);
  static constexpr size_t kMostThreads = 512;

  explicit WorkerPool(unsigned thread_limit);
  // Runs what is queued to its end, then joins.
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  // Queues the list from `first` to `last`, of `count` items linked by `next`. Each item's `owner`
  // is the WorkSink* that hears of its end, or null: then the item takes care of itself.
  void submit(WorkItem* first, WorkItem* last, size_t count);

  // Runs `work`; nobody hears of its end, but the pool's destructor waits for it.
  void run_detached(std::move_only_function<void()> work);

 private:
  // One thread, and what it has taken but not begun.
  struct Worker {
    std::thread thread;
    std::mutex mutex;  // after mutex_ where both are held
    WorkItem* rest = nullptr;
    uint64_t taken = 0;
    uint64_t seen = 0;  // `taken` when the watcher last looked
    WorkItem* take_next();
  };
  bool start_thread();  // holds mutex_
  void serve(Worker& worker, size_t index);
  // The next item, with those that may run right after it on the same thread. Holds mutex_.
  WorkItem* take_batch();
  void start_watching();  // holds mutex_
  void watch();
  // Puts what a worker has taken and not begun since the last look back into the queue; true if
  // some worker has such a rest. Holds mutex_.
  bool take_back_rests();

  const unsigned thread_limit_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable wake_watcher_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::thread watcher_;
  WorkItem* first_ = nullptr;
  WorkItem* last_ = nullptr;
  size_t queued_ = 0;
  uint64_t begun_ = 0;  // batches
  unsigned idle_ = 0;
  bool watching_ = false;
  bool ending_ = false;
};

}  // namespace firn::async
