#include "qapi/command_line.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "base/version.h"
#include "qapi/names.h"
#include "qapi/subcommand.h"

namespace firn::qapi {
namespace {

constexpr std::array kCommands = {&kCheckCommand, &kEmitCommand, &kCompatCommand};

const Subcommand* find_subcommand(std::string_view name) {
  const auto found = std::find_if(kCommands.begin(), kCommands.end(),
                                  [&](const Subcommand* command) { return command->name == name; });
  return found == kCommands.end() ? nullptr : *found;
}

// The option that `word` is or starts with: "-o", "-oX", "-o=X", "--dialect", "--dialect=X".
bool is_option(std::string_view word, const Option& option) {
  if (!word.starts_with(option.name)) return false;
  if (word.size() == option.name.size()) return true;
  if (option.value.empty()) return false;
  return option.name.size() == 2 || word[option.name.size()] == '=';
}

const Option* find_option(const Subcommand& command, std::string_view word) {
  for (const Option& option : command.options) {
    if (is_option(word, option)) return &option;
  }
  return nullptr;
}

const Option* find_any_option(std::string_view word) {
  for (const Subcommand* command : kCommands) {
    if (const Option* option = find_option(*command, word)) return option;
  }
  return nullptr;
}

// Options may stand before the command's name as well: first the words are told apart, then it is
// seen whether they fit the command.
struct Words {
  std::vector<std::string> operands;  // the command's name is the first
  std::vector<std::pair<const Option*, std::string>> options;
  bool help = false;
  bool version = false;
};

base::Result<Words> tell_apart(const std::vector<std::string>& words) {
  Words out;
  bool only_operands = false;
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (only_operands || word.size() < 2 || !word.starts_with('-')) {
      out.operands.push_back(word);
    } else if (word == "--") {
      only_operands = true;
    } else if (word == "--help" || word == "-h") {
      out.help = true;
    } else if (word == "--version") {
      out.version = true;
    } else if (const Option* option = find_any_option(word); !option) {
      return base::fail(base::ErrorKind::kInvalidArgument,
                        fmt::format("unknown option '{}'", word));
    } else if (option->value.empty()) {
      out.options.emplace_back(option, "");
    } else {
      std::string_view rest = std::string_view(word).substr(option->name.size());
      if (rest.starts_with('=')) rest.remove_prefix(1);
      std::string value(rest);
      if (word.size() == option->name.size() && i + 1 < words.size()) value = words[++i];
      if (value.empty()) {
        return base::fail(base::ErrorKind::kInvalidArgument,
                          fmt::format("{} needs a value, {}", option->name, option->value));
      }
      out.options.emplace_back(option, std::move(value));
    }
  }
  return out;
}

std::string command_names() {
  std::string out;
  for (const Subcommand* command : kCommands) {
    out += fmt::format("{}'{}'", out.empty() ? "" : ", ", command->name);
  }
  return out;
}

}  // namespace

std::span<const Subcommand* const> subcommands() { return kCommands; }

bool Arguments::has(const Option& option) const { return value(option).has_value(); }

std::optional<std::string> Arguments::value(const Option& option) const {
  std::vector<std::string> all = values(option);
  if (all.empty()) return std::nullopt;
  return std::move(all.back());
}

std::vector<std::string> Arguments::values(const Option& option) const {
  std::vector<std::string> out;
  for (const auto& [name, value] : options) {
    if (name == option.name) out.push_back(value);
  }
  return out;
}

int bad_usage(std::string_view text, std::string& err) {
  err += fmt::format("qapic: error: {}\nTry 'qapic --help'.\n", text);
  return kBadUsage;
}

base::Result<CheckOptions> check_options(const Arguments& arguments) {
  CheckOptions out;
  for (const std::string& symbol : arguments.values(kDefineOption)) {
    if (!is_c_identifier(symbol)) {
      return base::fail(base::ErrorKind::kInvalidArgument,
                        fmt::format("-D needs a symbol, not '{}'", symbol));
    }
    out.defined.insert(symbol);
  }
  const std::string dialect = arguments.value(kDialectOption).value_or("today");
  if (dialect != "2011" && dialect != "today") {
    return base::fail(base::ErrorKind::kInvalidArgument,
                      fmt::format("unknown dialect '{}': known are 'today' and '2011'", dialect));
  }
  out.dialect = dialect == "2011" ? Dialect::k2011 : Dialect::kToday;
  return out;
}

int run_command_line(const std::vector<std::string>& arguments, std::string& out,
                     std::string& err) {
  if (arguments.size() == 1 && arguments[0] == "--manual-page") {
    out += manual_page();
    return kDone;
  }
  auto words = tell_apart(arguments);
  if (!words) return bad_usage(words.error().text(), err);
  const std::string name = words->operands.empty() ? "" : words->operands.front();
  const Subcommand* command = find_subcommand(name);
  if (words->version) {
    out += fmt::format("qapic {}\n", base::kVersion);
    return kDone;
  }
  if (words->help && (command || name.empty())) {
    out += command ? command_help(*command) : global_help();
    return kDone;
  }
  if (name.empty()) {
    return bad_usage(fmt::format("nothing to do: use one of {}", command_names()), err);
  }
  if (!command) {
    return bad_usage(fmt::format("unknown command '{}': known are {}", name, command_names()), err);
  }
  Arguments given;
  given.operands.assign(words->operands.begin() + 1, words->operands.end());
  for (auto& [option, value] : words->options) {
    if (!find_option(*command, option->name)) {
      return bad_usage(fmt::format("'{}' takes no {}", name, option->name), err);
    }
    given.options.emplace_back(option->name, std::move(value));
  }
  if (given.operands.size() != command->operand_count) {
    return bad_usage(fmt::format("the call is 'qapic {} {}'", name, command->usage), err);
  }
  return command->run(given, out, err);
}

}  // namespace firn::qapi
