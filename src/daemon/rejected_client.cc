#include "daemon/rejected_client.h"

#include <array>
#include <utility>

namespace firn::daemon {

using async::Task;

std::optional<uint64_t> RejectionMeter::count(async::TimePoint now) {
  if (told_ == 0 || now - second_ >= std::chrono::seconds(1)) {
    second_ = now;
    told_ = 0;
  }
  if (told_ == kMaxPerSecond) {
    ++untold_;
    return std::nullopt;
  }
  ++told_;
  return std::exchange(untold_, 0);
}

Task<void> RejectedClient::run() {
  scope_.spawn(ignore_input());
  async::IoVec iov(text_.data(), text_.size());
  auto sent = co_await stream_->send(iov);
  if (sent) {
    // Closing at once could make the client's own sending fail before it has read why.
    stream_->shutdown_send();
    co_await async::Loop::current().sleep_for(kPatience, gone_.token());
  }
  stream_->close();
  co_await scope_.join();
}

Task<void> RejectedClient::ignore_input() {
  std::array<char, 512> buffer;
  async::IoVec iov(buffer.data(), buffer.size());
  while (true) {
    auto received = co_await stream_->receive(iov);
    if (!received || *received == 0) break;
  }
  gone_.cancel();
}

}  // namespace firn::daemon
