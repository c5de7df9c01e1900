// firn shell: interactive on a terminal; else lines from -c or standard input.
#include <fmt/format.h>
#include <unistd.h>

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <csignal>
#include <cstdlib>
#include <limits>
#include <utility>

#include "async/socket.h"
#include "base/json.h"
#include "cli/command.h"
#include "cli/endpoint.h"
#include "cli/options.h"
#include "cli/result_text.h"
#include "cli/shell.h"
#include "cli/shell_line.h"

namespace firn::cli {

namespace json = boost::json;
using async::Task;
using base::Error;
using base::ErrorKind;
using base::fail;
using base::Result;

namespace {

constexpr size_t kMaxLineBytes = size_t{16} << 20;

// Runs lines without a terminal, until one fails.
class Batch {
 public:
  Batch(QmpClient& client, std::optional<LiveSchema> schema, Output output, bool colours)
      : client_(client), schema_(std::move(schema)), output_(output) {
    text_.colours = colours;
    text_.width = isatty(STDOUT_FILENO) != 0 ? terminal_size().columns
                                             : std::numeric_limits<size_t>::max() / 2;
  }

  bool ended() const { return ended_; }

  Task<Result<>> run(std::string line) {
    std::optional<Span> wrong;
    const LiveSchema* schema = schema_ ? &*schema_ : nullptr;
    ShellLine read = CO_TRY(read_shell_line(schema, line, wrong));
    if (read.kind == ShellLine::Kind::kNothing) co_return Result<>();
    if (read.kind == ShellLine::Kind::kVerb) {
      if (read.name == "exit") ended_ = true;
      if (read.name == "help") print_out(CO_TRY(help_text(schema, read.words, kHelpWidth)));
      co_return Result<>();
    }
    const Result<json::value> value =
        co_await client_.execute(read.name, std::move(read.arguments));
    if (!value) {
      const std::string error_class = error_class_of(client_.last_error());
      Error error = value.error();
      if (!error_class.empty() && error_class != "GenericError") {
        error = Error(error).with_hint(fmt::format("The error's class is {}.", error_class));
      }
      co_return fail(std::move(error));
    }
    print_out(output_ == Output::kJson ? base::print_json(*value) + "\n"
                                       : result_text(*value, text_));
    co_return Result<>();
  }

 private:
  static constexpr size_t kHelpWidth = 80;

  QmpClient& client_;
  std::optional<LiveSchema> schema_;
  Output output_;
  TextOptions text_;
  bool ended_ = false;
};

Task<Result<>> run_input(Batch& batch) {
  auto input = CO_TRY(
      async::Loop::current().network().adopt_fds(STDIN_FILENO, STDOUT_FILENO, "standard input"));
  std::string buffer(size_t{64} << 10, '\0');
  std::string line;
  uint64_t number = 0;
  for (bool open = true; open && !batch.ended();) {
    const async::IoVec room(buffer.data(), buffer.size());
    const uint64_t got = CO_TRY(co_await input->receive(room));
    open = got != 0;
    std::string_view bytes = std::string_view(buffer).substr(0, got);
    while (!batch.ended() && (!bytes.empty() || (!open && !line.empty()))) {
      const size_t end = bytes.find('\n');
      line += bytes.substr(0, end);
      bytes.remove_prefix(end == std::string_view::npos ? bytes.size() : end + 1);
      if (line.size() > kMaxLineBytes) {
        co_return fail(ErrorKind::kInvalidArgument, fmt::format("line {}: too long", number + 1));
      }
      if (end == std::string_view::npos && open) break;
      ++number;
      CO_TRY_CONTEXT(co_await batch.run(std::exchange(line, {})), fmt::format("line {}", number));
    }
  }
  co_return Result<>();
}

Task<Result<>> run(Globals globals, std::vector<std::string> arguments) {
  const Options options = CO_TRY(Options::parse(
      "shell", {{"command", 'c'}, {"output"}, {"color"}, {"no-history", 0, false}}, arguments));
  if (!options.operands().empty()) {
    co_return fail(usage_error(
        "shell", fmt::format("'{}' is one word too many; -c takes a line", options.operands()[0])));
  }
  const Output output = CO_TRY(parse_output("shell", options.value("output", "human")));
  const bool colours = CO_TRY(want_colours("shell", options.value("color", "auto")));
  auto client = CO_TRY(co_await connect_daemon(globals.socket, {}));
  std::optional<LiveSchema> schema = CO_TRY(co_await load_schema(*client));
  if (options.has("command") || !is_interactive()) {
    Batch batch(*client, std::move(schema), output, colours);
    co_return options.has("command") ? co_await batch.run(options.value("command"))
                                     : co_await run_input(batch);
  }
  int signal = 0;
  {
    Shell shell(std::move(client), std::move(schema),
                {.colours = colours,
                 .output = output,
                 .history = options.has("no-history") ? "" : history_path()});
    signal = CO_TRY(co_await shell.run());
  }
  if (signal != 0) raise(signal);  // as if it had never been caught
  co_return Result<>();
}

}  // namespace

const Command kShellCommand = {
    .name = "shell",
    .usage = "[options]",
    .summary = "Talk to a daemon: commands with completion, help and events",
    .details =
        "A line is a QMP command with its arguments, NAME=VALUE or --NAME VALUE as for\n"
        "'firn qmp'; or a QMP command as JSON. Commands, arguments and their types are those of\n"
        "the daemon's own schema. Tab completes names, values and files; ? explains; events are\n"
        "shown as they come; Ctrl-C gives up a line or stops waiting for a command; Ctrl-D\n"
        "leaves. 'help' lists commands and events, 'help NAME' explains one.\n"
        "\n"
        "Without a terminal, lines are read from standard input and run until one fails.\n"
        "\n"
        "options:\n"
        "  -c, --command LINE         run this line and end\n"
        "  --output human|json        how to print results\n"
        "  --color auto|always|never  auto: on a terminal, unless NO_COLOR is set\n"
        "  --no-history               keep no history\n"
        "\n"
        "The history is in $XDG_STATE_HOME/firn/history (~/.local/state/firn/history). Lines that\n"
        "set passwords or the like are not kept.\n"
        "\n"
        "examples:\n"
        "  firn shell\n"
        "  firn shell -c 'block_resize device=vda size=4G'\n"
        "  echo query-block-exports | firn shell --output json\n",
    .run = run,
};

}  // namespace firn::cli
