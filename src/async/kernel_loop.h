// KernelLoop: what both loops that face the kernel have in common. The ready queue, timers, posts,
// turn-end hooks and workers are here; UringLoop and EpollLoop add how to wait.
//
// A turn takes in finished work and posts, fires timers, resumes what is ready until nothing is or
// the turn has lasted long enough, runs the hooks, hands collected work to the workers, and then
// waits for the kernel, with one system call that also submits what was collected for it.
#pragma once

#include <sys/uio.h>

#include <array>
#include <atomic>
#include <coroutine>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "async/loop.h"
#include "async/ready_queue.h"
#include "async/timer_heap.h"
#include "async/worker_pool.h"
#include "base/result.h"

namespace firn::async {

class PosixFileSystem;
class PosixNetwork;

// Waits once until a descriptor is ready. Owned by whoever waits; the descriptor stays open
// meanwhile.
struct PollRequest {
  int fd = -1;
  uint32_t events = 0;  // POLLIN or POLLOUT
  void (*on_ready)(PollRequest&) = nullptr;
  void* slot = nullptr;  // for the loop's use; null when no wait is in progress
  bool waiting() const { return slot != nullptr; }
};

// An operation of io_uring. Lives, with the memory it names, until `complete` is called.
struct RingRequest {
  enum class Kind : uint8_t { kRead, kWrite, kSync, kDataSync, kReceive };
  void (*complete)(RingRequest&, int32_t result) = nullptr;
  Kind kind = Kind::kRead;
  int fd = -1;
  const iovec* pieces = nullptr;  // at most IOV_MAX; kReceive: exactly one
  unsigned piece_count = 0;
  uint64_t offset = 0;
};

class KernelLoop : public Loop, private WorkSink {
 public:
  ~KernelLoop() override;

  // Runs turns until stop() is called. All calls come from the same thread: the loop's.
  void run();
  // Any thread. Ends the run() that is in progress, or else the next one.
  void stop();

  void post(std::move_only_function<void()> work) override;
  void ready(std::coroutine_handle<> handle) override { ready_.push(handle); }
  bool turn_is_over() const override { return now() - turn_start_ > kTurnLimit; }
  TimePoint now() const override;
  int64_t wall_clock_us() const override;
  void arm(Timer& timer) override { timers_.arm(timer); }
  void disarm(Timer& timer) override { timers_.disarm(timer); }
  void at_turn_end(TurnHook& hook) override;
  void forget(TurnHook& hook) override;
  void submit(WorkItem& item) override;
  uint64_t random() override;
  FileSystem& files() override;
  Network& network() override;

  // For the operations that complete without waiting: true if `waiter` may go on at once; else it
  // has been put in the ready queue, so that a turn ends however fast its operations are.
  bool may_go_on(std::coroutine_handle<> waiter);

  WorkerPool& workers() { return workers_; }

  // Calls request.on_ready, from within a turn, once the descriptor is ready or has failed.
  virtual void poll(PollRequest& request) = 0;
  // Ends the wait at once, if there is one: on_ready is not called.
  virtual void cancel(PollRequest& request) = 0;

  virtual bool has_ring() const { return false; }
  // Only with a ring. `complete` is called from within a turn.
  virtual void submit(RingRequest& request);
  // Asks for an early end: `complete` is still called, with -ECANCELED or with what came of it.
  virtual void cancel(RingRequest& request);

 protected:
  KernelLoop(std::string name, WorkerPool& workers);
  // After the derived constructor, once: makes the descriptor by which other threads wake this.
  base::Result<> open_wake();

  // On the loop's thread, before its first turn.
  virtual void begin_thread() {}
  // Submits what was collected, waits until something completes or `timeout` has passed (none: for
  // as long as it takes; zero: not at all), and takes in all that has completed.
  virtual void wait(std::optional<Duration> timeout) = 0;

 private:
  static constexpr Duration kTurnLimit = std::chrono::microseconds(200);

  void turn();
  void take_finished_work();
  void run_posted();
  void run_ready();
  void run_hooks();
  void hand_over_work();
  void wait_for_kernel();
  void wake();
  void work_done(WorkItem& item) override;
  bool has_work_now() const;

  WorkerPool& workers_;
  TimePoint turn_start_{};
  ReadyQueue ready_;
  TimerHeap timers_;
  unsigned inline_count_ = 0;
  std::thread::id thread_;  // none before the first run()

  TurnHook* first_hook_ = nullptr;
  TurnHook* last_hook_ = nullptr;
  TurnHook* running_hooks_ = nullptr;

  WorkItem* first_work_ = nullptr;  // collected for the workers
  WorkItem* last_work_ = nullptr;
  size_t work_count_ = 0;

  std::vector<std::move_only_function<void()>> posted_batch_;  // being run, from posted_next_ on
  size_t posted_next_ = 0;

  std::array<uint64_t, 32> random_pool_{};
  size_t random_left_ = 0;

  std::unique_ptr<PosixFileSystem> files_;
  std::unique_ptr<PosixNetwork> network_;

  // Shared with other threads. A thread that has left something here looks at `sleeping_` after,
  // and the loop looks for something left here after setting it: one of them sees the other.
  std::atomic<bool> sleeping_ = false;
  std::atomic<bool> stop_requested_ = false;
  std::atomic<bool> has_posted_ = false;
  std::atomic<WorkItem*> finished_work_ = nullptr;  // newest first
  std::atomic<size_t> work_at_workers_ = 0;         // a worker's last touch of this loop
  std::mutex posted_mutex_;
  std::vector<std::move_only_function<void()>> posted_;
  PollRequest wake_poll_;
};

}  // namespace firn::async
