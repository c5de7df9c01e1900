// RejectedClient: a client that its monitor does not take. It is told why and closed.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "async/loop.h"
#include "async/scope.h"
#include "async/socket.h"
#include "qmp/client.h"

namespace firn::qmp {

class RejectedClient final : public Client {
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

}  // namespace firn::qmp
