// Waiting for each other on one loop. No locks, no atomics: everything here belongs to one loop's
// thread. Whoever is woken runs later in the turn, never inside the call that woke it.
#pragma once

#include <coroutine>
#include <cstddef>
#include <utility>

#include "async/loop.h"
#include "base/check.h"

namespace firn::async {

// Coroutines that wait, in order of arrival. The nodes live in the waiting frames.
class WaitList {
 public:
  struct Node {
    std::coroutine_handle<> handle;
    Node* next = nullptr;
  };
  WaitList() = default;
  WaitList(const WaitList&) = delete;
  WaitList& operator=(const WaitList&) = delete;
  ~WaitList() { CHECK(first_ == nullptr); }

  bool empty() const { return first_ == nullptr; }
  void push(Node& node) {
    node.next = nullptr;
    (last_ != nullptr ? last_->next : first_) = &node;
    last_ = &node;
  }
  // Wakes the first, or all, of those who wait at this moment.
  void wake_one() {
    if (first_ == nullptr) return;
    Node* node = first_;
    first_ = node->next;
    if (first_ == nullptr) last_ = nullptr;
    Loop::current().ready(node->handle);
  }
  void wake_all() {
    Node* node = std::exchange(first_, nullptr);
    last_ = nullptr;
    while (node != nullptr) {
      Node* next = node->next;
      Loop::current().ready(node->handle);
      node = next;
    }
  }

  // Waits to be woken. Look at the condition again afterwards.
  auto wait() {
    struct Awaiter {
      WaitList& list;
      Node node;
      bool await_ready() const noexcept { return false; }
      void await_suspend(std::coroutine_handle<> handle) {
        node.handle = handle;
        list.push(node);
      }
      void await_resume() const noexcept {}
    };
    return Awaiter{*this, {}};
  }

 private:
  Node* first_ = nullptr;
  Node* last_ = nullptr;
};

// Set once, seen by all who wait and all who come later, until reset.
class Event {
 public:
  bool is_set() const { return set_; }
  void set() {
    set_ = true;
    waiters_.wake_all();
  }
  void reset() { set_ = false; }
  Task<void> wait() {
    while (!set_) co_await waiters_.wait();
  }

 private:
  bool set_ = false;
  WaitList waiters_;
};

// Holds back whoever enters while it is closed. Passing an open gate costs one branch and suspends
// nobody. Closings nest: it is open again when each close() has met its open().
class Gate {
 public:
  bool is_open() const { return closed_ == 0; }
  void close() { ++closed_; }
  void open() {
    CHECK(closed_ > 0);
    if (--closed_ == 0) waiters_.wake_all();
  }
  // Those held back are woken in order of arrival, but a gate that closes again before they run
  // holds them again: look at is_open() in a loop, as enter() does.
  Task<void> enter() {
    while (closed_ != 0) co_await waiters_.wait();
  }

 private:
  int closed_ = 0;
  WaitList waiters_;
};

// Mutual exclusion across awaits, first come first served.
class Mutex {
 public:
  class [[nodiscard]] Guard {
   public:
    Guard() = default;
    explicit Guard(Mutex* mutex) : mutex_(mutex) {}
    Guard(Guard&& other) noexcept : mutex_(std::exchange(other.mutex_, nullptr)) {}
    Guard& operator=(Guard&& other) noexcept {
      unlock();
      mutex_ = std::exchange(other.mutex_, nullptr);
      return *this;
    }
    ~Guard() { unlock(); }
    void unlock() {
      if (mutex_ != nullptr) std::exchange(mutex_, nullptr)->unlock();
    }

   private:
    Mutex* mutex_ = nullptr;
  };

  bool is_locked() const { return locked_; }

  // auto guard = co_await mutex.lock();
  auto lock() {
    struct Awaiter {
      Mutex& mutex;
      WaitList::Node node;
      bool await_ready() const noexcept {
        if (mutex.locked_) return false;
        mutex.locked_ = true;
        return true;
      }
      void await_suspend(std::coroutine_handle<> handle) {
        node.handle = handle;
        mutex.waiters_.push(node);
      }
      Guard await_resume() const noexcept { return Guard(&mutex); }
    };
    return Awaiter{*this, {}};
  }

 private:
  void unlock() {
    // Handed over, not released, so that nobody barges in before the one who is woken.
    if (waiters_.empty()) {
      locked_ = false;
    } else {
      waiters_.wake_one();
    }
  }
  bool locked_ = false;
  WaitList waiters_;
};

}  // namespace firn::async
