// QMP's messages: what a client may send and what it gets back.
// Source: docs/interop/qmp-spec.txt of QEMU 7.2, sections 2.2 to 2.5; texts by probing
// qemu-storage-daemon 7.2.
#pragma once

#include <boost/json/value.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "api/error_class.h"
#include "base/json.h"
#include "base/result.h"

namespace firn::qmp {

using base::JsonValue;
using base::Result;

struct Request {
  std::string command;
  boost::json::object arguments;
  bool out_of_band = false;  // "exec-oob"
};

// The members of one message, checked. `oob_enabled`: the session has agreed on the capability, so
// "exec-oob" is a member like "execute".
Result<Request> check_request(JsonValue message, bool oob_enabled);

// The message's "id", of any type, taken out of it; nothing if it has none or is no object.
std::optional<JsonValue> take_id(JsonValue& message);

// True if `message` is to be run beside the queue: it has "exec-oob" and no "execute".
bool is_out_of_band(const JsonValue& message);

// Replies and events, to be printed with print_line. A reply's `id` is its request's.
JsonValue make_reply(JsonValue result, std::optional<JsonValue> id);
JsonValue make_error_reply(const base::Error& error, std::optional<JsonValue> id,
                           api::ErrorDialect dialect);
// `event`: its name and data, as api::encode_event gives them.
JsonValue make_event(boost::json::object event, int64_t wall_clock_us);
// `version`: the VersionInfo object that query-version gives too.
JsonValue make_greeting(JsonValue version);

// The message as a line of its own, or several, with the line ends that QEMU sends (CR LF).
std::string print_line(const JsonValue& message, bool pretty);

}  // namespace firn::qmp
