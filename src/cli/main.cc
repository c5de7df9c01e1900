// firn: the command that people type.
#include <fmt/format.h>
#include <unistd.h>

#include <optional>
#include <utility>

#include "async/runtime.h"
#include "base/log.h"
#include "base/version.h"
#include "cli/command.h"
#include "cli/options.h"

namespace firn::cli {

using base::Error;
using base::ErrorKind;
using base::Result;

namespace {

constexpr int kExitFailed = 1;
constexpr int kExitUsage = 2;

const Command* find_command(std::string_view name) {
  for (const Command* command : commands()) {
    if (command->name == name) return command;
  }
  return nullptr;
}

int report(const Error& error) {
  std::string text = fmt::format("firn: {}\n", error.text());
  if (!error.hint().empty()) text += error.hint() + "\n";
  [[maybe_unused]] ssize_t written = write(STDERR_FILENO, text.data(), text.size());
  return error.kind() == ErrorKind::kInvalidArgument ? kExitUsage : kExitFailed;
}

bool asks_for_help(const std::vector<std::string>& arguments) {
  for (const std::string& argument : arguments) {
    if (argument == "--") return false;
    if (argument == "--help" || argument == "-h") return true;
  }
  return false;
}

// Reads what stands before the command's name; gives its index.
Result<size_t> parse_globals(const std::vector<std::string>& arguments, Globals& globals) {
  size_t at = 0;
  while (at < arguments.size() && arguments[at].starts_with("-")) {
    const std::string& argument = arguments[at];
    constexpr std::string_view kSocketIs = "--socket=";
    if (argument == "--socket") {
      if (++at == arguments.size()) {
        return base::fail(usage_error("", "option '--socket' needs a value"));
      }
      globals.socket = arguments[at];
    } else if (argument.starts_with(kSocketIs)) {
      globals.socket = argument.substr(kSocketIs.size());
    } else {
      return base::fail(usage_error("", fmt::format("unknown option '{}'", argument)));
    }
    ++at;
  }
  return at;
}

int run(std::vector<std::string> arguments) {
  if (arguments.empty()) {
    return report(usage_error("", "no command given"));
  }
  if (arguments[0] == "--help" || arguments[0] == "-h" || arguments[0] == "help") {
    print_out(global_help());
    return 0;
  }
  if (arguments[0] == "--manual-page") {  // docs/man/firn.1 is made with it
    print_out(manual_page());
    return 0;
  }
  if (arguments[0] == "--version") {
    print_out(fmt::format("firn version {}\n", base::kVersion));
    return 0;
  }
  Globals globals;
  Result<size_t> at = parse_globals(arguments, globals);
  if (!at) return report(at.error());
  if (*at == arguments.size()) return report(usage_error("", "no command given"));
  arguments.erase(arguments.begin(), arguments.begin() + static_cast<ptrdiff_t>(*at));
  std::string name = arguments.front();
  size_t words = 1;
  if (is_group(name)) {
    if (arguments.size() > 1 && asks_for_help({arguments[1]})) {
      print_out(group_help(name));
      return 0;
    }
    if (arguments.size() == 1) {
      return report(usage_error(name, "a command is needed"));
    }
    name += " " + arguments[1];
    words = 2;
  }
  const Command* command = find_command(name);
  if (command == nullptr) {
    return report(usage_error("", fmt::format("unknown command '{}'", name)));
  }
  arguments.erase(arguments.begin(), arguments.begin() + static_cast<ptrdiff_t>(words));
  const bool first_asks = !arguments.empty() && asks_for_help({arguments.front()});
  if (command->helps_itself ? first_asks : asks_for_help(arguments)) {
    print_out(command_help(*command));
    return 0;
  }
  if (command->run_before_threads != nullptr) {
    return command->run_before_threads(globals, std::move(arguments));
  }
  Result<std::unique_ptr<async::Runtime>> runtime = async::make_runtime({.worker_count = 1});
  if (!runtime) return report(runtime.error());
  Result<> result =
      async::run_until_done(**runtime, command->run(std::move(globals), std::move(arguments)));
  return result ? 0 : report(result.error());
}

}  // namespace

}  // namespace firn::cli

int main(int argc, char** argv) {
  firn::base::set_log_name("firn");
  return firn::cli::run(std::vector<std::string>(argv + 1, argv + argc));
}
