#include "chardev/socket_client.h"

#include <fmt/format.h>

#include <utility>

#include "base/log.h"
#include "chardev/socket_server.h"

namespace firn::chardev {

using async::Loop;
using async::Task;
using base::Result;

SocketClient::SocketClient(SocketSpec spec, std::string id)
    : spec_(std::move(spec)), id_(std::move(id)) {}

SocketClient::~SocketClient() = default;

Task<Result<std::unique_ptr<Chardev>>> SocketClient::open(SocketSpec spec, std::string id,
                                                          async::CancelToken cancel) {
  std::unique_ptr<SocketClient> client(new SocketClient(std::move(spec), std::move(id)));
  if (client->spec_.reconnect.count() > 0) {
    client->scope_.spawn(client->stay_connected());
  } else {
    client->take(CO_TRY(co_await Loop::current().network().connect(client->spec_.address, cancel)));
    client->scope_.spawn(client->serve_stream());
  }
  co_return std::unique_ptr<Chardev>(std::move(client));
}

void SocketClient::take(std::unique_ptr<async::Stream> stream) {
  connected_to_ = describe(spec_.address, spec_.telnet);
  if (std::string local = stream->local_name(); !local.empty()) {
    connected_to_ =
        fmt::format("{}:{} <-> {}", spec_.telnet ? "telnet" : "tcp", local, stream->peer_name());
  }
  stream_ = std::move(stream);
}

std::string SocketClient::filename() const {
  if (!connected_to_.empty()) return connected_to_;
  return "disconnected:" + describe(spec_.address, spec_.telnet);
}

void SocketClient::attach(Serve serve) {
  serve_ = std::move(serve);
  attached_or_stopped_.set();
}

Task<void> SocketClient::serve_stream() {
  co_await attached_or_stopped_.wait();
  std::unique_ptr<async::Stream> stream = std::move(stream_);
  if (serve_ && !stopping_) co_await serve_(std::move(stream));
  connected_to_.clear();
}

Task<void> SocketClient::stay_connected() {
  bool told = false;
  while (!stopping_) {
    auto stream = co_await Loop::current().network().connect(spec_.address, scope_.token());
    if (stopping_) break;
    if (stream) {
      told = false;
      take(*std::move(stream));
      co_await serve_stream();
    } else if (!std::exchange(told, true)) {
      base::log_warning(
          fmt::format("Unable to connect character device {}: {}", id_, stream.error().text()));
    }
    co_await Loop::current().sleep_for(spec_.reconnect, scope_.token());
  }
}

void SocketClient::stop() {
  stopping_ = true;
  scope_.cancel();
  attached_or_stopped_.set();
}

Task<void> SocketClient::close() {
  stop();
  co_await scope_.join();
}

}  // namespace firn::chardev
