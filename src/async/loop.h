// Loop: one thread's event loop, and everything that a program may ask of the outside world.
//
// Time, randomness, threads, files and sockets are reached only through a Loop, so that the whole
// daemon also runs on a simulated one (sim_world.h). Two implementations face the kernel:
// UringLoop, and EpollLoop where io_uring is forbidden (runtime.h makes the right one).
//
// A loop runs in turns. A turn resumes what became ready, takes in what completed, and ends with
// the turn-end hooks (where replies are sent in batches). Everything here belongs to the loop's own
// thread, except what says "any thread".
#pragma once

#include <chrono>
#include <coroutine>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "async/task.h"

namespace firn::async {

class FileSystem;
class Network;

using Duration = std::chrono::nanoseconds;
// Time since some fixed moment; never goes backwards. Comparable between loops of one runtime.
struct LoopClock {
  using rep = Duration::rep;
  using period = Duration::period;
  using duration = Duration;
  using time_point = std::chrono::time_point<LoopClock>;
  static constexpr bool is_steady = true;
};
using TimePoint = LoopClock::time_point;

// Work for a worker thread. The object belongs to its maker and must live until `done` is resumed
// on the loop that submitted it.
struct WorkItem {
  void (*run)(WorkItem&) = nullptr;  // on a worker thread; may block
  std::coroutine_handle<> done;
  // For the loop's use, as is the rest: called on the loop instead of resuming `done`.
  void (*complete)(WorkItem&) = nullptr;
  WorkItem* next = nullptr;
  void* owner = nullptr;
  bool quick = false;  // several of these may share one worker's turn
};

// A one-shot timer, owned by its maker. `fire` runs on the loop, within a turn.
struct Timer {
  TimePoint deadline;
  void (*fire)(Timer&) = nullptr;
  bool armed = false;  // for the loop's use, as are the next two
  uint64_t sequence = 0;
  size_t heap_index = 0;
};

// Something to do once at the end of the current turn, owned by its maker.
struct TurnHook {
  void (*run)(TurnHook&) = nullptr;
  TurnHook* next = nullptr;  // for the loop's use
  bool queued = false;
};

// Cancellation: a token is asked, a source asks. Both live on one loop. A wait that takes a token
// ends early when the source is cancelled.
class CancelSource;
class CancelToken {
 public:
  CancelToken() = default;  // never cancelled
  bool cancelled() const;

 private:
  friend class CancelSource;
  friend class CancelWaiter;
  explicit CancelToken(CancelSource* source) : source_(source) {}
  CancelSource* source_ = nullptr;
};

// A callback that runs once, when the source of `token` is cancelled. Registered while it lives.
class CancelWaiter {
 public:
  CancelWaiter(CancelToken token, void (*on_cancel)(CancelWaiter&));
  ~CancelWaiter();
  CancelWaiter(const CancelWaiter&) = delete;
  CancelWaiter& operator=(const CancelWaiter&) = delete;

 private:
  friend class CancelSource;
  CancelSource* source_;
  void (*on_cancel_)(CancelWaiter&);
  CancelWaiter* previous_ = nullptr;
  CancelWaiter* next_ = nullptr;
};

class CancelSource {
 public:
  CancelSource() = default;
  ~CancelSource();  // no waiter may be left
  CancelSource(const CancelSource&) = delete;
  CancelSource& operator=(const CancelSource&) = delete;
  CancelToken token() { return CancelToken(this); }
  bool cancelled() const { return cancelled_; }
  void cancel();  // idempotent

 private:
  friend class CancelWaiter;
  bool cancelled_ = false;
  CancelWaiter* first_ = nullptr;
};

class Loop {
 public:
  virtual ~Loop() = default;
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  // The loop whose turn is running on this thread. There must be one.
  static Loop& current();
  static bool has_current();

  const std::string& name() const { return name_; }

  // Any thread: runs `work` on this loop in a later turn, after what was posted before it from the
  // same thread. Dropped without being run if the loop has ended.
  virtual void post(std::move_only_function<void()> work) = 0;

  // Resumes `handle` later in this turn or in the next; never at once.
  virtual void ready(std::coroutine_handle<> handle) = 0;

  // True if this turn has run for longer than a turn should (200 us). A long computation then
  // awaits yield().
  virtual bool turn_is_over() const = 0;

  virtual TimePoint now() const = 0;
  // Microseconds since 1970-01-01 UTC: for timestamps that people and files see.
  virtual int64_t wall_clock_us() const = 0;

  virtual void arm(Timer& timer) = 0;     // `deadline` and `fire` are set; not armed yet
  virtual void disarm(Timer& timer) = 0;  // no effect on one that is not armed

  // Runs `hook` at the end of this turn, once however often it is asked for.
  virtual void at_turn_end(TurnHook& hook) = 0;
  // Takes back what at_turn_end queued. No effect if it is not queued.
  virtual void forget(TurnHook& hook) = 0;

