#include "daemon/options.h"

#include <fmt/format.h>

#include <array>
#include <filesystem>

#include "api/keyval.h"
#include "base/version.h"
#include "daemon/chardev_options.h"

namespace firn::daemon {
namespace {

using base::ErrorKind;
using base::fail;
using base::Result;

enum class Action : uint8_t {
  kRun,  // one of OptionKind
  kHelp,
  kVersion,
  kDaemonize,
  kPidfile,
  kAudit,
  kState,
  kCompat,
  kSnapshotReserve,
  kTrace,
};

struct OptionRow {
  std::string_view name;
  char letter;  // 0: none
  bool takes_argument;
  Action action;
  OptionKind kind;
  std::string_view help;  // as it stands in --help
};

constexpr std::array<OptionRow, 16> kOptions = {{
    {"help",
     'h',
     false,
     Action::kHelp,
     {},
     "  -h, --help             display this help and exit\n"},
    {"version",
     'V',
     false,
     Action::kVersion,
     {},
     "  -V, --version          output version information and exit\n\n"},
    {"audit",
     0,
     true,
     Action::kAudit,
     {},
     "  --audit [file=]<path>[,sync=on|off]\n"
     "                         append a line of JSON for each command that changes\n"
     "                         something, with who gave it, and for each refusal\n\n"},
    {"blockdev", 0, true, Action::kRun, OptionKind::kBlockdev,
     "  --blockdev [driver=]<driver>[,node-name=<N>][,discard=ignore|unmap]\n"
     "             [,cache.direct=on|off][,cache.no-flush=on|off]\n"
     "             [,read-only=on|off][,auto-read-only=on|off]\n"
     "             [,force-share=on|off][,detect-zeroes=on|off|unmap]\n"
     "             [,driver specific parameters...]\n"
     "  --blockdev '{\"driver\": ..., ...}'\n"
     "                         open an image and name it <N>\n\n"},
    {"chardev", 0, true, Action::kRun, OptionKind::kChardev,
     "  --chardev help         list the kinds of character devices\n"
     "  --chardev socket,id=<id>,path=<path>[,abstract=on|off][,tight=on|off]...\n"
     "  --chardev socket,id=<id>,host=<host>,port=<port>[,ipv4=on|off]\n"
     "            [,ipv6=on|off]...\n"
     "  --chardev socket,id=<id>,fd=<fd>...\n"
     "            ...[,server=on[,wait=on|off][,telnet=on|off]]\n"
     "            ...[,server=off[,reconnect=<seconds>]]\n"
     "  --chardev stdio,id=<id>[,signal=on|off]\n"
     "  --chardev pty,id=<id>\n"
     "  --chardev file,id=<id>,path=<path>[,append=on|off]\n"
     "  --chardev pipe,id=<id>,path=<path>\n"
     "  --chardev ringbuf,id=<id>[,size=<size>]\n"
     "  --chardev null,id=<id>\n"
     "                         configure where a monitor meets its clients; a\n"
     "                         server takes any number of them at once; <fd> is\n"
     "                         a number, or a name that systemd gave a socket\n\n"},
    {"compat",
     0,
     true,
     Action::kCompat,
     {},
     "  --compat overlay=plain|subclusters\n"
     "                         how new overlays are laid out: with subclusters\n"
     "                         (the default; readable by QEMU 5.2 and later), or\n"
     "                         plain, for older readers\n\n"},
    {"daemonize",
     0,
     false,
     Action::kDaemonize,
     {},
     "  --daemonize            run in the background; the command returns once\n"
     "                         startup is complete\n\n"},
    {"device", 0, true, Action::kRun, OptionKind::kDevice,
     "  --device id=<id>,node-name=<node-name>\n"
     "                         name a disk, whose head follows its snapshots\n\n"},
    {"export", 0, true, Action::kRun, OptionKind::kExport,
     "  --export [type=]nbd,id=<id>,node-name=<node-name>[,name=<export-name>]\n"
     "           [,writable=on|off][,description=<text>][,iothread=<id>]\n"
     "           [,writethrough=on|off][,allocation-depth=on|off]\n"
     "                         export the block node over NBD (requires\n"
     "                         --nbd-server)\n\n"},
    {"monitor", 0, true, Action::kRun, OptionKind::kMonitor,
     "  --monitor [chardev=]<id>[,mode=control|readline][,pretty=on|off]\n"
     "            [,errors=classes|qemu][,role=none|viewer|operator|admin]\n"
     "            [,peers.<i>.uid=<uid>][,peers.<i>.gid=<gid>][,peers.<i>.role=<role>]\n"
     "                         configure a monitor: QMP (control), or lines for\n"
     "                         people (readline); errors=qemu gives the error\n"
     "                         classes of qemu-storage-daemon; role is what clients\n"
     "                         may do that no peers entry fits\n\n"},
    {"nbd-server", 0, true, Action::kRun, OptionKind::kNbdServer,
     "  --nbd-server addr.type=inet,addr.host=<host>,addr.port=<port>\n"
     "               [,max-connections=<n>]\n"
     "  --nbd-server addr.type=unix,addr.path=<path>[,max-connections=<n>]\n"
     "  --nbd-server addr.type=fd,addr.str=<fd>[,max-connections=<n>]\n"
     "                         start the NBD server for exporting block nodes\n\n"},
    {"object", 0, true, Action::kRun, OptionKind::kObject,
     "  --object help          list the object types that can be added\n"
     "  --object iothread,id=<id>\n"
     "                         create an object\n\n"},
    {"pidfile",
     0,
     true,
     Action::kPidfile,
     {},
     "  --pidfile <path>       write the process ID to a file after startup\n\n"},
    {"snapshot-reserve",
     0,
     true,
     Action::kSnapshotReserve,
     {},
     "  --snapshot-reserve <size>|<percent>%\n"
     "                         refuse a snapshot whose overlay's store has less\n"
     "                         room than this (2G, 5%)\n\n"},
    {"state",
     0,
     true,
     Action::kState,
     {},
     "  --state <path>         remember nodes, devices, exports and the rest in this\n"
     "                         file, and bring them back at the next start, after a\n"
     "                         crash too; options that were carried out once are\n"
     "                         skipped then\n\n"},
    {"trace",
     'T',
     true,
     Action::kTrace,
     {},
     "  -T, --trace <options>  not supported: refused by name\n"},
}};

const OptionRow* find_by_letter(char letter) {
  for (const OptionRow& row : kOptions) {
    if (row.letter == letter) return &row;
  }
  return nullptr;
}

// Exact, or the only one that begins so (as getopt_long does).
Result<const OptionRow*> find_by_name(std::string_view name) {
  std::vector<const OptionRow*> matches;
  for (const OptionRow& row : kOptions) {
    if (row.name == name) return &row;
    if (!name.empty() && row.name.starts_with(name)) matches.push_back(&row);
  }
  if (matches.size() == 1) return matches.front();
  if (matches.empty()) {
    return fail(ErrorKind::kInvalidArgument, fmt::format("unrecognized option '--{}'", name));
  }
  std::string possible;
  for (const OptionRow* row : matches) possible += fmt::format(" '--{}'", row->name);
  return fail(ErrorKind::kInvalidArgument,
              fmt::format("option '--{}' is ambiguous; possibilities:{}", name, possible));
}

// One option as it stands on the line, with its argument.
struct Given {
  const OptionRow* row;
  std::optional<std::string> argument;
};

Result<Given> take_long(std::string_view text, std::span<const std::string>& rest) {
  size_t equals = text.find('=');
  const OptionRow* row = TRY(find_by_name(text.substr(0, equals)));
  Given given{.row = row, .argument = std::nullopt};
  if (equals != std::string_view::npos) {
    if (!row->takes_argument) {
      return fail(ErrorKind::kInvalidArgument,
                  fmt::format("option '--{}' doesn't allow an argument", row->name));
    }
    given.argument = text.substr(equals + 1);
  } else if (row->takes_argument) {
    if (rest.empty()) {
      return fail(ErrorKind::kInvalidArgument,
                  fmt::format("option '--{}' requires an argument", row->name));
    }
    given.argument = rest.front();
    rest = rest.subspan(1);
  }
  return given;
}

Result<Given> take_short(std::string_view text, std::span<const std::string>& rest) {
  const OptionRow* row = text.empty() ? nullptr : find_by_letter(text.front());
  if (row == nullptr || (!row->takes_argument && text.size() > 1)) {
    return fail(ErrorKind::kInvalidArgument, fmt::format("invalid option -- '{}'", text));
  }
  Given given{.row = row, .argument = std::nullopt};
  if (!row->takes_argument) return given;
  if (text.size() > 1) {
    given.argument = text.substr(1);
  } else if (rest.empty()) {
    return fail(ErrorKind::kInvalidArgument,
                fmt::format("option requires an argument -- '{}'", text));
  } else {
    given.argument = rest.front();
    rest = rest.subspan(1);
  }
  return given;
}

Result<> set_compat(Options& options, const std::string& text) {
  if (text == "overlay=plain" || text == "overlay=subclusters") {
    options.plain_overlays = text == "overlay=plain";
    return {};
  }
  return fail(ErrorKind::kInvalidArgument,
              fmt::format("--compat {}: expected overlay=plain or overlay=subclusters", text));
}

std::optional<std::string> option_help(const Option& option) {
  if (option.kind == OptionKind::kChardev) {
    std::string help = chardev_help(option.text);
    return help.empty() ? std::nullopt : std::optional(std::move(help));
  }
  if (option.kind != OptionKind::kObject) return std::nullopt;
  if (option.text == "help" || option.text == "?") {
    return "List of user creatable objects:\n  iothread\n";
  }
  if (option.text == "iothread,help" || option.text == "qom-type=iothread,help") {
    return "iothread options:\n  id=<str>                - the name of the thread\n";
  }
  return std::nullopt;
}

// The working directory changes when the daemon goes to the background.
std::string absolute(std::string path) {
  std::error_code error;
  std::string result = std::filesystem::absolute(path, error).string();
  return error ? std::move(path) : std::move(result);
}

Result<> apply(Options& options, Given given) {
  switch (given.row->action) {
    case Action::kHelp:
      options.print_and_exit = help_text();
      return {};
    case Action::kVersion:
      options.print_and_exit = version_text();
      return {};
    case Action::kDaemonize:
      options.daemonize = true;
      return {};
    case Action::kPidfile:
      options.pidfile = absolute(*std::move(given.argument));
      return {};
    case Action::kState:
      if (options.state) {
        return fail(ErrorKind::kInvalidArgument, "--state can be given once only");
      }
      // SQLite would take it for a file that nobody needs afterwards.
      if (given.argument->empty()) {
        return fail(ErrorKind::kInvalidArgument, "--state needs the name of a file");
      }
      options.state = absolute(*std::move(given.argument));
      return {};
    case Action::kAudit:
      if (options.audit) {
        return fail(ErrorKind::kInvalidArgument, "--audit can be given once only");
      }
      options.audit = *std::move(given.argument);
      return {};
    case Action::kCompat:
      return set_compat(options, *given.argument);
    case Action::kSnapshotReserve:
      options.snapshot_reserve = TRY_CONTEXT(block::parse_space_reserve(*given.argument),
                                             fmt::format("--snapshot-reserve {}", *given.argument));
      return {};
    case Action::kTrace:
      return fail(ErrorKind::kUnsupported,
                  fmt::format("--trace {}: tracing is not supported by firn", *given.argument));
    case Action::kRun:
      break;
  }
  Option option{.kind = given.row->kind,
                .name = fmt::format("--{}", given.row->name),
                .text = *std::move(given.argument)};
  if (auto help = option_help(option)) {
    options.print_and_exit = *std::move(help);
  } else {
    options.actions.push_back(std::move(option));
  }
  return {};
}

}  // namespace

Result<Options> parse_options(std::span<const std::string> arguments) {
  Options options;
  std::span<const std::string> rest = arguments;
  while (!rest.empty() && !options.print_and_exit) {
    std::string_view argument = rest.front();
    rest = rest.subspan(1);
    if (argument == "--") continue;
    if (argument.starts_with("--")) {
      TRY(apply(options, TRY(take_long(argument.substr(2), rest))));
    } else if (argument.starts_with('-') && argument.size() > 1) {
      TRY(apply(options, TRY(take_short(argument.substr(1), rest))));
    } else {
      return fail(ErrorKind::kInvalidArgument, fmt::format("{}: Unexpected argument", argument));
    }
  }
  return options;
}

std::string help_text() {
  std::string text =
      "Usage: firnd [options]\n"
      "Firn storage daemon: serves virtual disks and takes their live snapshots\n\n";
  for (const OptionRow& row : kOptions) text += row.help;
  return text;
}

std::string version_text() { return fmt::format("firnd version {}\n", base::kVersion); }

std::vector<std::string> option_names() {
  std::vector<std::string> names;
  for (const OptionRow& row : kOptions) names.push_back(fmt::format("--{}", row.name));
  return names;
}

}  // namespace firn::daemon
