#include "daemon/client_commands.h"

#include <boost/json/object.hpp>
#include <utility>

namespace firn::daemon {

using async::Task;
using base::JsonValue;
using base::Result;

namespace {

Caller caller_of(std::string monitor, const async::Stream& stream) {
  return {.monitor = std::move(monitor),
          .peer = stream.peer_name(),
          .credentials = stream.peer_credentials()};
}

}  // namespace

ClientCommands::ClientCommands(CommandContext& context, Caller caller, async::Stream* stream)
    : caller_(std::move(caller)),
      stream_(stream),
      control_(*this, context.on_quit),
      handlers_(context.handlers) {
  handlers_.control = &control_;
}

Task<Result<JsonValue>> ClientCommands::run(const api::CommandEntry& command,
                                            boost::json::object arguments) {
  return command.run(handlers_, JsonValue(std::move(arguments)));
}

CallingClient::CallingClient(CommandContext& context, std::string monitor,
                             std::unique_ptr<async::Stream> stream, const Make& make)
    : commands_(context, caller_of(std::move(monitor), *stream), stream.get()),
      client_(make(std::move(stream), commands_)) {}

}  // namespace firn::daemon
