#include "qmp/monitor.h"

#include <fmt/format.h>

#include <chrono>
#include <utility>
#include <vector>

#include "base/log.h"

namespace firn::qmp {
namespace {

// After an accept that failed (too many open files), so that the loop does not spin.
constexpr auto kAcceptPause = std::chrono::milliseconds(100);

}  // namespace

Monitor::Monitor(std::string name, ClientFactory make_client, MonitorLimits limits)
    : name_(std::move(name)), make_client_(std::move(make_client)), limits_(std::move(limits)) {}

Monitor::~Monitor() { CHECK(clients_.empty()); }

void Monitor::serve(std::unique_ptr<async::Stream> stream) {
  if (stopping_) return;
  if (clients_.size() >= limits_.max_clients) return scope_.spawn(refuse(std::move(stream)));
  refused_ = 0;
  std::unique_ptr<Client> client = make_client_(std::move(stream));
  clients_.push_back(client.get());
  scope_.spawn(run_client(std::move(client)));
}

void Monitor::serve_all(std::unique_ptr<async::Listener> listener) {
  CHECK(listener_ == nullptr);
  listener_ = std::move(listener);
  scope_.spawn(accept_clients());
}

async::Task<void> Monitor::refuse(std::unique_ptr<async::Stream> stream) {
  // Once for a crowd of them.
  if (refused_++ == 0) {
    base::log_warning(fmt::format("monitor {}: client {} is refused: there are {} already", name_,
                                  stream->peer_name(), clients_.size()));
  }
  std::string text = limits_.refusal;
  const async::IoVec iov(text.data(), text.size());
  if (!text.empty()) (void)co_await stream->send(iov);
  stream->close();
}

async::Task<void> Monitor::run_client(std::unique_ptr<Client> client) {
  co_await client->run();
  clients_.remove(client.get());
}

async::Task<void> Monitor::accept_clients() {
  bool warned = false;
  while (!stopping_) {
    auto stream = co_await listener_->accept();
    if (stream) {
      warned = false;
      serve(*std::move(stream));
      continue;
    }
    if (stopping_ || stream.error().kind() == base::ErrorKind::kCancelled) break;
    if (!std::exchange(warned, true)) {
      base::log_warning(fmt::format("monitor {}: no further clients meanwhile: {}", name_,
                                    stream.error().text()));
    }
    co_await async::Loop::current().sleep_for(kAcceptPause, scope_.token());
  }
}

void Monitor::stop_listening() {
  stopping_ = true;
  scope_.cancel();
  if (listener_ != nullptr) listener_->close();
}

async::Task<void> Monitor::drain_client(Draining* draining, size_t* pending,
                                        async::CancelSource* done) {
  co_await draining->client->drain();
  draining->done = true;
  if (--*pending == 0) done->cancel();
}

async::Task<void> Monitor::drain(async::Duration patience) {
  stop_listening();
  std::vector<Draining> drainings;
  for (Client* client : clients_) drainings.push_back({.client = client});
  if (drainings.empty()) co_return;
  size_t pending = drainings.size();
  async::CancelSource all_done;
  async::TaskScope scope;
  for (Draining& draining : drainings) scope.spawn(drain_client(&draining, &pending, &all_done));
  co_await async::Loop::current().sleep_for(patience, all_done.token());
  for (const Draining& draining : drainings) {
    if (draining.done) continue;
    base::log_warning(fmt::format("monitor {}: client {} is busy or does not read; it is cut off",
                                  name_, draining.client->peer_name()));
    draining.client->close();
  }
  co_await scope.join();
}

async::Task<void> Monitor::close() {
  stop_listening();
  for (Client* client : clients_) client->close();
  co_await scope_.join();
  listener_.reset();
}

}  // namespace firn::qmp
