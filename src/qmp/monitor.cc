#include "qmp/monitor.h"

#include <fmt/format.h>

#include <utility>
#include <vector>

#include "base/log.h"
#include "qmp/rejected_client.h"

namespace firn::qmp {

Monitor::Monitor(std::string name, ClientFactory make_client, MonitorLimits limits)
    : name_(std::move(name)), make_client_(std::move(make_client)), limits_(std::move(limits)) {}

Monitor::~Monitor() { CHECK(clients_.empty()); }

void Monitor::serve(std::unique_ptr<async::Stream> stream) {
  scope_.spawn(serve_one(std::move(stream), nullptr));
}

async::Task<void> Monitor::serve_to_end(std::unique_ptr<async::Stream> stream) {
  async::Event ended;
  scope_.spawn(serve_one(std::move(stream), &ended));
  co_await ended.wait();
}

async::Task<void> Monitor::refuse(std::unique_ptr<async::Stream> stream) {
  // Once for a crowd of them.
  if (refused_++ == 0) {
    base::log_warning(fmt::format("monitor {}: client {} is refused: there are {} already", name_,
                                  stream->peer_name(), clients_.size()));
  }
  // A crowd is not waited for until it has read why: descriptors are not without end.
  if (refusing_.size() >= kMostRefusing) co_return stream->close();
  RejectedClient client(std::move(stream), limits_.refusal);
  refusing_.push_back(&client);
  co_await client.run();
  refusing_.remove(&client);
}

async::Task<void> Monitor::serve_one(std::unique_ptr<async::Stream> stream, async::Event* ended) {
  if (!stopping_ && clients_.size() >= limits_.max_clients) {
    co_await refuse(std::move(stream));
  } else if (!stopping_) {
    refused_ = 0;
    std::unique_ptr<Client> client = make_client_(std::move(stream));
    clients_.push_back(client.get());
    co_await client->run();
    clients_.remove(client.get());
  }
  if (ended != nullptr) ended->set();
}

async::Task<void> Monitor::drain_client(Draining* draining, size_t* pending,
                                        async::CancelSource* done) {
  co_await draining->client->drain();
  draining->done = true;
  if (--*pending == 0) done->cancel();
}

async::Task<void> Monitor::drain(async::Duration patience) {
  stopping_ = true;
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
  stopping_ = true;
  for (Client* client : clients_) client->close();
  for (Client* client : refusing_) client->close();
  co_await scope_.join();
}

}  // namespace firn::qmp
