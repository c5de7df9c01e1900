// Where daemons that `firn serve` started are found.
#pragma once

#include <memory>
#include <string>

#include "async/task.h"
#include "base/result.h"
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

}  // namespace firn::cli
