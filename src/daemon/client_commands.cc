#include "daemon/client_commands.h"

#include <fmt/format.h>

#include <boost/json/object.hpp>
#include <utility>

namespace firn::daemon {

using async::Task;
using base::ErrorKind;
using base::fail;
using base::JsonValue;
using base::Result;

ClientCommands::ClientCommands(CommandContext& context, Caller caller, async::Stream& stream)
    : context_(context),
      caller_(std::move(caller)),
      stream_(&stream),
      control_(*this, context),
      handlers_(context.handlers) {
  use_own_handlers();
  if (modules_ != nullptr) stream.set_descriptor_sink(&modules_->fds->inbox());
  context_.clients.push_back(this);
  file::process_fd_sets().set_has_clients(true);
}

ClientCommands::ClientCommands(CommandContext& context)
    : context_(context),
      caller_{.access = {.role = api::MonitorRole::kAdmin, .rule = ""}},
      stream_(nullptr),
      control_(*this, context),
      handlers_(context.handlers) {
  use_own_handlers();
}

ClientCommands::~ClientCommands() {
  context_.clients.remove(this);
  if (stream_ != nullptr && context_.clients.empty()) {
    file::process_fd_sets().set_has_clients(false);
  }
}

void ClientCommands::use_own_handlers() {
  handlers_.control = &control_;
  if (context_.make_modules == nullptr) return;
  modules_ = context_.make_modules();
  handlers_.fdset = modules_->fds.get();
  handlers_.chardev = &modules_->chardev;
  handlers_.block_export = &modules_->block_export;
}

Task<Result<JsonValue>> ClientCommands::run(const api::CommandEntry& command,
                                            boost::json::object arguments) {
  if (modules_ != nullptr) modules_->fds->set_position(UINT64_MAX);
  return call(command, std::move(arguments), CallPath::kHmp, std::nullopt);
}

Task<Result<JsonValue>> ClientCommands::run_request(const api::CommandEntry& command,
                                                    boost::json::object arguments,
                                                    qmp::RequestInfo info) {
  // One request at a time but for those out of band, which take no descriptors.
  if (modules_ != nullptr && !info.out_of_band) modules_->fds->set_position(info.end);
  return call(command, std::move(arguments),
              info.out_of_band ? CallPath::kOutOfBand : CallPath::kQmp, std::move(info.id));
}

Task<Result<JsonValue>> ClientCommands::call(const api::CommandEntry& command, JsonValue arguments,
                                             CallPath path, std::optional<JsonValue> id) {
  const bool refused = role_needed(command) > *caller_.access.role;
  const bool recorded = stream_ != nullptr && context_.audit != nullptr;
  if (!refused && (!recorded || !changes_something(command))) {
    co_return co_await carry_out(command, std::move(arguments));
  }
  std::optional<base::Error> why;
  if (refused) why = refusal(command, caller_.access, caller_.monitor);
  if (recorded) {
    AuditRecord record(context_.next_record++, caller_, command, arguments, path, id);
    if (!why) {
      co_return co_await run_recorded(command, std::move(arguments), std::move(record));
    }
    // Waiting for it holds back a client that tries and tries.
    std::string line = record.refused_line(*why);
    auto written = co_await context_.audit->write(line);
    if (!written) context_.audit->post(std::move(line), false);
  }
  co_return fail(*std::move(why));
}

Task<Result<JsonValue>> ClientCommands::carry_out(const api::CommandEntry& command,
                                                  JsonValue arguments) {
  if (context_.after_command == nullptr || !changes_something(command)) {
    co_return co_await command.run(handlers_, std::move(arguments));
  }
  JsonValue given = arguments;
  auto result = co_await command.run(handlers_, std::move(arguments));
  auto recorded =
      co_await context_.after_command(command.name, std::move(given), result.has_value());
  if (result && !recorded) co_return fail(std::move(recorded).error());
  co_return result;
}

Task<Result<JsonValue>> ClientCommands::run_recorded(const api::CommandEntry& command,
                                                     JsonValue arguments, AuditRecord record) {
  auto written = co_await context_.audit->write(record.begin_line());
  if (!written) {
    base::Error why(written.error().kind(),
                    fmt::format("The command {} is refused, since the audit log can't be written: "
                                "{}",
                                command.name, written.error().text()));
    context_.audit->post(record.refused_line(why), false);
    co_return fail(std::move(why));
  }
  auto result = co_await carry_out(command, std::move(arguments));
  context_.audit->post(record.end_line(result, stream_->peer_is_gone()), true);
  co_return result;
}

CallingClient::CallingClient(CommandContext& context, Caller caller,
                             std::unique_ptr<async::Stream> stream, const Make& make)
    : commands_(context, std::move(caller), *stream), client_(make(std::move(stream), commands_)) {}

}  // namespace firn::daemon
