#include <fmt/format.h>

#include <boost/json/value.hpp>
#include <utility>

#include "api/introspection.h"
#include "base/version.h"
#include "daemon/chardev_options.h"
#include "daemon/client_commands.h"
#include "daemon/handlers.h"
#include "daemon/unsupported.h"
#include "qmp/hmp.h"

namespace firn::daemon {

using async::Task;
using base::ErrorKind;
using base::fail;
using base::Result;

api::VersionInfo version_info() {
  // Clients look at the version of QEMU to know what they may send.
  return {.qemu = {.major = 7, .minor = 2, .micro = 0},
          .package = fmt::format("firn {}", base::kVersion)};
}

// The session answers it; here it comes only by ways that have none.
Task<Result<>> ControlHandlers::qmp_capabilities(api::QmpCapabilitiesArgs) {
  co_return fail(ErrorKind::kCommandNotFound,
                 "Capabilities negotiation is already complete, command ignored");
}

Task<Result<api::VersionInfo>> ControlHandlers::query_version() { co_return version_info(); }

Task<Result<std::vector<api::CommandInfo>>> ControlHandlers::query_commands() {
  std::vector<api::CommandInfo> list;
  for (const api::CommandEntry& entry : api::commands()) {
    list.push_back({.name = std::string(entry.name)});
  }
  co_return list;
}

Task<Result<>> ControlHandlers::quit() {
  context_.on_quit();
  co_return Result<>();
}

Task<Result<std::string>> ControlHandlers::human_monitor_command(
    api::HumanMonitorCommandArgs args) {
  if (args.cpu_index) co_return unsupported("cpu-index", "there are no processors");
  qmp::Hmp hmp(commands_, {.chardev_arguments = chardev_arguments});
  std::string shown = co_await hmp.run(std::move(args.command_line));
  // Line ends as QEMU's monitor writes them.
  std::string text;
  for (char c : shown) {
    if (c == '\n') text += '\r';
    text += c;
  }
  co_return text;
}

Task<Result<base::JsonValue>> ControlHandlers::query_qmp_schema() {
  co_return api::introspection();
}

Task<Result<std::vector<api::MonitorInfo>>> ControlHandlers::query_monitors() {
  co_return context_.describe_monitors(commands_);
}

}  // namespace firn::daemon
