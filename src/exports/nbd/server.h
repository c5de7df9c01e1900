// Server: a listening socket, and the exports that its clients choose from by name.
//
// Belongs to the control loop. Clients are accepted and haggle there; then each one's stream moves
// to the home loop of its export's node and is served there (session.h).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "async/scope.h"
#include "async/socket.h"
#include "exports/nbd/export.h"
#include "exports/nbd/negotiation.h"

namespace firn::nbd {

struct ServerOptions {
  async::SocketAddress address;
  // Clients at a time; 0: no limit. Further ones wait in the socket's queue until one leaves.
  uint32_t max_connections = 0;
  // How long a client may take to choose an export; 0: for ever.
  async::Duration handshake_timeout = std::chrono::seconds(10);
  NegotiationLimits limits;
};

enum class RemoveMode {
  kSafe,  // refused while clients are attached
  kHard,  // they are disconnected
};

class Server final : private ExportDirectory {
 public:
  // Listens from then on. Errors: those of Network::listen.
  static async::Task<base::Result<std::unique_ptr<Server>>> start(ServerOptions options);
  ~Server();  // stopped
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Where clients find it, with the real port.
  const async::SocketAddress& address() const { return listener_->address(); }

  // Offers `node` under options.name. The export is the server's and lives until it is removed.
  // Errors: "NBD server already has export named 'x'", and those of Export::open.
  async::Task<base::Result<Export*>> add_export(block::Graph& graph, block::Node& node,
                                                ExportOptions options);
  // By its name. It can't be chosen from now on; returns when its last request is done and the node
  // is free. Errors: kNotFound; in safe mode kBusy, "export 'x' still in use": a client that is
  // just leaving is given a moment, for its own loop has to notice.
  async::Task<base::Result<>> remove_export(std::string name, RemoveMode mode);

  Export* find_export(std::string_view name) const;
  std::vector<Export*> exports() const;  // by name
  // Those that haggle included.
  uint32_t connection_count() const { return connection_count_; }

  // Accepts no more, disconnects all clients, closes all exports. The requests under way are
  // carried out. Called once, last.
  async::Task<void> stop();

 private:
  explicit Server(ServerOptions options) : options_(std::move(options)) {}

  std::vector<Entry> list_exports() const override;
  async::Task<std::optional<ExportFacts>> describe_export(std::string name) override;

  static async::Task<void> close_export(std::unique_ptr<Export> last);
  async::Task<bool> is_unused_soon(std::string name);
  async::Task<void> accept_clients();
  async::Task<void> serve_client(std::unique_ptr<async::Stream> stream);
  async::Task<std::optional<Negotiated>> negotiate_in_time(async::Stream& stream);

  const ServerOptions options_;
  std::unique_ptr<async::Listener> listener_;
  std::map<std::string, std::unique_ptr<Export>, std::less<>> exports_;
  std::vector<std::string> opening_;  // names taken by add_export() under way
  std::vector<async::Stream*> haggling_;
  uint32_t connection_count_ = 0;
  async::WaitList room_;
  bool stopping_ = false;
  bool stopped_ = false;
  size_t export_changes_ = 0;  // add_export() and remove_export() under way
  async::WaitList changes_done_;
  async::TaskScope scope_;
};

}  // namespace firn::nbd
