// firn qmp: any command of the daemon.
#include <fmt/format.h>

#include <boost/json/object.hpp>

#include "cli/command.h"
#include "cli/endpoint.h"
#include "cli/options.h"

namespace firn::cli {

namespace json = boost::json;
using async::Task;
using base::Result;

namespace {

// "key=value": the value as JSON if it is, else as a string; "a.b=1" nests.
Result<> set_argument(json::object& arguments, const std::string& text) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0) {
    return base::fail(usage_error("qmp", fmt::format("'{}' is not of the form key=value", text)));
  }
  json::object* object = &arguments;
  std::string key = text.substr(0, equals);
  for (size_t dot; (dot = key.find('.')) != std::string::npos; key.erase(0, dot + 1)) {
    json::value& inner = (*object)[key.substr(0, dot)];
    if (inner.is_null()) inner.emplace_object();
    if (!inner.is_object()) {
      return base::fail(usage_error(
          "qmp", fmt::format("'{}' is set both as a value and as an object", key.substr(0, dot))));
    }
    object = &inner.get_object();
  }
  const std::string value = text.substr(equals + 1);
  Result<base::JsonValue> parsed = base::parse_json(value);
  object->insert_or_assign(key, parsed ? *std::move(parsed) : json::value(value));
  return {};
}

Task<Result<>> run(Globals globals, std::vector<std::string> arguments) {
  const Options options = CO_TRY(Options::parse("qmp", {{"compact", 0, false}}, arguments));
  if (options.operands().empty()) {
    co_return base::fail(usage_error("qmp", "a command is needed"));
  }
  json::object members;
  for (size_t i = 1; i < options.operands().size(); ++i) {
    const std::string& operand = options.operands()[i];
    if (i == 1 && operand.starts_with("{")) {
      json::value whole = CO_TRY_CONTEXT(base::parse_json(operand), "arguments");
      members = std::move(whole.as_object());  // it begins with a brace
      continue;
    }
    CO_TRY(set_argument(members, operand));
  }
  auto client = CO_TRY(co_await connect_daemon(globals.socket, {}));
  const json::value value =
      CO_TRY(co_await client->execute(options.operands()[0], std::move(members)));
  const auto style = options.has("compact") ? base::JsonStyle::kCompact : base::JsonStyle::kPretty;
  print_out(base::print_json(value, style) + "\n");
  co_return Result<>();
}

}  // namespace

const Command kQmpCommand = {
    .name = "qmp",
    .usage = "COMMAND [KEY=VALUE...] [options]",
    .summary = "Run a QMP command and print what it returns",
    .details =
        "VALUE is JSON where it can be read as such, else a string; KEY with dots sets a member\n"
        "of an object. A JSON object may stand in place of the first KEY=VALUE.\n"
        "\n"
        "options:\n"
        "  --compact  print on one line\n"
        "\n"
        "examples:\n"
        "  firn qmp query-block\n"
        "  firn qmp block_resize device=vda size=4294967296\n"
        "  firn qmp blockdev-add '{\"driver\": \"null-co\", \"node-name\": \"n0\"}'\n",
    .run = run,
};

}  // namespace firn::cli
