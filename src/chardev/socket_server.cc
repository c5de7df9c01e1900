#include "chardev/socket_server.h"

#include <fmt/format.h>

#include <utility>

#include "base/log.h"
#include "chardev/telnet.h"

namespace firn::chardev {

using async::CancelToken;
using async::SocketAddress;
using async::Task;
using base::ErrorKind;
using base::fail;
using base::Result;

namespace {

// After an accept that failed (too many open files), so that the loop does not spin.
constexpr auto kAcceptPause = std::chrono::milliseconds(100);

// Ends a wait for the first user.
struct CloseOnCancel : async::CancelWaiter {
  CloseOnCancel(CancelToken token, async::Listener& to_close)
      : CancelWaiter(
            token,
            [](CancelWaiter& waiter) { static_cast<CloseOnCancel&>(waiter).listener.close(); }),
        listener(to_close) {}
  async::Listener& listener;
};

}  // namespace

std::string describe(const SocketAddress& address, bool telnet) {
  switch (address.kind) {
    case SocketAddress::Kind::kUnix:
      return fmt::format("unix:{}{}{}", address.local.path,
                         address.local.abstract ? ",abstract=on" : "",
                         address.local.abstract && address.local.tight ? ",tight=on" : "");
    case SocketAddress::Kind::kInet:
      return fmt::format("{}:{}:{}", telnet ? "telnet" : "tcp", address.inet.host,
                         address.inet.port);
    case SocketAddress::Kind::kFd:
      break;
  }
  return address.to_string();
}

SocketServer::SocketServer(std::string id, bool telnet, std::unique_ptr<async::Listener> listener)
    : id_(std::move(id)), telnet_(telnet), listener_(std::move(listener)) {}

SocketServer::~SocketServer() = default;

Task<Result<std::unique_ptr<Chardev>>> SocketServer::open(SocketSpec spec, std::string id,
                                                          CancelToken cancel) {
  auto listener = CO_TRY(co_await async::Loop::current().network().listen(spec.address));
  std::unique_ptr<SocketServer> server(
      new SocketServer(std::move(id), spec.telnet, std::move(listener)));
  if (spec.wait) CO_TRY(co_await server->wait_for_user(cancel));
  co_return std::unique_ptr<Chardev>(std::move(server));
}

Task<Result<>> SocketServer::wait_for_user(CancelToken cancel) {
  base::log_info(fmt::format("waiting for a client of chardev '{}' on {}", id_,
                             listener_->address().to_string()));
  const CloseOnCancel close_on_cancel(cancel, *listener_);
  if (cancel.cancelled()) co_return fail(ErrorKind::kCancelled, "interrupted");
  first_ = CO_TRY(co_await listener_->accept());
  co_return Result<>();
}

std::string SocketServer::filename() const {
  const std::string address = describe(listener_->address(), telnet_) + ",server=on";
  if (first_ != nullptr) return address;
  return users_.empty() ? "disconnected:" + address : users_.back();
}

void SocketServer::attach(Serve serve) {
  serve_ = std::move(serve);
  if (first_ != nullptr) scope_.spawn(serve_user(std::move(first_)));
  scope_.spawn(accept_users());
}

Task<void> SocketServer::serve_user(std::unique_ptr<async::Stream> stream) {
  std::string shown = describe(listener_->address(), telnet_) + ",server=on";
  if (std::string local = stream->local_name(); !local.empty()) {
    shown = fmt::format("{}:{},server=on <-> {}", telnet_ ? "telnet" : "tcp", local,
                        stream->peer_name());
  }
  const auto self = users_.insert(users_.end(), std::move(shown));
  bool greeted = true;
  if (telnet_) {
    greeted = (co_await greet_telnet(*stream)).has_value();
    stream = std::make_unique<TelnetStream>(std::move(stream));
  }
  if (greeted && !stopping_) co_await serve_(std::move(stream));
  users_.erase(self);
}

Task<void> SocketServer::accept_users() {
  bool warned = false;
  while (!stopping_) {
    auto stream = co_await listener_->accept();
    if (stream) {
      warned = false;
      scope_.spawn(serve_user(*std::move(stream)));
      continue;
    }
    if (stopping_ || stream.error().kind() == ErrorKind::kCancelled) break;
    if (!std::exchange(warned, true)) {
      base::log_warning(
          fmt::format("chardev {}: no further clients meanwhile: {}", id_, stream.error().text()));
    }
    co_await async::Loop::current().sleep_for(kAcceptPause, scope_.token());
  }
}

void SocketServer::stop() {
  stopping_ = true;
  scope_.cancel();
  listener_->close();
}

Task<void> SocketServer::close() {
  stop();
  if (first_ != nullptr) first_->close();
  co_await scope_.join();
}

}  // namespace firn::chardev