  virtual void submit(WorkItem& item) = 0;

  // 64 random bits; in simulation from the seed.
  virtual uint64_t random() = 0;

  virtual FileSystem& files() = 0;
  virtual Network& network() = 0;

  // Awaitables. ---------------------------------------------------------------------------------

  // Lets everything else that is ready run first.
  auto yield() {
    struct Awaiter {
      Loop& loop;
      bool await_ready() const noexcept { return false; }
      void await_suspend(std::coroutine_handle<> handle) const { loop.ready(handle); }
      void await_resume() const noexcept {}
    };
    return Awaiter{*this};
  }

  // Waits; true if the time has passed, false if `token` was cancelled before.
  Task<bool> sleep_until(TimePoint deadline, CancelToken token = {});
  Task<bool> sleep_for(Duration duration, CancelToken token = {}) {
    return sleep_until(now() + duration, token);
  }

  // Runs `work` on a worker thread, where it may block, and gives what it returned. `work` may
  // refer to the awaiting coroutine's variables; nothing else may touch those meanwhile.
  //   Result<int> fd = co_await loop.on_worker([&] { return open_it(path); });
  template <typename Work>
  auto on_worker(Work work) {
    return WorkerAwaiter<Work, std::invoke_result_t<Work&>>(*this, std::move(work));
  }

 protected:
  explicit Loop(std::string name) : name_(std::move(name)) {}

  // Makes `loop` the current one of this thread while it lives.
  class CurrentScope {
   public:
    explicit CurrentScope(Loop& loop);
    ~CurrentScope();
    CurrentScope(const CurrentScope&) = delete;

   private:
    Loop* previous_;
  };

 private:
  template <typename Work, typename R>
  class WorkerAwaiter : WorkItem {
   public:
    WorkerAwaiter(Loop& loop, Work work) : loop_(loop), work_(std::move(work)) {}
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> handle) {
      done = handle;
      run = [](WorkItem& item) {
        auto& self = static_cast<WorkerAwaiter&>(item);
        if constexpr (std::is_void_v<R>) {
          self.work_();
        } else {
          self.result_.emplace(self.work_());
        }
      };
      loop_.submit(*this);
    }
    R await_resume() {
      if constexpr (!std::is_void_v<R>) return std::move(*result_);
    }

   private:
    using Stored = std::conditional_t<std::is_void_v<R>, char, R>;
    Loop& loop_;
    Work work_;
    std::optional<Stored> result_;
  };

  std::string name_;
};

// Runs `task` on `target` and gives its result back here. Both loops must outlive the call. What
// the task refers to must stay untouched by this loop meanwhile. On the same loop it is a
// plain await.
template <typename T>
Task<T> call_on(Loop& target, Task<T> task);

// Starts `task` on `loop`, from any thread or from none, and calls `done` there with what it gave.
// For main(), tests and the edges of the program; inside it, spawn on a TaskScope.
template <typename T, typename Done>
void start_on(Loop& loop, Task<T> task, Done done);

// ---------------------------------------------------------------------------------------------

namespace internal {

template <typename T, typename Done>
SelfOwned run_then(Task<T> task, Done done) {
  // The task's frame, with all that it holds, is gone before anyone hears that it has ended.
  if constexpr (std::is_void_v<T>) {
    {
      Task<T> owned = std::move(task);
      co_await std::move(owned);
    }
    done();
  } else {
    std::optional<T> value;
    {
      Task<T> owned = std::move(task);
      value.emplace(co_await std::move(owned));
    }
    done(std::move(*value));
  }
}

}  // namespace internal

template <typename T, typename Done>
void start_on(Loop& loop, Task<T> task, Done done) {
  loop.post([task = std::move(task), done = std::move(done)]() mutable {
    internal::run_then(std::move(task), std::move(done));
  });
}

template <typename T>
Task<T> call_on(Loop& target, Task<T> task) {
  Loop& origin = Loop::current();
  if (&origin == &target) co_return co_await std::move(task);
  struct Awaiter {
    Loop& origin;
    Loop& target;
    Task<T> task;
    std::optional<std::conditional_t<std::is_void_v<T>, char, T>> result;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> handle) {
      if constexpr (std::is_void_v<T>) {
        start_on(target, std::move(task),
                 [this, handle] { origin.post([handle] { handle.resume(); }); });
      } else {
        start_on(target, std::move(task), [this, handle](T value) {
          result.emplace(std::move(value));
          origin.post([handle] { handle.resume(); });
        });
      }
    }
    T await_resume() {
      if constexpr (!std::is_void_v<T>) return std::move(*result);
    }
  };
  Awaiter awaiter{origin, target, std::move(task), {}};
  co_return co_await awaiter;
}

}  // namespace firn::async
