#include "qmp/output_queue.h"

#include <utility>

namespace firn::qmp {

async::Task<void> OutputQueue::run() {
  while (!gone_) {
    if (texts_.empty()) {
      if (finished_) break;
      co_await sender_.wait();
      continue;
    }
    // One send for all that has gathered meanwhile.
    std::deque<std::string> batch = std::exchange(texts_, {});
    async::IoVec iov;
    for (std::string& text : batch) iov.append(text.data(), text.size());
    auto sent = co_await stream_.send(iov);
    queued_bytes_ -= iov.size_bytes();
    if (!sent) set_gone();
    waiters_.wake_all();
  }
}

void OutputQueue::push(std::string text) {
  if (gone_ || finished_) return;
  queued_bytes_ += text.size();
  texts_.push_back(std::move(text));
  sender_.wake_all();
}

bool OutputQueue::push_event(std::string text) {
  if (gone_ || finished_) return true;
  if (queued_bytes_ + text.size() > kEventLimitBytes) {
    set_gone();
    return false;
  }
  push(std::move(text));
  return true;
}

async::Task<void> OutputQueue::wait_for_room() {
  while (!gone_ && queued_bytes_ > kRoomBytes) co_await waiters_.wait();
}

async::Task<void> OutputQueue::wait_until_sent() {
  while (!gone_ && queued_bytes_ != 0) co_await waiters_.wait();
}

void OutputQueue::finish() {
  finished_ = true;
  sender_.wake_all();
}

void OutputQueue::set_gone() {
  if (gone_) return;
  gone_ = true;
  for (const std::string& text : texts_) queued_bytes_ -= text.size();
  texts_.clear();
  stream_.close();
  sender_.wake_all();
  waiters_.wake_all();
}

}  // namespace firn::qmp
