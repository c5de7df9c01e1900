// Monitor: a place where clients give commands, with any number of clients at once.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <string>

#include "async/scope.h"
#include "async/socket.h"
#include "async/sync.h"
#include "qmp/client.h"

namespace firn::qmp {

// Makes the right kind of client for a stream.
using ClientFactory = std::function<std::unique_ptr<Client>(std::unique_ptr<async::Stream>)>;

struct MonitorLimits {
  static constexpr size_t kMaxClients = 4096;
  size_t max_clients = kMaxClients;
  // Sent to a client beyond, before its connection is closed.
  std::string refusal;
};

// Belongs to the control loop. Before it is destroyed, close() is awaited.
class Monitor final {
 public:
  // `name` is for logs.
  Monitor(std::string name, ClientFactory make_client, MonitorLimits limits = {});
  ~Monitor();

  // Serves one client, from a stream that is connected.
  void serve(std::unique_ptr<async::Stream> stream);  // refused beyond the limit
  // The same, and returns when the client is gone.
  async::Task<void> serve_to_end(std::unique_ptr<async::Stream> stream);

  // As many of those refused have a moment to read why.
  static constexpr size_t kMostRefusing = 64;

  size_t client_count() const { return clients_.size(); }

  // No further client and no further command; running commands are answered and the answers sent.
  // A client that does not read is given `patience` and then closed. Events go on.
  async::Task<void> drain(async::Duration patience);
  // Ends every connection.
  async::Task<void> close();

 private:
  async::Task<void> refuse(std::unique_ptr<async::Stream> stream);
  async::Task<void> serve_one(std::unique_ptr<async::Stream> stream, async::Event* ended);
  struct Draining {
    Client* client = nullptr;
    bool done = false;
  };
  async::Task<void> drain_client(Draining* draining, size_t* pending, async::CancelSource* done);

  std::string name_;
  ClientFactory make_client_;
  const MonitorLimits limits_;
  std::list<Client*> clients_;
  std::list<Client*> refusing_;  // being told that there is no place for them
  size_t refused_ = 0;           // since there was room for one
  bool stopping_ = false;
  async::TaskScope scope_;
};

}  // namespace firn::qmp
