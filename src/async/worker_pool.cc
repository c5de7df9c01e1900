#include "async/worker_pool.h"

#include <pthread.h>

#include <algorithm>
#include <cstdio>
#include <system_error>

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
  for (std::thread& thread : threads_) thread.join();
  CHECK(first_ == nullptr);
}

void WorkerPool::submit(WorkItem* first, WorkItem* last, size_t count) {
  if (count == 0) return;
  size_t to_wake = 0;
  {
    std::lock_guard lock(mutex_);
    CHECK(!ending_ || !threads_.empty());
    last->next = nullptr;
    (last_ != nullptr ? last_->next : first_) = first;
    last_ = last;
    queued_ += count;
    to_wake = std::min<size_t>(queued_, idle_);
    while (to_wake < queued_ && threads_.size() < thread_limit_) {
      if (!start_thread()) break;
      ++to_wake;
    }
    to_wake = std::min<size_t>(to_wake, idle_);
  }
  for (; to_wake != 0; --to_wake) wake_.notify_one();
}

bool WorkerPool::start_thread() {
  const unsigned index = static_cast<unsigned>(threads_.size());
  try {
    threads_.emplace_back([this, index] { serve(index); });
    return true;
  } catch (const std::system_error&) {
    // The system has no more threads to give; those that there are do the work.
    CHECK(!threads_.empty());
    return false;
  }
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
  const size_t share = std::clamp<size_t>(queued_ / threads_.size(), 1, kBatchLimit);
  while (count < share && end->quick && end->next != nullptr && end->next->quick) {
    end = end->next;
    ++count;
  }
  first_ = end->next;
  if (first_ == nullptr) last_ = nullptr;
  end->next = nullptr;
  queued_ -= count;
  return batch;
}

void WorkerPool::serve(unsigned index) {
  char name[16];
  std::snprintf(name, sizeof name, "worker-%u", index);
  pthread_setname_np(pthread_self(), name);

  std::unique_lock lock(mutex_);
  while (true) {
    while (first_ == nullptr) {
      if (ending_) return;
      ++idle_;
      wake_.wait(lock);
      --idle_;
    }
    WorkItem* batch = take_batch();
    lock.unlock();
    while (batch != nullptr) {
      WorkItem* const item = batch;
      batch = item->next;
      auto* const sink = static_cast<WorkSink*>(item->owner);
      item->run(*item);  // without a sink, the item may be gone after
      if (sink != nullptr) sink->work_done(*item);
    }
    lock.lock();
  }
}

}  // namespace firn::async
