#include "async/worker_pool.h"

#include <pthread.h>

#include <algorithm>
#include <cstdio>
#include <system_error>
#include <utility>

#include "base/check.h"

namespace firn::async {
namespace {

// Quick items that one worker takes at a time: enough to pay for the lock and the wake-up, few
// enough that the other workers get their share.
constexpr size_t kBatchLimit = 16;

}  // namespace

WorkerPool::WorkerPool(unsigned thread_limit) : thread_limit_(std::max(thread_limit, 1u)) {}

WorkerPool::~WorkerPool() {
  {
    std::lock_guard lock(mutex_);
    ending_ = true;
  }
  wake_.notify_all();
  wake_watcher_.notify_all();
  // The watcher first: until it has ended, there may be more threads.
  if (watcher_.joinable()) watcher_.join();
  for (const auto& worker : workers_) worker->thread.join();
  CHECK(first_ == nullptr);
}

void WorkerPool::submit(WorkItem* first, WorkItem* last, size_t count) {
  if (count == 0) return;
  size_t to_wake = 0;
  {
    std::lock_guard lock(mutex_);
    CHECK(!ending_ || !workers_.empty());
    last->next = nullptr;
    (last_ != nullptr ? last_->next : first_) = first;
    last_ = last;
    queued_ += count;
    to_wake = std::min<size_t>(queued_, idle_);
    while (to_wake < queued_ && workers_.size() < thread_limit_) {
      if (!start_thread()) break;
      ++to_wake;
    }
    if (to_wake < queued_ || count > 1) start_watching();
    to_wake = std::min<size_t>(to_wake, idle_);
  }
  for (; to_wake != 0; --to_wake) wake_.notify_one();
}

bool WorkerPool::start_thread() {
  const size_t index = workers_.size();
  auto worker = std::make_unique<Worker>();
  try {
    worker->thread = std::thread([this, index, own = worker.get()] { serve(*own, index); });
  } catch (const std::system_error&) {
    // The system has no more threads to give; those that there are do the work.
    CHECK(!workers_.empty());
    return false;
  }
  workers_.push_back(std::move(worker));
  return true;
}

void WorkerPool::run_detached(std::move_only_function<void()> work) {
  struct Detached : WorkItem {
    std::move_only_function<void()> work;
  };
  auto* item = new Detached;
  item->work = std::move(work);
  item->run = [](WorkItem& self) {
    auto* detached = static_cast<Detached*>(&self);
    detached->work();
    delete detached;
  };
  submit(item, item, 1);
}

WorkItem* WorkerPool::take_batch() {
  WorkItem* const batch = first_;
  WorkItem* end = batch;
  size_t count = 1;
  const size_t share = std::clamp<size_t>(queued_ / workers_.size(), 1, kBatchLimit);
  while (count < share && end->quick && end->next != nullptr && end->next->quick) {
    end = end->next;
    ++count;
  }
  first_ = end->next;
  if (first_ == nullptr) last_ = nullptr;
  end->next = nullptr;
  queued_ -= count;
  ++begun_;
  return batch;
}

WorkItem* WorkerPool::Worker::take_next() {
  const std::lock_guard lock(mutex);
  WorkItem* const item = rest;
  if (item != nullptr) rest = item->next;
  ++taken;
  return item;
}

void WorkerPool::serve(Worker& worker, size_t index) {
  char name[16];
  std::snprintf(name, sizeof name, "worker-%zu", index);
  pthread_setname_np(pthread_self(), name);

  std::unique_lock lock(mutex_);
  while (true) {
    while (first_ == nullptr) {
      if (ending_) return;
      ++idle_;
      wake_.wait(lock);
      --idle_;
    }
    {
      const std::lock_guard own(worker.mutex);
      worker.rest = take_batch();
    }
    lock.unlock();
    while (WorkItem* const item = worker.take_next()) {
      auto* const sink = static_cast<WorkSink*>(item->owner);
      item->run(*item);  // without a sink, the item may be gone after
      if (sink != nullptr) sink->work_done(*item);
    }
    lock.lock();
  }
}

// A disk that does not answer ---------------------------------------------------------------------

void WorkerPool::start_watching() {
  if (watching_ || ending_) return;
  if (!watcher_.joinable()) {
    try {
      watcher_ = std::thread([this] { watch(); });
    } catch (const std::system_error&) {
      return;  // the next one may be luckier
    }
  }
  watching_ = true;
  wake_watcher_.notify_one();
}

// As long as something waits for a worker: looks every kPatience whether it goes on.
void WorkerPool::watch() {
  pthread_setname_np(pthread_self(), "worker-watch");
  std::unique_lock lock(mutex_);
  while (!ending_) {
    if (!watching_) {
      wake_watcher_.wait(lock);
      continue;
    }
    const uint64_t before = begun_;
    wake_watcher_.wait_for(lock, kPatience, [this] { return ending_; });
    const bool rests = take_back_rests();
    if (first_ != nullptr && idle_ != 0) {
      wake_.notify_one();
    } else if (first_ != nullptr && begun_ == before && workers_.size() < kMostThreads) {
      (void)start_thread();
    }
    watching_ = first_ != nullptr || rests;
  }
}

bool WorkerPool::take_back_rests() {
  bool rests = false;
  for (const auto& worker : workers_) {
    const std::lock_guard lock(worker->mutex);
    const bool stuck = std::exchange(worker->seen, worker->taken) == worker->taken;
    rests = rests || worker->rest != nullptr;
    if (!stuck || worker->rest == nullptr) continue;
    WorkItem* const first = std::exchange(worker->rest, nullptr);
    WorkItem* last = first;
    for (++queued_; last->next != nullptr; last = last->next) ++queued_;
    last->next = first_;
    if (first_ == nullptr) last_ = last;
    first_ = first;
  }
  return rests;
}

}  // namespace firn::async
