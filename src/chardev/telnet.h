// Telnet's side of a connection: the negotiation that makes a terminal send each character at once,
// and the filter that takes telnet's commands out of what comes.
// Source: RFC 854, RFC 855, RFC 856 (binary), RFC 857 (echo), RFC 858 (suppress go ahead).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "async/scope.h"
#include "async/socket.h"

namespace firn::chardev {

// Offers to echo, to go on without go-ahead, and to be binary both ways, as QEMU does. The answers
// are dropped by the filter.
async::Task<base::Result<>> greet_telnet(async::Stream& stream);

class TelnetFilter {
 public:
  // What is data of `bytes`; commands may be split in any way between calls.
  std::string take(std::string_view bytes);

 private:
  enum class State : uint8_t { kData, kCommand, kOption, kSubnegotiation, kSubnegotiationCommand };
  State state_ = State::kData;
};

// A stream whose input is filtered. Output goes as it is: text has no byte 255.
class TelnetStream final : public async::Stream {
 public:
  explicit TelnetStream(std::unique_ptr<async::Stream> inner);
  ~TelnetStream() override;

  void shutdown_send() override { inner_->shutdown_send(); }
  void close() override { inner_->close(); }
  std::optional<async::PeerCredentials> peer_credentials() const override {
    return inner_->peer_credentials();
  }
  std::string peer_name() const override { return inner_->peer_name(); }
  bool peer_is_gone() const override { return inner_->peer_is_gone(); }
  std::string local_name() const override { return inner_->local_name(); }

 protected:
  bool start(async::StreamOp& op) override;

 private:
  async::Task<void> receive_into(async::StreamOp& op);
  async::Task<void> send_from(async::StreamOp& op);

  std::unique_ptr<async::Stream> inner_;
  TelnetFilter filter_;
  async::TaskScope scope_;
};

}  // namespace firn::chardev
