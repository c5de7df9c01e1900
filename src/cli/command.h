// The commands that people type: `firn NAME ...`, where NAME may be of two words ("img info").
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "async/task.h"
#include "base/result.h"

namespace firn::cli {

// How results are printed.
enum class Output { kHuman, kJson };

// What `firn` was told before the command's name.
struct Globals {
  std::string socket;  // --socket; empty: found in the runtime directory
};

struct Command {
  std::string_view name;
  std::string_view usage;    // "DEVICE OVERLAY [options]"
  std::string_view summary;  // one line
  std::string_view details;  // what --help prints below the summary
  // Runs on the control loop of a fresh runtime. `arguments` are those behind the command's name.
  // Results go to standard output; the error that it returns is printed by main.
  async::Task<base::Result<>> (*run)(Globals globals, std::vector<std::string> arguments);
  // Commands that must run before any thread exists have this instead; it gives the exit status.
  int (*run_before_threads)(const Globals& globals, std::vector<std::string> arguments) = nullptr;
  // --help behind the first argument is for the command itself.
  bool helps_itself = false;
};

// All of them, in the order of --help.
std::span<const Command* const> commands();

// Whether several commands' names begin with this word.
bool is_group(std::string_view word);

// The texts of --help, for `firn` and for one command, and the manual page (roff, man(7)) made of
// them.
std::string global_help();
std::string group_help(std::string_view group);
std::string command_help(const Command& command);
std::string manual_page();

extern const Command kServeCommand;
extern const Command kSnapshotCommand;
extern const Command kTreeCommand;
extern const Command kQmpCommand;
extern const Command kEventsCommand;
extern const Command kShellCommand;
extern const Command kCompletionCommand;
extern const Command kDiffCommand;
extern const Command kRevertCommand;
extern const Command kForkCommand;
extern const Command kImgCreateCommand;
extern const Command kImgInfoCommand;
extern const Command kImgSnapshotCommand;
extern const Command kStateShowCommand;
extern const Command kStateCheckCommand;
extern const Command kStateExportCommand;
extern const Command kStateAcceptCommand;

// A wrong call: exit status 2, with the way to --help.
base::Error usage_error(std::string_view command, std::string text);

// --output's value.
base::Result<Output> parse_output(std::string_view command, std::string_view value);

void print_out(std::string_view text);  // to standard output, whole

}  // namespace firn::cli
