// ClientCommands: the commands as one client of a monitor sees them.
//
// Each client has a set of its own, so that a handler can know who calls: modules whose commands
// depend on the client have a handler object here; the other modules point at the daemon's. To give
// a module such a handler: derive it from the module's generated class, make it a member of
// ClientCommands, and point `handlers_` at it in the constructor.
//
// Belongs to the control loop.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "api/commands.h"
#include "async/socket.h"
#include "async/task.h"
#include "base/result.h"
#include "daemon/handlers.h"
#include "qmp/client.h"
#include "qmp/commands.h"

namespace firn::daemon {

// What all clients share. Outlives them.
struct CommandContext {
  api::CommandHandlers handlers;  // the daemon's; set before the first client comes
  std::function<void()> on_quit;  // ControlHandlers' on_quit
};

// Who gives commands.
struct Caller {
  std::string monitor;                                // the monitor's id; empty: the daemon itself
  std::string peer;                                   // Stream::peer_name()
  std::optional<async::PeerCredentials> credentials;  // none: not a unix socket
};

class ClientCommands final : public qmp::Commands {
 public:
  // `stream` is the client's connection, null for the daemon itself. It may be used as long as
  // commands run; it ends before this does.
  ClientCommands(CommandContext& context, Caller caller, async::Stream* stream);

  const Caller& caller() const { return caller_; }
  // The client's connection; null for the daemon itself. For the handlers of single clients.
  async::Stream* stream() const { return stream_; }

  const api::CommandEntry* find(std::string_view name) const override {
    return api::find_command(name);
  }
  async::Task<base::Result<base::JsonValue>> run(const api::CommandEntry& command,
                                                 boost::json::object arguments) override;

 private:
  Caller caller_;
  async::Stream* stream_;
  ControlHandlers control_;  // human-monitor-command runs its line by this client's commands
  api::CommandHandlers handlers_;
};

// A client together with the commands that it runs.
class CallingClient final : public qmp::Client {
 public:
  // `make` is called once, with commands that outlive the client it gives.
  using Make =
      std::function<std::unique_ptr<qmp::Client>(std::unique_ptr<async::Stream>, qmp::Commands&)>;
  CallingClient(CommandContext& context, std::string monitor, std::unique_ptr<async::Stream> stream,
                const Make& make);

  async::Task<void> run() override { return client_->run(); }
  async::Task<void> drain() override { return client_->drain(); }
  void close() override { client_->close(); }
  std::string peer_name() const override { return client_->peer_name(); }

 private:
  ClientCommands commands_;
  std::unique_ptr<qmp::Client> client_;
};

}  // namespace firn::daemon
