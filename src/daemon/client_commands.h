// ClientCommands: the commands as one client of a monitor sees them.
//
// Each client has a set of its own, which knows who calls: it holds the client to its role, records
// what it changes in the audit log, and has handlers of its own for those modules whose commands
// depend on the client; the other modules point at the daemon's handlers. To give a module such a
// handler: derive it from the module's generated class, make it a member of ClientCommands, and
// point `handlers_` at it in the constructor.
//
// Belongs to the control loop.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "api/commands.h"
#include "async/socket.h"
#include "async/task.h"
#include "base/result.h"
#include "daemon/audit_log.h"
#include "daemon/audit_record.h"
#include "daemon/client_fds.h"
#include "daemon/handlers.h"
#include "daemon/rejection_meter.h"
#include "qmp/client.h"
#include "qmp/commands.h"

namespace firn::daemon {

class ClientCommands;

// The handlers of modules that depend on the client: descriptors that it hands over, and those who
// look for descriptors by name.
struct ClientModules {
  std::unique_ptr<ClientFds> fds;
  ChardevHandlers chardev;
  ExportHandlers block_export;
};

// What all clients share. Outlives them.
struct CommandContext {
  api::CommandHandlers handlers;    // the daemon's; set before the first client comes
  std::function<void()> on_quit;    // ControlHandlers' on_quit
  std::function<bool()> is_ending;  // whether the end has been asked for; null: never
  // query-monitors as the client of `self` sees it.
  std::function<std::vector<api::MonitorInfo>(const ClientCommands& self)> describe_monitors;
  AuditLog* audit = nullptr;  // null: nothing is recorded
  uint64_t next_record = 1;
  // Called after each command that changes something, before it is answered; null: nobody is. An
  // error takes the place of the answer.
  std::function<async::Task<base::Result<>>(std::string_view command, base::JsonValue arguments,
                                            bool succeeded)>
      after_command;
  RejectionMeter rejections;
  std::list<const ClientCommands*> clients;  // those that are connected, in order of coming
  // What makes the modules that each client has of its own; null: none of them.
  std::function<std::unique_ptr<ClientModules>()> make_modules;
};

class ClientCommands final : public qmp::Commands {
 public:
  // A client's. `stream` is its connection; it may be used as long as commands run, and ends before
  // this does.
  ClientCommands(CommandContext& context, Caller caller, async::Stream& stream);
  // The daemon's own: nothing is refused or recorded.
  explicit ClientCommands(CommandContext& context);
  ~ClientCommands() override;
  ClientCommands(const ClientCommands&) = delete;
  ClientCommands& operator=(const ClientCommands&) = delete;

  const Caller& caller() const { return caller_; }
  // The client's connection; null for the daemon itself. For the handlers of single clients.
  async::Stream* stream() const { return stream_; }
  // Null where the context makes none.
  ClientModules* modules() { return modules_.get(); }

  bool taking() const override { return !context_.is_ending || !context_.is_ending(); }
  const api::CommandEntry* find(std::string_view name) const override {
    return api::find_command(name);
  }
  // A command that a line of the human monitor stands for.
  async::Task<base::Result<base::JsonValue>> run(const api::CommandEntry& command,
                                                 boost::json::object arguments) override;
  // One of QMP.
  async::Task<base::Result<base::JsonValue>> run_request(const api::CommandEntry& command,
                                                         boost::json::object arguments,
                                                         qmp::RequestInfo info) override;

 private:
  async::Task<base::Result<base::JsonValue>> call(const api::CommandEntry& command,
                                                  base::JsonValue arguments, CallPath path,
                                                  std::optional<base::JsonValue> id);
  // Runs it, and tells the state what it has changed.
  async::Task<base::Result<base::JsonValue>> carry_out(const api::CommandEntry& command,
                                                       base::JsonValue arguments);
  // The same between two lines of the log.
  async::Task<base::Result<base::JsonValue>> run_recorded(const api::CommandEntry& command,
                                                          base::JsonValue arguments,
                                                          AuditRecord record);

  void use_own_handlers();

  CommandContext& context_;
  Caller caller_;
  async::Stream* stream_;
  std::unique_ptr<ClientModules> modules_;
  ControlHandlers control_;  // human-monitor-command runs its line by this client's commands
  api::CommandHandlers handlers_;
};

// A client together with the commands that it runs.
class CallingClient final : public qmp::Client {
 public:
  // `make` is called once, with commands that outlive the client it gives.
  using Make =
      std::function<std::unique_ptr<qmp::Client>(std::unique_ptr<async::Stream>, qmp::Commands&)>;
  CallingClient(CommandContext& context, Caller caller, std::unique_ptr<async::Stream> stream,
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
