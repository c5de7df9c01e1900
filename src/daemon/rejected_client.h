// RejectedClient: a client that has no access to its monitor. It is told so and closed.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "async/loop.h"
#include "async/scope.h"
#include "async/socket.h"
#include "qmp/client.h"

namespace firn::daemon {

// How many rejections are told: somebody without access must not fill a disk by knocking.
class RejectionMeter final {
 public:
  static constexpr int kMaxPerSecond = 10;

  // Counts one. Gives how many before it were not to be told, or nothing if it is one of these.
  std::optional<uint64_t> count(async::TimePoint now);

 private:
  async::TimePoint second_;  // when the present one began
  int told_ = 0;
  uint64_t untold_ = 0;
};

class RejectedClient final : public qmp::Client {
 public:
  // How long a client that stays connected may read what it is told.
  static constexpr auto kPatience = std::chrono::seconds(1);

  // `text`: all that the client gets.
  RejectedClient(std::unique_ptr<async::Stream> stream, std::string text)
      : stream_(std::move(stream)), text_(std::move(text)) {}

  async::Task<void> run() override;
  async::Task<void> drain() override { co_return; }
  void close() override { stream_->close(); }
  std::string peer_name() const override { return stream_->peer_name(); }

 private:
  // What the client says; it may send before it reads. Ends the patience when it is gone.
  async::Task<void> ignore_input();

  std::unique_ptr<async::Stream> stream_;
  std::string text_;
  async::CancelSource gone_;
  async::TaskScope scope_;
};

}  // namespace firn::daemon
