#include "qmp/hmp_session.h"

#include <fmt/format.h>

#include <utility>

namespace firn::qmp {
namespace {

constexpr size_t kReadBytes = 4096;
// QEMU's, since scripts wait for it.
constexpr std::string_view kPrompt = "(qemu) ";

}  // namespace

HmpSession::HmpSession(std::unique_ptr<async::Stream> stream, Commands& commands,
                       std::string greeting)
    : stream_(std::move(stream)),
      hmp_(commands),
      greeting_(std::move(greeting)),
      output_(*stream_) {}

Task<void> HmpSession::run() {
  scope_.spawn(output_.run());
  print(fmt::format("{}\n{}", greeting_, kPrompt));
  std::string buffer(kReadBytes, '\0');
  async::IoVec iov(buffer.data(), buffer.size());
  while (true) {
    auto received = co_await stream_->receive(iov);
    if (!received || *received == 0) break;
    co_await take_bytes(std::string_view(buffer).substr(0, *received));
  }
  output_.finish();
  co_await scope_.join();
  while (drainers_ != 0) co_await idle_waiters_.wait();
  stream_->close();
}

Task<void> HmpSession::drain() {
  draining_ = true;
  ++drainers_;
  while (running_command_) co_await idle_waiters_.wait();
  co_await output_.wait_until_sent();
  --drainers_;
  idle_waiters_.wake_all();
}

Task<void> HmpSession::take_bytes(std::string_view bytes) {
  for (char c : bytes) {
    if (c != '\n') {
      too_long_ = too_long_ || line_.size() >= kMaxLineBytes;
      if (!too_long_ && c != '\r' && c != '\0') line_ += c;
      continue;
    }
    std::string line = std::exchange(line_, {});
    if (std::exchange(too_long_, false)) {
      print(fmt::format("the line is longer than {} bytes\n{}", kMaxLineBytes, kPrompt));
      continue;
    }
    co_await take_line(std::move(line));
  }
}

Task<void> HmpSession::take_line(std::string line) {
  if (draining_) co_return;
  running_command_ = true;
  co_await output_.wait_for_room();
  if (!output_.gone()) {
    std::string shown = co_await hmp_.run(std::move(line));
    print(shown);
    print(kPrompt);
  }
  running_command_ = false;
  idle_waiters_.wake_all();
}

void HmpSession::print(std::string_view text) {
  std::string out;
  out.reserve(text.size() + 16);
  for (char c : text) {
    if (c == '\n') out += '\r';
    out += c;
  }
  output_.push(std::move(out));
}

}  // namespace firn::qmp
