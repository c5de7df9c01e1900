// firn events: the daemon's events as they come.
#include <fmt/format.h>

#include <algorithm>
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <charconv>
#include <chrono>
#include <optional>
#include <utility>

#include "async/scope.h"
#include "base/json.h"
#include "cli/command.h"
#include "cli/endpoint.h"
#include "cli/options.h"
#include "cli/result_text.h"
#include "cli/terminal.h"

namespace firn::cli {

namespace json = boost::json;
using async::Task;
using base::ErrorKind;
using base::fail;
using base::Result;

namespace {

struct Wanted {
  std::vector<std::string> names;  // none: all; NAME* for all that begin so
  uint64_t count = 0;              // 0: without end
  std::optional<async::Duration> timeout;
  Output output = Output::kHuman;
  TextOptions text;
};

bool matches(const std::string& pattern, std::string_view name) {
  if (!pattern.ends_with('*')) return pattern == name;
  return name.starts_with(std::string_view(pattern).substr(0, pattern.size() - 1));
}

bool is_wanted(const Wanted& wanted, const json::object& event) {
  const json::value* name = event.if_contains("event");
  if (name == nullptr || !name->is_string()) return false;
  return wanted.names.empty() || std::ranges::any_of(wanted.names, [&](const std::string& each) {
           return matches(each, name->get_string());
         });
}

Result<> check_names(const LiveSchema& schema, const std::vector<std::string>& patterns) {
  std::vector<std::string> names;
  for (const auto& [name, event] : schema.events()) names.push_back(name);
  for (const std::string& pattern : patterns) {
    const bool known =
        std::ranges::any_of(names, [&](const std::string& name) { return matches(pattern, name); });
    if (known) continue;
    std::string hint = did_you_mean(pattern, names);
    if (hint.empty()) hint = "'firn shell -c help' lists the daemon's events.";
    return fail(base::Error(ErrorKind::kInvalidArgument,
                            fmt::format("The daemon has no event '{}'", pattern))
                    .with_hint(std::move(hint)));
  }
  return {};
}

Result<Wanted> read_wanted(const std::vector<std::string>& arguments) {
  const Options options = TRY(Options::parse(
      "events", {{"count", 'n'}, {"timeout", 't'}, {"output"}, {"color"}}, arguments));
  Wanted wanted;
  wanted.names = options.operands();
  wanted.output = TRY(parse_output("events", options.value("output", "human")));
  wanted.text.colours = TRY(want_colours("events", options.value("color", "auto")));
  if (options.has("count")) {
    const std::string text = options.value("count");
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), wanted.count);
    if (error != std::errc() || end != text.data() + text.size() || wanted.count == 0) {
      return fail(
          usage_error("events", fmt::format("--count takes a number from 1, not '{}'", text)));
    }
  }
  if (options.has("timeout")) {
    constexpr double kMostSeconds = 1e9;
    const std::string text = options.value("timeout");
    double seconds = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
    if (error != std::errc() || end != text.data() + text.size() ||
        !(seconds >= 0 && seconds <= kMostSeconds)) {
      return fail(usage_error("events", fmt::format("--timeout takes seconds, not '{}'", text)));
    }
    wanted.timeout =
        std::chrono::duration_cast<async::Duration>(std::chrono::duration<double>(seconds));
  }
  return wanted;
}

Task<void> close_later(QmpClient& client, async::Duration timeout, async::CancelToken token,
                       bool& timed_out) {
  if (!co_await async::Loop::current().sleep_for(timeout, token)) co_return;
  timed_out = true;
  client.close();
}

// True if an event was printed.
bool show(const Wanted& wanted, const json::object& event) {
  if (!is_wanted(wanted, event)) return false;
  print_out(wanted.output == Output::kJson ? base::print_json(json::value(event)) + "\n"
                                           : event_line(event, wanted.text));
  return true;
}

// Until enough is shown; gives what ended it before.
Task<Result<>> follow(QmpClient& client, const Wanted& wanted) {
  uint64_t shown = 0;
  for (const json::object& event : client.take_events()) {
    if (show(wanted, event) && ++shown == wanted.count) co_return Result<>();
  }
  for (;;) {
    const json::object message = CO_TRY(co_await client.receive());
    if (show(wanted, message) && ++shown == wanted.count) co_return Result<>();
  }
}

Task<Result<>> run(Globals globals, std::vector<std::string> arguments) {
  const Wanted wanted = CO_TRY(read_wanted(arguments));
  auto client = CO_TRY(co_await connect_daemon(globals.socket, {}));
  if (!wanted.names.empty()) {
    const std::optional<LiveSchema> schema = CO_TRY(co_await load_schema(*client));
    if (schema) CO_TRY(check_names(*schema, wanted.names));
  }
  async::TaskScope scope;
  bool timed_out = false;
  if (wanted.timeout) {
    scope.spawn(close_later(*client, *wanted.timeout, scope.token(), timed_out));
  }
  Result<> result = co_await follow(*client, wanted);
  scope.cancel();
  co_await scope.join();
  if (timed_out && !result) {
    if (wanted.count == 0) co_return Result<>();
    co_return fail(ErrorKind::kTimedOut, "The time is over before all events came");
  }
  co_return result;
}

}  // namespace

const Command kEventsCommand = {
    .name = "events",
    .usage = "[NAME...] [options]",
    .summary = "Print the daemon's events as they come",
    .details =
        "NAME may end in * for all events that begin so. Without a NAME all are printed.\n"
        "\n"
        "options:\n"
        "  -n, --count N               end after N events\n"
        "  -t, --timeout SECONDS       end after this time; an error if --count is not reached\n"
        "  --output human|json         json: one JSON object a line\n"
        "  --color auto|always|never   auto: on a terminal, unless NO_COLOR is set\n"
        "\n"
        "examples:\n"
        "  firn events\n"
        "  firn events BLOCK_SNAPSHOT_COMPLETED --count 1 --timeout 60 --output json\n",
    .run = run,
};

}  // namespace firn::cli
