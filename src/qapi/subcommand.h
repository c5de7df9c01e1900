// The commands of qapic, as a table: parsing, --help and the manual page come from it.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "qapi/check.h"

namespace firn::qapi {

// Exit statuses that all commands share.
inline constexpr int kDone = 0;
inline constexpr int kFailed = 1;  // something is wrong with the schema or a file
inline constexpr int kBadUsage = 2;

struct Option {
  std::string_view name;   // "-o", "--dialect"
  std::string_view value;  // what it takes, as help names it; empty: a flag
  std::string_view help;   // may have several lines
};

// Of every command that reads a schema.
inline constexpr Option kDefineOption = {
    "-D", "SYMBOL",
    "this symbol is true in `if` conditions; all others are false.\nMay be repeated"};
inline constexpr Option kDialectOption = {
    "--dialect", "D", "`today` (the default) or `2011`, the language of December 2011"};

// What stood behind a command's name. Every option here is one of the command's.
class Arguments {
 public:
  std::vector<std::string> operands;
  std::vector<std::pair<std::string_view, std::string>> options;  // in order

  bool has(const Option& option) const;
  // The last value that was given.
  std::optional<std::string> value(const Option& option) const;
  std::vector<std::string> values(const Option& option) const;
};

struct Subcommand {
  std::string_view name;
  std::string_view usage;    // "BACKEND FILE -o FOLDER [options]"
  size_t operand_count;      // exactly so many
  std::string_view summary;  // one sentence without its full stop
  std::string_view details;  // paragraphs for --help, lines of at most 80 columns
  std::span<const Option> options;
  std::string_view exit_status;  // empty: 0 done, 1 schema or file, 2 usage
  // Results go to `out`, complaints to `err`; returns the exit status.
  int (*run)(const Arguments& arguments, std::string& out, std::string& err);
};

extern const Subcommand kCheckCommand;
extern const Subcommand kEmitCommand;
extern const Subcommand kCompatCommand;

// All of them, in the order of --help.
std::span<const Subcommand* const> subcommands();

// --help, of qapic and of one command; the manual page, man(7).
std::string global_help();
std::string command_help(const Subcommand& command);
std::string manual_page();

// Says what is wrong with the call and where help is; returns kBadUsage.
int bad_usage(std::string_view text, std::string& err);

// From -D and --dialect.
base::Result<CheckOptions> check_options(const Arguments& arguments);

}  // namespace firn::qapi
