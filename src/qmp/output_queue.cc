#include "qmp/output_queue.h"

#include <utility>

namespace firn::qmp {

async::Task<void> OutputQueue::run() {
  while (!gone_) {
    if (lines_.empty()) {
      if (close_behind_) set_gone();
      if (finished_) break;
      co_await sender_.wait();
      continue;
    }
    // One send for all that has gathered meanwhile.
    std::deque<Line> batch = std::exchange(lines_, {});
    async::IoVec iov;
    size_t own = 0;
    for (const Line& line : batch) {
      iov.append(const_cast<char*>(line.text->data()), line.text->size());
      if (!line.shared) own += line.text->size();
    }
    auto sent = co_await stream_.send(iov);
    change(-static_cast<ptrdiff_t>(iov.size_bytes()), -static_cast<ptrdiff_t>(own));
    if (!sent) set_gone();
    waiters_.wake_all();
  }
}

void OutputQueue::push(std::string text) {
  push_line({std::make_shared<const std::string>(std::move(text)), false});
}

void OutputQueue::push_line(Line line) {
  if (gone_ || finished_) return;
  const auto size = static_cast<ptrdiff_t>(line.text->size());
  const bool shared = line.shared;
  lines_.push_back(std::move(line));
  sender_.wake_all();
  change(size, shared ? 0 : size);
}

bool OutputQueue::push_event(std::shared_ptr<const std::string> text) {
  if (gone_ || finished_) return true;
  if (queued_bytes_ + text->size() > kEventLimitBytes) {
    set_gone();
    return false;
  }
  push_line({std::move(text), true});
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

void OutputQueue::end_with(std::string text) {
  if (queued_bytes_ != 0) return set_gone();
  push(std::move(text));
  close_behind_ = true;
  finish();
}

void OutputQueue::set_gone() {
  if (gone_) return;
  gone_ = true;
  ptrdiff_t bytes = 0;
  ptrdiff_t own = 0;
  for (const Line& line : lines_) {
    const auto size = static_cast<ptrdiff_t>(line.text->size());
    bytes += size;
    if (!line.shared) own += size;
  }
  lines_.clear();
  stream_.close();
  sender_.wake_all();
  waiters_.wake_all();
  change(-bytes, -own);
}

void OutputQueue::change(ptrdiff_t bytes, ptrdiff_t own) {
  queued_bytes_ += static_cast<size_t>(bytes);
  own_bytes_ += static_cast<size_t>(own);
  if (share_ != nullptr) share_->set(own_bytes_);
}

}  // namespace firn::qmp
