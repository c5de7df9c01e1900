// Where daemons that `firn serve` started are found.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "async/task.h"
#include "base/result.h"
#include "cli/live_schema.h"
#include "cli/qmp_client.h"

namespace firn::cli {

// $FIRN_RUNTIME_DIR; else /run/firn for root, $XDG_RUNTIME_DIR/firn or /tmp/firn-UID for others.
std::string runtime_directory();

// The sockets of the daemon that serves device `name`.
std::string monitor_path(const std::string& name);
std::string export_path(const std::string& name);

// A monitor to talk to: `socket` if it is not empty; else that of `device`, if there is one; else
// the only one in the runtime directory. Errors list what is there.
async::Task<base::Result<std::unique_ptr<QmpClient>>> connect_daemon(std::string socket,
                                                                     std::string device);

// The server's own schema; nothing if it has none (a guest agent, a server of before 2015).
async::Task<base::Result<std::optional<LiveSchema>>> load_schema(QmpClient& client);

// The members of an `error` object of a server, as text; "" for what is not there.
std::string error_class_of(const boost::json::object& error);

}  // namespace firn::cli
