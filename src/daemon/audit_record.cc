#include "daemon/audit_record.h"

#include <fmt/format.h>
#include <unistd.h>

#include <boost/json/object.hpp>
#include <boost/json/string.hpp>
#include <boost/json/value.hpp>
#include <chrono>
#include <ctime>
#include <utility>

#include "api/codec.h"
#include "api/error_class.h"
#include "base/version.h"

namespace firn::daemon {

namespace json = boost::json;
using base::JsonValue;

namespace {

// Longer arguments, ids and error texts are left out or cut: a client must not fill the disk.
constexpr size_t kMaxArgumentBytes = size_t{32} << 10;
constexpr size_t kMaxTextBytes = 4096;
constexpr size_t kMaxIdBytes = 128;

constexpr std::string_view kPathNames[] = {"qmp", "qmp-oob", "hmp"};

std::string rfc3339(int64_t wall_clock_us) {
  const std::time_t seconds = wall_clock_us / 1'000'000;
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z", parts.tm_year + 1900,
                     parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec,
                     wall_clock_us % 1'000'000);
}

json::object stamped(std::string_view event) {
  return {{"time", rfc3339(async::Loop::current().wall_clock_us())}, {"event", event}};
}

JsonValue peer_object(const Caller& caller) {
  json::object peer{{"name", caller.peer}};
  if (caller.credentials) {
    peer["pid"] = caller.credentials->pid;
    peer["uid"] = caller.credentials->uid;
    peer["gid"] = caller.credentials->gid;
  }
  return peer;
}

void cut(std::string& text) {
  if (text.size() <= kMaxTextBytes) return;
  text.resize(kMaxTextBytes);
  text += "...";
}

// An id is what the client likes: only what is short is kept.
JsonValue shown_id(const JsonValue& id) {
  if (id.is_object() || id.is_array()) return "...";
  if (!id.is_string()) return id;
  const json::string& text = id.get_string();
  if (text.size() > kMaxIdBytes) return "...";
  return JsonValue(hide_credentials({text.data(), text.size()}));
}

}  // namespace

AuditRecord::AuditRecord(uint64_t number, const Caller& caller, const api::CommandEntry& command,
                         const JsonValue& arguments, CallPath path,
                         const std::optional<JsonValue>& id)
    : redaction_(command, arguments), began_(async::Loop::current().now()) {
  json::object members{{"number", number},
                       {"monitor", caller.monitor},
                       {"peer", peer_object(caller)},
                       {"role", to_string(*caller.access.role)},
                       {"via", kPathNames[static_cast<size_t>(path)]},
                       {"command", command.name}};
  const size_t bytes = base::print_json(redaction_.arguments()).size();
  if (bytes <= kMaxArgumentBytes) {
    members["arguments"] = redaction_.arguments();
  } else {
    members["arguments"] = nullptr;
    members["arguments-bytes"] = bytes;
  }
  if (id) members["id"] = shown_id(*id);
  members_ = std::move(members);
}

JsonValue AuditRecord::with_event(std::string_view event) const {
  json::object line = stamped(event);
  for (const auto& member : members_.get_object()) line.emplace(member.key(), member.value());
  return line;
}

JsonValue AuditRecord::error_object(const base::Error& error) const {
  std::string text = redaction_.error_text(error.text());
  cut(text);
  return json::object{
      {"class", api::error_class(error.kind(), api::ErrorDialect::kClasses)},
      {"desc", text},
  };
}

std::string AuditRecord::begin_line() const { return base::print_json(with_event("begin")); }

std::string AuditRecord::end_line(const base::Result<JsonValue>& result, bool client_gone) const {
  JsonValue line = with_event("end");
  json::object& object = line.get_object();
  object["outcome"] = result ? "ok" : "error";
  if (!result) object["error"] = error_object(result.error());
  if (client_gone) object["client"] = "gone";
  const async::Duration lasted = async::Loop::current().now() - began_;
  object["duration_us"] = std::chrono::duration_cast<std::chrono::microseconds>(lasted).count();
  return base::print_json(line);
}

std::string AuditRecord::refused_line(const base::Error& error) const {
  JsonValue line = with_event("refused");
  // Such a text is ours alone and quotes no argument.
  line.get_object()["error"] = json::object{{"class", "GenericError"}, {"desc", error.text()}};
  return base::print_json(line);
}

std::string audit_rejected_line(const Caller& caller, std::string_view text, uint64_t unrecorded) {
  json::object line = stamped("rejected");
  line["monitor"] = caller.monitor;
  line["peer"] = peer_object(caller);
  line["error"] = json::object{{"class", "GenericError"}, {"desc", text}};
  if (unrecorded != 0) line["unrecorded"] = unrecorded;
  return base::print_json(line);
}

std::string audit_start_line() {
  json::object line = stamped("start");
  line["version"] = base::kVersion;
  line["pid"] = getpid();
  line["uid"] = geteuid();
  return base::print_json(line);
}

std::string audit_stop_line() {
  json::object line = stamped("stop");
  line["pid"] = getpid();
  return base::print_json(line);
}

std::string audit_lost_line(uint64_t count) {
  json::object line = stamped("lost");
  line["count"] = count;
  return base::print_json(line);
}

}  // namespace firn::daemon
