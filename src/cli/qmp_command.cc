// firn qmp: any command of the daemon, with arguments checked by the daemon's own schema.
#include <fmt/format.h>

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>

#include "base/json.h"
#include "cli/arguments_from_schema.h"
#include "cli/command.h"
#include "cli/endpoint.h"
#include "cli/schema_text.h"

namespace firn::cli {

namespace json = boost::json;
using async::Task;
using base::Error;
using base::ErrorKind;
using base::Result;

namespace {

struct Call {
  std::string command;
  std::vector<std::string> words;  // its arguments
  bool compact = false;
  bool check = true;
  bool help = false;
};

bool has_argument(const LiveCommand* command, std::string_view name) {
  return command != nullptr && !types_at(*command->arguments, name).empty();
}

// An option of this command. True if `word` is one.
bool take_own_option(Call& call, std::string_view word) {
  if (word == "--compact") return call.compact = true;
  if (word == "--no-check") {
    call.check = false;
    return true;
  }
  if (word == "--help" || word == "-h") return call.help = true;
  return false;
}

Result<Call> read_call(const std::vector<std::string>& arguments) {
  Call call;
  size_t at = 0;
  for (; at < arguments.size() && arguments[at].starts_with("-"); ++at) {
    if (!take_own_option(call, arguments[at])) {
      return base::fail(usage_error("qmp", fmt::format("unknown option '{}'", arguments[at])));
    }
  }
  if (at == arguments.size()) return base::fail(usage_error("qmp", "a command is needed"));
  call.command = arguments[at++];
  call.words.assign(arguments.begin() + static_cast<ptrdiff_t>(at), arguments.end());
  return call;
}

// Options may stand behind the command too, where it has no argument of that name.
void take_options_behind(Call& call, const LiveCommand* command) {
  std::vector<std::string> left;
  bool flags = true;
  for (std::string& word : call.words) {
    flags = flags && word != "--";
    const bool own = flags && word.starts_with('-') &&
                     !(word.starts_with("--") && has_argument(command, word.substr(2))) &&
                     take_own_option(call, word);
    if (!own) left.push_back(std::move(word));
  }
  call.words = std::move(left);
}

Error unknown_command(const LiveSchema& schema, const std::string& name) {
  std::vector<std::string> names;
  for (const auto& [each, command] : schema.commands()) names.push_back(each);
  std::string hint = did_you_mean(name, names);
  if (hint.empty()) hint = "'firn shell -c help' lists the daemon's commands.";
  return Error(ErrorKind::kCommandNotFound, fmt::format("The daemon has no command '{}'", name))
      .with_hint(std::move(hint));
}

Error with_way_to_help(Error error, const std::string& command) {
  std::string hint = error.hint();
  if (!hint.empty()) hint += ' ';
  hint += fmt::format("Try 'firn qmp {} --help'.", command);
  return std::move(error).with_hint(std::move(hint));
}

Task<Result<>> run(Globals globals, std::vector<std::string> arguments) {
  Call call = CO_TRY(read_call(arguments));
  auto client = CO_TRY(co_await connect_daemon(globals.socket, {}));
  std::optional<LiveSchema> schema;
  const LiveCommand* command = nullptr;
  if (!call.words.empty() || call.help) {
    schema = CO_TRY(co_await load_schema(*client));
    if (schema) command = schema->command(call.command);
    take_options_behind(call, command);
    if (schema && command == nullptr && call.check) {
      co_return base::fail(unknown_command(*schema, call.command));
    }
  }
  if (call.help) {
    if (command == nullptr) {
      co_return base::fail(ErrorKind::kUnsupported,
                           "The daemon says nothing about its commands: it has no schema");
    }
    std::vector<std::string> words = call.words;
    words.insert(words.begin(), call.command);
    print_out(command_text(*command, words, &SchemaDocs::own()));
    co_return Result<>();
  }
  ArgumentParser parser(call.check ? command : nullptr);
  Result<json::object> members = parser.parse(call.words);
  if (!members) co_return base::fail(with_way_to_help(members.error(), call.command));
  const Result<json::value> value = co_await client->execute(call.command, *std::move(members));
  if (!value) {
    const std::string error_class = error_class_of(client->last_error());
    if (error_class == "CommandNotFound") {
      if (!schema) schema = CO_TRY(co_await load_schema(*client));
      if (schema && schema->command(call.command) == nullptr) {
        co_return base::fail(unknown_command(*schema, call.command));
      }
    }
    co_return base::fail(value.error());
  }
  const auto style = call.compact ? base::JsonStyle::kCompact : base::JsonStyle::kPretty;
  print_out(base::print_json(*value, style) + "\n");
  co_return Result<>();
}

}  // namespace

const Command kQmpCommand = {
    .name = "qmp",
    .usage = "[options] COMMAND [ARGUMENTS]",
    .summary = "Run a QMP command and print what it returns",
    .details =
        "Arguments are flags made from the daemon's own schema, and checked by it before they\n"
        "are sent. 'firn qmp COMMAND --help' lists a command's.\n"
        "\n"
        "  --NAME VALUE, NAME=VALUE  a member; NAME.INNER sets a member of an object, NAME.0\n"
        "                            an element of a list; a list's flag may be repeated\n"
        "  --NAME, --no-NAME         a boolean; also NAME=on, NAME=off\n"
        "  '{...}'                   members as JSON\n"
        "\n"
        "Integers may have a suffix (64k, 1.5G). VALUE may be JSON where a member takes an object\n"
        "or a list.\n"
        "\n"
        "options:\n"
        "  --compact   print on one line\n"
        "  --no-check  send arguments as they are; VALUE is JSON where it can be read as such,\n"
        "              else a string\n"
        "\n"
        "examples:\n"
        "  firn qmp query-block\n"
        "  firn qmp block_resize --device vda --size 4G\n"
        "  firn qmp blockdev-add driver=qcow2 node-name=n0 file.driver=file "
        "file.filename=/d.qcow2\n"
        "  firn qmp blockdev-add '{\"driver\": \"null-co\", \"node-name\": \"n0\"}'\n",
    .run = run,
    .helps_itself = true,
};

}  // namespace firn::cli
