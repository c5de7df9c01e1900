#include "qmp/rejected_client.h"

#include <array>
#include <utility>

namespace firn::qmp {

using async::Task;

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

}  // namespace firn::qmp
