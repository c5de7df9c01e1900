#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/version.h"
#include "cli/command.h"

namespace firn::cli {
namespace {

constexpr std::array kCommands = {&kServeCommand,       &kSnapshotCommand,   &kTreeCommand,
                                  &kDiffCommand,        &kRevertCommand,     &kForkCommand,
                                  &kImgCreateCommand,   &kImgInfoCommand,    &kImgSnapshotCommand,
                                  &kStateShowCommand,   &kStateCheckCommand, &kStateExportCommand,
                                  &kStateAcceptCommand, &kShellCommand,      &kQmpCommand,
                                  &kEventsCommand,      &kCompletionCommand};

std::string list_line(const Command& command) {
  return fmt::format("  {:<12} {}\n", command.name, command.summary);
}

// roff takes backslashes, and dots and quotes at the start of a line, for its own.
std::string roff(std::string_view text) {
  std::string result;
  bool line_start = true;
  for (const char letter : text) {
    if (line_start && (letter == '.' || letter == '\'')) result += "\\&";
    if (letter == '\\' || letter == '-') result += '\\';
    result += letter;
    line_start = letter == '\n';
  }
  return result;
}

// Text whose lines stay as they are.
std::string literal(std::string_view text) { return fmt::format(".nf\n{}.fi\n", roff(text)); }

}  // namespace

std::span<const Command* const> commands() { return kCommands; }

std::string global_help() {
  std::string text =
      "usage: firn [--socket PATH] COMMAND [ARGUMENTS]\n"
      "\n"
      "Serves virtual disks and takes live snapshots of them.\n"
      "\n"
      "commands:\n";
  for (const Command* command : commands()) {
    text += list_line(*command);
  }
  text +=
      "\n"
      "options:\n"
      "  --socket PATH  the QMP monitor of the daemon to talk to (default: the one in\n"
      "                 the runtime directory that serves the named device)\n"
      "  --help         this text; 'firn COMMAND --help' for a command's\n"
      "  --version      the version\n"
      "\n"
      "The runtime directory is $FIRN_RUNTIME_DIR, or /run/firn for root, or\n"
      "$XDG_RUNTIME_DIR/firn.\n";
  return text;
}

bool is_group(std::string_view word) {
  return std::ranges::any_of(kCommands, [&](const Command* command) {
    return command->name.starts_with(word) && command->name.substr(word.size()).starts_with(' ');
  });
}

std::string group_help(std::string_view group) {
  std::string text = fmt::format("usage: firn {} COMMAND [ARGUMENTS]\n\ncommands:\n", group);
  for (const Command* command : commands()) {
    if (command->name.starts_with(std::string(group) + " ")) text += list_line(*command);
  }
  return text + fmt::format("\n'firn {} COMMAND --help' tells more of one.\n", group);
}

std::string command_help(const Command& command) {
  return fmt::format("usage: firn {} {}\n\n{}.\n\n{}", command.name, command.usage, command.summary,
                     command.details);
}

std::string manual_page() {
  std::string page = fmt::format(
      ".TH FIRN 1 \"\" \"firn {}\" \"User Commands\"\n"
      ".SH NAME\nfirn \\- serve virtual disks and take live snapshots of them\n"
      ".SH SYNOPSIS\n.B firn\n[\\-\\-socket PATH] COMMAND [ARGUMENTS]\n"
      ".SH DESCRIPTION\n",
      base::kVersion);
  page += literal(global_help());
  page += ".SH COMMANDS\n";
  for (const Command* command : commands()) {
    page += fmt::format(".SS {} {}\n{}.\n.PP\n", roff(command->name), roff(command->usage),
                        roff(command->summary));
    page += literal(command->details);
  }
  page +=
      ".SH EXIT STATUS\n0 if all went well, 1 if the daemon or the system said no, 2 if the call "
      "was "
      "wrong.\n"
      ".SH SEE ALSO\n.BR firnd (1)\n";
  return page;
}

}  // namespace firn::cli
