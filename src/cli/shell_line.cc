#include "cli/shell_line.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/json/value.hpp>

#include "base/json.h"
#include "cli/arguments_from_schema.h"
#include "cli/schema_text.h"
#include "cli/shell_words.h"

namespace firn::cli {

namespace json = boost::json;
using base::Error;
using base::ErrorKind;
using base::fail;
using base::Result;

namespace {

constexpr std::array<ShellVerb, 3> kVerbs = {{
    {"help", "help [COMMAND|EVENT]", "lists commands and events, or explains one"},
    {"events", "events on|off", "shows events as they come, or not"},
    {"exit", "exit", "leaves the shell; the daemon goes on"},
}};

std::vector<std::string> all_names(const LiveSchema* schema, bool with_events) {
  std::vector<std::string> names;
  for (const ShellVerb& verb : kVerbs) names.emplace_back(verb.name);
  if (schema == nullptr) return names;
  for (const auto& [name, command] : schema->commands()) names.push_back(name);
  if (!with_events) return names;
  for (const auto& [name, event] : schema->events()) names.push_back(name);
  return names;
}

// {"execute": ..., "arguments": ...}
Result<ShellLine> read_qmp_json(std::string_view line) {
  json::value value = TRY(base::parse_json(line));
  const json::value* command =
      value.is_object() ? value.get_object().if_contains("execute") : nullptr;
  if (command == nullptr || !command->is_string()) {
    return fail(Error(ErrorKind::kInvalidArgument, "The JSON is no QMP command")
                    .with_hint("A line is NAME ARGUMENTS, or {\"execute\": \"NAME\", "
                               "\"arguments\": {...}}."));
  }
  ShellLine read{.kind = ShellLine::Kind::kCommand, .name = std::string(command->get_string())};
  if (json::value* arguments = value.get_object().if_contains("arguments")) {
    if (!arguments->is_object()) {
      return fail(ErrorKind::kInvalidArgument, "'arguments' is an object");
    }
    read.arguments = std::move(arguments->get_object());
  }
  return read;
}

}  // namespace

std::span<const ShellVerb> shell_verbs() { return kVerbs; }

Result<ShellLine> read_shell_line(const LiveSchema* schema, std::string_view line,
                                  std::optional<Span>& wrong) {
  wrong.reset();
  const std::vector<ShellWord> words = split_words(line);
  if (words.empty() || words.front().text.starts_with('#')) return ShellLine();
  if (words.back().open) {
    wrong = Span{words.back().begin, words.back().end};
    return fail(ErrorKind::kInvalidArgument, "A quote or a bracket is not closed");
  }
  if (words.front().text.starts_with('{')) return read_qmp_json(line);
  ShellLine read{.kind = ShellLine::Kind::kCommand, .name = words.front().text};
  for (const ShellWord& word : std::span(words).subspan(1)) read.words.push_back(word.text);
  const LiveCommand* command = schema == nullptr ? nullptr : schema->command(read.name);
  if (command == nullptr &&
      std::ranges::find(kVerbs, read.name, &ShellVerb::name) != kVerbs.end()) {
    read.kind = ShellLine::Kind::kVerb;
    return read;
  }
  if (command == nullptr && schema != nullptr) {
    wrong = Span{words.front().begin, words.front().end};
    std::string hint = did_you_mean(read.name, all_names(schema, false));
    if (hint.empty()) hint = "'help' lists the commands.";
    return fail(
        Error(ErrorKind::kCommandNotFound, fmt::format("There is no command '{}'", read.name))
            .with_hint(std::move(hint)));
  }
  ArgumentParser parser(command);
  Result<json::object> arguments = parser.parse(read.words);
  if (!arguments) {
    if (const std::optional<size_t> at = parser.wrong_word()) {
      wrong = Span{words[*at + 1].begin, words[*at + 1].end};
    }
    return fail(std::move(arguments).error());
  }
  read.arguments = *std::move(arguments);
  return read;
}

std::optional<Span> find_named_word(std::string_view line, std::string_view error_text) {
  std::vector<std::string_view> quoted;
  for (size_t at = 0; (at = error_text.find('\'', at)) != std::string_view::npos;) {
    const size_t end = error_text.find('\'', at + 1);
    if (end == std::string_view::npos) break;
    quoted.push_back(error_text.substr(at + 1, end - at - 1));
    at = end + 1;
  }
  const std::vector<ShellWord> words = split_words(line);
  for (std::string_view name : quoted) {
    if (name.empty()) continue;
    for (const ShellWord& word : words) {
      if (&word == &words.front()) continue;
      const size_t equals = word.text.find('=');
      const std::string_view text = word.text;
      const std::string_view key = text.substr(0, equals);
      const bool is_key = key == name || key.ends_with(fmt::format(".{}", name)) ||
                          key == fmt::format("--{}", name);
      const bool is_value = equals != std::string::npos && text.substr(equals + 1) == name;
      if (is_key || is_value || text == name) return Span{word.begin, word.end};
    }
  }
  return std::nullopt;
}

Result<std::string> help_text(const LiveSchema* schema, std::span<const std::string> words,
                              size_t width) {
  if (words.empty()) {
    std::string text;
    if (schema != nullptr) text += overview_text(*schema, width) + '\n';
    text += "of the shell:\n";
    for (const ShellVerb& verb : kVerbs) {
      text += fmt::format("  {:<22}{}\n", verb.usage, verb.summary);
    }
    return text +
           "\nA line is NAME key=value ... or NAME --key value ...; Tab completes, ? explains.\n";
  }
  const std::string& name = words.front();
  if (schema != nullptr) {
    if (const LiveCommand* command = schema->command(name)) {
      return command_text(*command, words, &SchemaDocs::own());
    }
    if (const LiveEvent* event = schema->event(name)) {
      return event_text(*event, &SchemaDocs::own());
    }
  }
  const auto verb = std::ranges::find(kVerbs, name, &ShellVerb::name);
  if (verb != kVerbs.end()) return fmt::format("{}\n  {}\n", verb->usage, verb->summary);
  return fail(
      Error(ErrorKind::kInvalidArgument, fmt::format("There is no command or event '{}'", name))
          .with_hint(did_you_mean(name, all_names(schema, true))));
}

}  // namespace firn::cli
