#include "qmp/message.h"

#include <fmt/format.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/string.hpp>
#include <utility>

namespace firn::qmp {
namespace {

namespace json = boost::json;
using base::ErrorKind;
using base::fail;

std::string_view view(const json::string& text) { return {text.data(), text.size()}; }

Result<> take_member(Request& request, bool& has_command, std::string_view key, JsonValue& value,
                     bool oob_enabled) {
  bool oob = oob_enabled && key == "exec-oob";
  if (oob || key == "execute") {
    if (!value.is_string()) {
      return fail(ErrorKind::kInvalidArgument,
                  fmt::format("QMP input member '{}' must be a string", key));
    }
    if (has_command) {
      return fail(ErrorKind::kInvalidArgument,
                  "QMP input member 'execute' clashes with 'exec-oob'");
    }
    has_command = true;
    request.command = view(value.get_string());
    request.out_of_band = oob;
    return {};
  }
  if (key == "arguments") {
    if (!value.is_object()) {
      return fail(ErrorKind::kInvalidArgument, "QMP input member 'arguments' must be an object");
    }
    request.arguments = std::move(value.get_object());
    return {};
  }
  if (key == "id") return {};
  return fail(ErrorKind::kInvalidArgument, fmt::format("QMP input member '{}' is unexpected", key));
}

}  // namespace

Result<Request> check_request(JsonValue message, bool oob_enabled) {
  if (!message.is_object()) {
    return fail(ErrorKind::kInvalidArgument, "QMP input must be a JSON object");
  }
  Request request;
  bool has_command = false;
  for (auto& member : message.get_object()) {
    std::string_view key(member.key().data(), member.key().size());
    TRY(take_member(request, has_command, key, member.value(), oob_enabled));
  }
  if (!has_command) {
    return fail(ErrorKind::kInvalidArgument, "QMP input lacks member 'execute'");
  }
  return request;
}

std::optional<JsonValue> take_id(JsonValue& message) {
  if (!message.is_object()) return std::nullopt;
  JsonValue* id = message.get_object().if_contains("id");
  if (id == nullptr) return std::nullopt;
  return std::move(*id);
}

bool is_out_of_band(const JsonValue& message) {
  return message.is_object() && message.get_object().contains("exec-oob") &&
         !message.get_object().contains("execute");
}

JsonValue make_reply(JsonValue result, std::optional<JsonValue> id) {
  json::object reply;
  reply.emplace("return", std::move(result));
  if (id) reply.emplace("id", *std::move(id));
  return reply;
}

JsonValue make_error_reply(const base::Error& error, std::optional<JsonValue> id,
                           api::ErrorDialect dialect) {
  json::object reply;
  if (id) reply.emplace("id", *std::move(id));
  reply.emplace("error", api::encode_error(error, dialect));
  return reply;
}

JsonValue make_event(json::object event, int64_t wall_clock_us) {
  json::object stamped;
  stamped.emplace("timestamp", json::object{{"seconds", wall_clock_us / 1'000'000},
                                            {"microseconds", wall_clock_us % 1'000'000}});
  for (auto& member : event) stamped.emplace(member.key(), std::move(member.value()));
  return stamped;
}

JsonValue make_greeting(JsonValue version) {
  json::object body;
  body.emplace("version", std::move(version));
  body.emplace("capabilities", json::array{"oob"});
  json::object greeting;
  greeting.emplace("QMP", std::move(body));
  return greeting;
}

std::string print_line(const JsonValue& message, bool pretty) {
  std::string line;
  if (!pretty) {
    base::append_json(line, message);
  } else {
    for (char c : base::print_json(message, base::JsonStyle::kPretty)) {
      if (c == '\n') line += '\r';
      line += c;
    }
  }
  line += "\r\n";
  return line;
}

}  // namespace firn::qmp
