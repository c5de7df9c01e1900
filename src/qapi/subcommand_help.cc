// What qapic says about itself: --help and the manual page.
#include <fmt/format.h>

#include "base/version.h"
#include "qapi/backend.h"
#include "qapi/roff.h"
#include "qapi/subcommand.h"

namespace firn::qapi {
namespace {

constexpr std::string_view kSummary = "compile schemas in QEMU's QAPI schema language";

constexpr std::string_view kExitStatus =
    "0 done, 1 something is wrong with the schema or a file, 2 bad usage";

constexpr std::string_view kDescription =
    "Reads a schema and the files that it includes, checks all of it, and makes\n"
    "code, documentation and descriptions of it.";

constexpr std::string_view kDiagnostics =
    "What is wrong goes to standard error, as `file:line:column: error: text`, with\n"
    "the line in question, what led there, and a hint. One run reports all that it\n"
    "finds.";

constexpr Option kGeneralOptions[] = {
    {"--help", "", "this text; behind a command, the command's"},
    {"--version", "", "the version"},
    {"--manual-page", "", "the manual page, in roff"},
};

struct Example {
  std::string_view line;
  std::string_view what;
};
constexpr Example kExamples[] = {
    {"qapic check schema.json", "Say what is wrong with a schema."},
    {"qapic emit html schema.json -o manual", "Write its manual as a page for browsers."},
    {"qapic emit types schema.json -o generated -D CONFIG_FUSE",
     "Write C++ types, with what depends on CONFIG_FUSE."},
    {"qapic check --dialect 2011 qapi-schema.json", "Check a schema of the year 2011."},
};

std::string option_head(const Option& option) {
  return std::string(option.name) + (option.value.empty() ? "" : " ") + std::string(option.value);
}

std::string option_lines(std::span<const Option> options) {
  std::string out;
  for (const Option& option : options) {
    std::string_view help = option.help;
    std::string head = option_head(option);
    while (true) {
      const size_t end = help.find('\n');
      out += fmt::format("  {:<15}  {}\n", head, help.substr(0, end));
      if (end == std::string_view::npos) break;
      help.remove_prefix(end + 1);
      head.clear();
    }
  }
  return out;
}

std::string backend_lines() {
  std::string out;
  for (const Backend* backend : backends()) {
    out += fmt::format("  {:<15}  {}\n", backend->name(), backend->summary());
  }
  return out + fmt::format("  {:<15}  {}\n", "all", "every one of them");
}

// Paragraphs of roff from paragraphs of text; `code` is set in bold.
std::string roff_paragraphs(std::string_view text) {
  std::string out;
  bool bold = false;
  std::string line;
  const auto flush = [&] {
    out += line + "\n";
    line.clear();
  };
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '`') {
      bold = !bold;
      line += bold ? "\\fB" : "\\fR";
    } else if (text[i] != '\n') {
      line += roff::escape(text.substr(i, 1), line.empty());
    } else if (i + 1 < text.size() && text[i + 1] == '\n') {
      flush();
      out += ".PP\n";
      ++i;
    } else {
      flush();
    }
  }
  if (!line.empty()) flush();
  return out;
}

std::string roff_options(std::span<const Option> options) {
  std::string out;
  for (const Option& option : options) {
    out += fmt::format(".TP\n\\fB{}\\fR", roff::escape(option.name));
    if (!option.value.empty()) out += fmt::format(" \\fI{}\\fR", roff::escape(option.value));
    out += "\n" + roff_paragraphs(option.help);
  }
  return out;
}

}  // namespace

std::string global_help() {
  std::string out;
  for (const Subcommand* command : subcommands()) {
    out += fmt::format("{} qapic {} {}\n", out.empty() ? "Usage:" : "      ", command->name,
                       command->usage);
  }
  out += fmt::format("\n{}\n\nCommands:\n", kDescription);
  for (const Subcommand* command : subcommands()) {
    out += fmt::format("  {:<15}  {}\n", command->name, command->summary);
  }
  out += fmt::format("\nBack ends of `emit`:\n{}\nOptions:\n{}", backend_lines(),
                     option_lines(kGeneralOptions));
  out += fmt::format("\nExit status: {}.\n\nExamples:\n", kExitStatus);
  for (const Example& example : kExamples) out += fmt::format("  {}\n", example.line);
  return out;
}

std::string command_help(const Subcommand& command) {
  std::string out =
      fmt::format("Usage: qapic {} {}\n\n{}.\n", command.name, command.usage, command.summary);
  if (!command.details.empty()) out += fmt::format("\n{}\n", command.details);
  if (&command == &kEmitCommand) out += fmt::format("\nBack ends:\n{}", backend_lines());
  out += fmt::format("\nOptions:\n{}", option_lines(command.options));
  return out + fmt::format("\nExit status: {}.\n",
                           command.exit_status.empty() ? kExitStatus : command.exit_status);
}

std::string manual_page() {
  std::string page = fmt::format(
      ".TH QAPIC 1 \"\" \"firn {}\" \"User Commands\"\n"
      ".SH NAME\nqapic \\- {}\n.SH SYNOPSIS\n",
      base::kVersion, roff::escape(kSummary));
  for (const Subcommand* command : subcommands()) {
    page += fmt::format("{}\\fBqapic {}\\fR {}\n", command == subcommands().front() ? "" : ".br\n",
                        roff::escape(command->name), roff::escape(command->usage));
  }
  page += ".SH DESCRIPTION\n" + roff_paragraphs(kDescription);
  page += ".SH COMMANDS\n";
  for (const Subcommand* command : subcommands()) {
    page += fmt::format(".SS {} {}\n{}.\n", roff::escape(command->name),
                        roff::escape(command->usage), roff::escape(command->summary));
    if (!command->details.empty()) page += ".PP\n" + roff_paragraphs(command->details);
    page += roff_options(command->options);
    if (!command->exit_status.empty()) {
      page += fmt::format(".PP\nExit status: {}.\n", roff::escape(command->exit_status));
    }
  }
  page += ".SH BACK ENDS\n";
  for (const Backend* backend : backends()) {
    page += fmt::format(".TP\n\\fB{}\\fR\n{}.\n", roff::escape(backend->name()),
                        roff::escape(backend->summary()));
  }
  page += ".TP\n\\fBall\\fR\nEvery one of them.\n";
  page += ".SH OPTIONS\n" + roff_options(kGeneralOptions);
  page += ".SH DIAGNOSTICS\n" + roff_paragraphs(kDiagnostics);
  page += fmt::format(".SH EXIT STATUS\n{}.\n.SH EXAMPLES\n", roff::escape(kExitStatus));
  for (const Example& example : kExamples) {
    page += fmt::format(".TP\n\\fB{}\\fR\n{}\n", roff::escape(example.line),
                        roff::escape(example.what));
  }
  return page + ".SH SEE ALSO\n.BR firn (1),\n.BR firnd (1)\n";
}

}  // namespace firn::qapi
