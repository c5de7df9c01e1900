#include "chardev/telnet.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <span>
#include <utility>

namespace firn::chardev {

using async::Task;
using base::Result;

namespace {

// RFC 854, "TELNET COMMAND STRUCTURE".
constexpr uint8_t kSubnegotiationEnd = 240;
constexpr uint8_t kSubnegotiationBegin = 250;
constexpr uint8_t kWill = 251;
constexpr uint8_t kDo = 253;
constexpr uint8_t kDont = 254;
constexpr uint8_t kInterpretAsCommand = 255;
// Options.
constexpr uint8_t kBinary = 0;
constexpr uint8_t kEcho = 1;
constexpr uint8_t kSuppressGoAhead = 3;

constexpr std::array<uint8_t, 12> kGreeting = {
    kInterpretAsCommand, kWill, kEcho,   kInterpretAsCommand, kWill, kSuppressGoAhead,
    kInterpretAsCommand, kWill, kBinary, kInterpretAsCommand, kDo,   kBinary};

int64_t as_result(const base::Error& error) {
  return -(error.errno_value() != 0 ? error.errno_value() : ECANCELED);
}

void finish(async::StreamOp& op, int64_t result) {
  op.result = result;
  async::Loop::current().ready(op.waiter);
}

}  // namespace

Task<Result<>> greet_telnet(async::Stream& stream) {
  std::array<uint8_t, kGreeting.size()> greeting = kGreeting;
  const async::IoVec iov(greeting.data(), greeting.size());
  co_return co_await stream.send(iov);
}

std::string TelnetFilter::take(std::string_view bytes) {
  std::string data;
  for (const char c : bytes) {
    const auto byte = static_cast<uint8_t>(c);
    switch (state_) {
      case State::kData:
        if (byte == kInterpretAsCommand) {
          state_ = State::kCommand;
        } else {
          data += c;
        }
        break;
      case State::kCommand:
        state_ = State::kData;
        if (byte == kInterpretAsCommand) data += c;
        if (byte >= kWill && byte <= kDont) state_ = State::kOption;
        if (byte == kSubnegotiationBegin) state_ = State::kSubnegotiation;
        break;
      case State::kOption:
        state_ = State::kData;
        break;
      case State::kSubnegotiation:
        if (byte == kInterpretAsCommand) state_ = State::kSubnegotiationCommand;
        break;
      case State::kSubnegotiationCommand:
        state_ = byte == kSubnegotiationEnd ? State::kData : State::kSubnegotiation;
        break;
    }
  }
  return data;
}

TelnetStream::TelnetStream(std::unique_ptr<async::Stream> inner) : inner_(std::move(inner)) {}

TelnetStream::~TelnetStream() = default;

bool TelnetStream::start(async::StreamOp& op) {
  scope_.spawn(op.kind == async::StreamOp::Kind::kReceive ? receive_into(op) : send_from(op));
  return false;
}

Task<void> TelnetStream::receive_into(async::StreamOp& op) {
  std::string buffer(std::min<size_t>(op.iov->size_bytes(), 4096), '\0');
  const async::IoVec iov(buffer.data(), buffer.size());
  while (true) {
    const auto received = co_await inner_->receive(iov);
    if (!received) co_return finish(op, as_result(received.error()));
    if (*received == 0) co_return finish(op, 0);
    const std::string data = filter_.take(std::string_view(buffer).substr(0, *received));
    if (data.empty()) continue;
    op.iov->copy_from(0, std::as_bytes(std::span(data)));
    co_return finish(op, static_cast<int64_t>(data.size()));
  }
}

Task<void> TelnetStream::send_from(async::StreamOp& op) {
  const auto sent = co_await inner_->send(*op.iov);
  finish(op, sent ? static_cast<int64_t>(op.iov->size_bytes()) : as_result(sent.error()));
}

}  // namespace firn::chardev
