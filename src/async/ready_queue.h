// ReadyQueue: coroutines to be resumed, first come first served.
#pragma once

#include <coroutine>
#include <cstddef>
#include <vector>

namespace firn::async {

class ReadyQueue {
 public:
  bool empty() const { return head_ == tail_; }
  void push(std::coroutine_handle<> handle) {
    if (tail_ - head_ == ring_.size()) grow();
    ring_[tail_++ & (ring_.size() - 1)] = handle;
  }
  // There must be one.
  std::coroutine_handle<> pop() { return ring_[head_++ & (ring_.size() - 1)]; }

 private:
  void grow() {
    std::vector<std::coroutine_handle<>> larger(ring_.size() * 2);
    const size_t count = tail_ - head_;
    for (size_t i = 0; i != count; ++i) larger[i] = ring_[(head_ + i) & (ring_.size() - 1)];
    ring_ = std::move(larger);
    head_ = 0;
    tail_ = count;
  }

  std::vector<std::coroutine_handle<>> ring_ = std::vector<std::coroutine_handle<>>(256);
  size_t head_ = 0;  // both only grow; the ring's size is a power of two
  size_t tail_ = 0;
};

}  // namespace firn::async
