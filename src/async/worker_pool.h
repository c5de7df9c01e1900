// WorkerPool: the threads on which blocking work runs, shared by all loops of a runtime.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <functional>
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
class WorkerPool {
 public:
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
  bool start_thread();  // holds mutex_
  void serve(unsigned index);
  // The next item, with those that may run right after it on the same thread. Holds mutex_.
  WorkItem* take_batch();

  const unsigned thread_limit_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<std::thread> threads_;
  WorkItem* first_ = nullptr;
  WorkItem* last_ = nullptr;
  size_t queued_ = 0;
  unsigned idle_ = 0;
  bool ending_ = false;
};

}  // namespace firn::async
