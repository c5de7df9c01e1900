// TaskScope: the owner of tasks that run beside each other. Every coroutine has a scope that joins
// it; nothing is detached.
#pragma once

#include <cstddef>

#include "async/loop.h"
#include "async/sync.h"
#include "async/task.h"

namespace firn::async {

// Belongs to one loop. Destroyed only when it is empty: `co_await scope.join()` first.
class TaskScope {
 public:
  TaskScope() = default;
  TaskScope(const TaskScope&) = delete;
  TaskScope& operator=(const TaskScope&) = delete;
  ~TaskScope() { CHECK(running_ == 0); }

  // Starts `task` at once, up to its first suspension.
  void spawn(Task<void> task) {
    ++running_;
    run(std::move(task), *this);
  }

  // Asks the tasks to end (those that look at token()). Join still waits for them.
  void cancel() { cancel_.cancel(); }
  CancelToken token() { return cancel_.token(); }

  size_t running() const { return running_; }

  // Waits until no task is left, those spawned meanwhile included.
  Task<void> join() {
    while (running_ != 0) co_await joiners_.wait();
  }

 private:
  static internal::SelfOwned run(Task<void> task, TaskScope& scope) {
    {
      // The task's frame, with all that it holds, is gone before the scope counts it as ended.
      Task<void> owned = std::move(task);
      co_await std::move(owned);
    }
    if (--scope.running_ == 0) scope.joiners_.wake_all();
  }

  size_t running_ = 0;
  WaitList joiners_;
  CancelSource cancel_;
};

}  // namespace firn::async
