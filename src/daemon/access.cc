#include "daemon/access.h"

#include <fmt/format.h>

#include <algorithm>

#include "api/codec.h"

namespace firn::daemon {

using api::MonitorAccess;
using api::MonitorRole;
using async::PeerCredentials;
using base::ErrorKind;

namespace {

bool fits(const api::MonitorPeer& entry, const PeerCredentials& peer) {
  if (entry.uid && *entry.uid != peer.uid) return false;
  if (!entry.gid || *entry.gid == peer.gid) return true;
  return std::ranges::find(peer.groups, *entry.gid) != peer.groups.end();
}

std::optional<MonitorRole> role_of(MonitorAccess access) {
  switch (access) {
    case MonitorAccess::kNone:
      return std::nullopt;
    case MonitorAccess::kViewer:
      return MonitorRole::kViewer;
    case MonitorAccess::kOperator:
      return MonitorRole::kOperator;
    case MonitorAccess::kAdmin:
      return MonitorRole::kAdmin;
  }
  return std::nullopt;
}

}  // namespace

MonitorAccess default_access(const api::MonitorOptions& options) {
  return options.role.value_or(options.peers ? MonitorAccess::kNone : MonitorAccess::kAdmin);
}

Access access_of(const api::MonitorOptions& options, const std::optional<PeerCredentials>& peer) {
  if (options.peers && peer) {
    for (size_t i = 0; i < options.peers->size(); ++i) {
      const api::MonitorPeer& entry = (*options.peers)[i];
      if (fits(entry, *peer)) {
        return {.role = role_of(entry.role), .rule = fmt::format("peers.{}.role", i)};
      }
    }
  }
  return {.role = role_of(default_access(options)), .rule = "role"};
}

base::Result<> check_access_options(const api::MonitorOptions& options) {
  if (!options.peers) return {};
  for (size_t i = 0; i < options.peers->size(); ++i) {
    const api::MonitorPeer& entry = (*options.peers)[i];
    if (entry.uid || entry.gid) continue;
    return base::fail(
        ErrorKind::kInvalidArgument,
        fmt::format("Parameter 'peers.{}' needs 'uid' or 'gid'; for all others there is 'role'",
                    i));
  }
  return {};
}

MonitorRole role_needed(const api::CommandEntry& command) {
  return static_cast<MonitorRole>(command.role);
}

bool changes_something(const api::CommandEntry& command) {
  return role_needed(command) > MonitorRole::kViewer;
}

base::Error refusal(const api::CommandEntry& command, const Access& access,
                    std::string_view monitor) {
  return {ErrorKind::kPermission,
          fmt::format("The command {} needs the role '{}'; this client has '{}', by the option "
                      "'{}' of monitor '{}'",
                      command.name, to_string(role_needed(command)), to_string(*access.role),
                      access.rule, monitor)};
}

std::string no_access_text(const Access& access, std::string_view monitor,
                           const std::optional<PeerCredentials>& peer) {
  const std::string who =
      peer ? fmt::format("uid {} with gid {}", peer->uid, peer->gid) : "a client without uid";
  return fmt::format("Monitor '{}' gives no access to {}, by its option '{}'", monitor, who,
                     access.rule);
}

}  // namespace firn::daemon
