// The audit log's lines. Each is a JSON object; docs/monitor.md tells its members.
#pragma once

#include <boost/json/value.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "api/dispatch.h"
#include "async/loop.h"
#include "async/socket.h"
#include "base/json.h"
#include "base/result.h"
#include "daemon/access.h"
#include "daemon/redact.h"

namespace firn::daemon {

// Who gives commands.
struct Caller {
  std::string monitor;                                // the monitor's id
  std::string peer;                                   // Stream::peer_name()
  std::optional<async::PeerCredentials> credentials;  // none: not a unix socket
  Access access;                                      // with a role
};

enum class CallPath : uint8_t { kQmp, kOutOfBand, kHmp };

// One command of a client, from before it runs until it has ended. Belongs to the control loop,
// whose clock stamps the lines.
class AuditRecord final {
 public:
  // `number` tells the records of one run of the daemon apart.
  AuditRecord(uint64_t number, const Caller& caller, const api::CommandEntry& command,
              const base::JsonValue& arguments, CallPath path,
              const std::optional<base::JsonValue>& id);

  // "begin": it is about to run.
  std::string begin_line() const;
  // "end": it has run; how, for how long, and whether the client has left before the answer.
  std::string end_line(const base::Result<base::JsonValue>& result, bool client_gone) const;
  // "refused": it has not run, since the caller's role forbids it or the log can't be written.
  std::string refused_line(const base::Error& error) const;

 private:
  base::JsonValue with_event(std::string_view event) const;
  base::JsonValue error_object(const base::Error& error) const;

  Redaction redaction_;
  base::JsonValue members_;  // those that all lines have
  async::TimePoint began_;
};

// "rejected": a client that has no access; `unrecorded` more before it got no line.
std::string audit_rejected_line(const Caller& caller, std::string_view text, uint64_t unrecorded);
// "start" and "stop" of the daemon.
std::string audit_start_line();
std::string audit_stop_line();
// "lost": lines that could not be written.
std::string audit_lost_line(uint64_t count);

}  // namespace firn::daemon
