#include "async/kernel_loop.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <thread>
#include <utility>

#include "async/posix_file.h"
#include "async/posix_network.h"
#include "base/check.h"

namespace firn::async {
namespace {

Duration read_clock(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return std::chrono::seconds(time.tv_sec) + Duration(time.tv_nsec);
}

}  // namespace

KernelLoop::KernelLoop(std::string name, WorkerPool& workers)
    : Loop(std::move(name)),
      workers_(workers),
      files_(std::make_unique<PosixFileSystem>(*this)),
      network_(std::make_unique<PosixNetwork>(*this)) {}

KernelLoop::~KernelLoop() {
  // A worker may still be about to wake this loop for work that has been taken in already.
  while (work_at_workers_.load() != 0) std::this_thread::yield();
  if (wake_poll_.fd >= 0) ::close(wake_poll_.fd);
}

base::Result<> KernelLoop::open_wake() {
  wake_poll_.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (wake_poll_.fd < 0) {
    return base::fail(base::Error::from_errno(errno, "Could not make an event loop"));
  }
  wake_poll_.events = POLLIN;
  // The descriptor's count is the only thing that matters, and only that it is not zero.
  wake_poll_.on_ready = [](PollRequest& request) {
    uint64_t count = 0;
    [[maybe_unused]] const ssize_t got = ::read(request.fd, &count, sizeof count);
  };
  return {};
}

TimePoint KernelLoop::now() const { return TimePoint(read_clock(CLOCK_MONOTONIC)); }

int64_t KernelLoop::wall_clock_us() const { return read_clock(CLOCK_REALTIME).count() / 1000; }

FileSystem& KernelLoop::files() { return *files_; }
Network& KernelLoop::network() { return *network_; }

uint64_t KernelLoop::random() {
  if (random_left_ == 0) {
    // Requests of up to 256 bytes are answered whole (random(4)).
    const ssize_t got = getrandom(random_pool_.data(), sizeof random_pool_, 0);
    CHECK(got == static_cast<ssize_t>(sizeof random_pool_));
    random_left_ = random_pool_.size();
  }
  return std::exchange(random_pool_[--random_left_], 0);
}

void KernelLoop::submit(RingRequest&) { CHECK(false); }
void KernelLoop::cancel(RingRequest&) { CHECK(false); }

// Other threads -----------------------------------------------------------------------------------

void KernelLoop::wake() {
  if (!sleeping_.load() || !sleeping_.exchange(false)) return;
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t put = ::write(wake_poll_.fd, &one, sizeof one);
}

void KernelLoop::post(std::move_only_function<void()> work) {
  {
    std::lock_guard lock(posted_mutex_);
    posted_.push_back(std::move(work));
    has_posted_.store(true);
  }
  wake();
}

void KernelLoop::stop() {
  stop_requested_.store(true);
  wake();
}

void KernelLoop::work_done(WorkItem& item) {
  item.next = finished_work_.load(std::memory_order_relaxed);
  while (!finished_work_.compare_exchange_weak(item.next, &item)) {
  }
  wake();
  work_at_workers_.fetch_sub(1);
}

// The turn ----------------------------------------------------------------------------------------

void KernelLoop::run() {
  CurrentScope scope(*this);
  if (thread_ == std::thread::id()) {
    thread_ = std::this_thread::get_id();
    begin_thread();
  }
  CHECK(thread_ == std::this_thread::get_id());
  while (!stop_requested_.load(std::memory_order_acquire)) turn();
  stop_requested_.store(false);
}

void KernelLoop::turn() {
  turn_start_ = now();
  take_finished_work();
  run_posted();
  timers_.fire_due(now());
  run_ready();
  run_hooks();
  hand_over_work();
  wait_for_kernel();
}

void KernelLoop::take_finished_work() {
  if (finished_work_.load(std::memory_order_relaxed) == nullptr) return;
  WorkItem* newest = finished_work_.exchange(nullptr);
  WorkItem* oldest = nullptr;
  while (newest != nullptr) {
    WorkItem* const next = newest->next;
    newest->next = oldest;
    oldest = newest;
    newest = next;
  }
  while (oldest != nullptr) {
    WorkItem& item = *std::exchange(oldest, oldest->next);
    if (item.complete != nullptr) {
      item.complete(item);
    } else {
      ready_.push(item.done);
    }
  }
}

void KernelLoop::run_posted() {
  if (posted_next_ == posted_batch_.size()) {
    posted_batch_.clear();
    posted_next_ = 0;
    if (!has_posted_.load(std::memory_order_relaxed)) return;
    std::lock_guard lock(posted_mutex_);
    posted_batch_.swap(posted_);
    has_posted_.store(false);
  }
  while (posted_next_ != posted_batch_.size()) {
    auto work = std::move(posted_batch_[posted_next_++]);
    work();
    if (turn_is_over()) return;
  }
}

void KernelLoop::run_ready() {
  constexpr unsigned kStepsPerLook = 16;
  unsigned steps = 0;
  while (!ready_.empty()) {
    ready_.pop().resume();
    if (++steps % kStepsPerLook == 0 && turn_is_over()) return;
  }
}

bool KernelLoop::may_go_on(std::coroutine_handle<> waiter) {
  constexpr unsigned kOperationsPerLook = 8;
  if (++inline_count_ % kOperationsPerLook != 0 || !turn_is_over()) return true;
  ready(waiter);
  return false;
}

void KernelLoop::submit(WorkItem& item) {
  item.next = nullptr;
  item.owner = static_cast<WorkSink*>(this);
  (last_work_ != nullptr ? last_work_->next : first_work_) = &item;
  last_work_ = &item;
  ++work_count_;
}

void KernelLoop::hand_over_work() {
  if (work_count_ == 0) return;
  work_at_workers_.fetch_add(work_count_);
  workers_.submit(std::exchange(first_work_, nullptr), std::exchange(last_work_, nullptr),
                  std::exchange(work_count_, 0));
}

void KernelLoop::at_turn_end(TurnHook& hook) {
  if (hook.queued) return;
  hook.queued = true;
  hook.next = nullptr;
  (last_hook_ != nullptr ? last_hook_->next : first_hook_) = &hook;
  last_hook_ = &hook;
}

void KernelLoop::forget(TurnHook& hook) {
  if (!hook.queued) return;
  hook.queued = false;
  for (TurnHook** link = &running_hooks_; *link != nullptr; link = &(*link)->next) {
    if (*link == &hook) {
      *link = hook.next;
      return;
    }
  }
  TurnHook* previous = nullptr;
  for (TurnHook* each = first_hook_; each != nullptr; previous = each, each = each->next) {
    if (each != &hook) continue;
    (previous != nullptr ? previous->next : first_hook_) = hook.next;
    if (last_hook_ == &hook) last_hook_ = previous;
    return;
  }
}

void KernelLoop::run_hooks() {
  running_hooks_ = std::exchange(first_hook_, nullptr);
  last_hook_ = nullptr;
  while (running_hooks_ != nullptr) {
    TurnHook& hook = *running_hooks_;
    running_hooks_ = hook.next;
    hook.queued = false;
    hook.run(hook);
  }
}

bool KernelLoop::has_work_now() const {
  return !ready_.empty() || first_hook_ != nullptr || work_count_ != 0 ||
         posted_next_ != posted_batch_.size() || has_posted_.load() ||
         finished_work_.load() != nullptr || stop_requested_.load();
}

void KernelLoop::wait_for_kernel() {
  if (has_work_now()) {
    wait(Duration::zero());
    return;
  }
  std::optional<Duration> timeout;
  if (const auto deadline = timers_.next_deadline()) {
    timeout = std::max(*deadline - now(), Duration::zero());
  }
  if (timeout == Duration::zero()) {
    wait(timeout);
    return;
  }
  if (!wake_poll_.waiting()) poll(wake_poll_);
  sleeping_.store(true);
  // Whoever left something before this store may have seen a loop that was awake.
  if (has_work_now()) timeout = Duration::zero();
  wait(timeout);
  sleeping_.store(false);
}

}  // namespace firn::async
