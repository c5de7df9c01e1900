// Who may do what: roles, and how a monitor's options give a client its own.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "api/dispatch.h"
#include "api/types.h"
#include "async/socket.h"
#include "base/result.h"

namespace firn::daemon {

// What a monitor's options say of one client.
struct Access {
  std::optional<api::MonitorRole> role;  // none: it has no access
  std::string rule;                      // the option that says so: "role", "peers.1.role"
};

// `peer`: none for what is no unix socket; then no entry of `peers` fits.
Access access_of(const api::MonitorOptions& options,
                 const std::optional<async::PeerCredentials>& peer);

// What clients may do that no entry of `peers` fits.
api::MonitorAccess default_access(const api::MonitorOptions& options);

// Errors: an entry of `peers` that fits nobody in particular ("Parameter 'peers.0' needs ...").
base::Result<> check_access_options(const api::MonitorOptions& options);

// The lowest role that may run `command`.
api::MonitorRole role_needed(const api::CommandEntry& command);
// Whether it is more than a look: those commands are recorded.
bool changes_something(const api::CommandEntry& command);

// Why a client may not run a command.
base::Error refusal(const api::CommandEntry& command, const Access& access,
                    std::string_view monitor);
// Why a client may not even stay.
std::string no_access_text(const Access& access, std::string_view monitor,
                           const std::optional<async::PeerCredentials>& peer);

}  // namespace firn::daemon
