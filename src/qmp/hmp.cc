#include "qmp/hmp.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/string.hpp>
#include <utility>

#include "api/types.h"
#include "qmp/hmp_commands.h"

namespace firn::qmp {
namespace {

namespace json = boost::json;

// Where the names of a kind of things are found: a member of each element of a query's answer.
struct NameSource {
  HmpArgType type;
  std::string_view query;
  std::string_view member;
};
constexpr NameSource kNameSources[] = {
    {HmpArgType::kBlockDevice, "query-block", "device"},
    {HmpArgType::kBlockDevice, "query-named-block-nodes", "node-name"},
    {HmpArgType::kExport, "query-block-exports", "id"},
    {HmpArgType::kChardev, "query-chardev", "label"},
};

std::string_view trimmed(std::string_view text) {
  const size_t from = text.find_first_not_of(" \t");
  if (from == std::string_view::npos) return {};
  return text.substr(from, text.find_last_not_of(" \t") - from + 1);
}

std::string_view take_name(std::string_view& line) {
  line = trimmed(line);
  const size_t length = std::min(line.find_first_of(" \t"), line.size());
  std::string_view name = line.substr(0, length);
  line.remove_prefix(length);
  return name;
}

Task<std::string> run_command(HmpCaller& caller, const HmpCommand& command, std::string_view name,
                              std::string_view rest) {
  auto args = parse_hmp_args(name, rest, command.params);
  if (!args) {
    co_return fmt::format("{}\nTry \"help {}\" for more information\n", args.error().text(), name);
  }
  co_return co_await command.run(caller, *args);
}

void add_names(std::vector<std::string>& names, std::span<const HmpCommand> commands) {
  for (const HmpCommand& command : commands) {
    for (std::string_view name : command.all_names()) names.emplace_back(name);
  }
}

// The parameter that the word behind `words` fills; null: none is left. Words that begin with '-'
// are flags.
const HmpParam* param_at(const HmpCommand& command, std::span<const std::string> words) {
  auto filled = static_cast<size_t>(
      std::ranges::count_if(words, [](const std::string& w) { return !w.starts_with('-'); }));
  for (const HmpParam& param : command.params) {
    if (param.type == HmpArgType::kFlag) continue;
    if (filled == 0 || param.type == HmpArgType::kRest) return &param;
    --filled;
  }
  return nullptr;
}

}  // namespace

Task<std::string> Hmp::run(std::string line) {
  std::string_view rest = line;
  const std::string_view name = take_name(rest);
  if (name.empty()) co_return std::string();
  const HmpCommand* command = find_hmp_command(hmp_commands(), name);
  if (command == nullptr) co_return fmt::format("unknown command: '{}'\n", name);
  if (command->run != nullptr) co_return co_await run_command(caller_, *command, name, rest);
  if (!command->has_name("info")) co_return co_await help(std::string(trimmed(rest)));
  const std::string_view item = take_name(rest);
  if (item.empty()) co_return co_await help("info");
  command = find_hmp_command(hmp_info_commands(), item);
  if (command == nullptr) co_return fmt::format("unknown command: 'info {}'\n", item);
  co_return co_await run_command(caller_, *command, item, rest);
}

Task<std::string> Hmp::help(std::string topic) {
  std::string text;
  std::string_view rest = topic;
  const std::string_view name = take_name(rest);
  const std::string_view item = take_name(rest);
  if (name.empty()) {
    for (const HmpCommand& command : hmp_commands()) text += command.help_line("");
    co_return text;
  }
  if (name == "info") {
    for (const HmpCommand& command : hmp_info_commands()) {
      if (item.empty() || command.has_name(item)) text += command.help_line("info ");
    }
    co_return text.empty() ? fmt::format("unknown command: 'info {}'\n", item) : text;
  }
  if (const HmpCommand* command = find_hmp_command(hmp_commands(), name)) {
    co_return command->help_line("");
  }
  if (const HmpCommand* command = find_hmp_command(hmp_info_commands(), name)) {
    co_return command->help_line("info ");
  }
  co_return fmt::format("unknown command: '{}'\n", name);
}

Task<std::vector<std::string>> Hmp::values_of(HmpArgType type) {
  std::vector<std::string> values;
  if (type == HmpArgType::kFormat) {
    for (std::string_view name : api::enum_names(api::BlockdevDriver())) values.emplace_back(name);
    co_return values;
  }
  if (type == HmpArgType::kCommand) {
    add_names(values, hmp_commands());
    co_return values;
  }
  for (const NameSource& source : kNameSources) {
    if (source.type != type || !caller_.has(source.query)) continue;
    auto answer = co_await caller_.call(source.query, {});
    const json::array* list = answer ? answer->if_array() : nullptr;
    if (list == nullptr) continue;  // not allowed, for instance
    for (const json::value& element : *list) {
      const json::object* object = element.if_object();
      const json::value* name = object != nullptr ? object->if_contains(source.member) : nullptr;
      if (name != nullptr && name->is_string() && !name->get_string().empty()) {
        values.emplace_back(name->get_string());
      }
    }
  }
  co_return values;
}

Task<HmpCompletion> Hmp::complete(std::string line) {
  HmpCompletion completion;
  const size_t blank = line.find_last_of(" \t");
  completion.start = blank == std::string::npos ? 0 : blank + 1;
  const std::string word = line.substr(completion.start);
  std::vector<std::string> words;  // those before it
  std::string_view rest = std::string_view(line).substr(0, completion.start);
  while (!trimmed(rest).empty()) words.emplace_back(take_name(rest));

  if (words.empty()) {
    add_names(completion.candidates, hmp_commands());
  } else if (words.size() == 1 && (words[0] == "info" || words[0] == "i")) {
    add_names(completion.candidates, hmp_info_commands());
  } else {
    const bool is_info = words[0] == "info";
    const HmpCommand* command = is_info ? find_hmp_command(hmp_info_commands(), words[1])
                                        : find_hmp_command(hmp_commands(), words[0]);
    const std::span<const std::string> given = std::span(words).subspan(is_info ? 2 : 1);
    if (command == nullptr) co_return completion;
    if (word.starts_with('-')) {
      for (const HmpParam& param : command->params) {
        if (param.type == HmpArgType::kFlag) {
          completion.candidates.push_back(fmt::format("-{}", param.name));
        }
      }
    } else if (command->has_name("help") && given.size() == 1 && given[0] == "info") {
      add_names(completion.candidates, hmp_info_commands());
    } else if (const HmpParam* param = param_at(*command, given)) {
      completion.candidates = co_await values_of(param->type);
    }
  }
  std::erase_if(completion.candidates, [&](const std::string& c) { return !c.starts_with(word); });
  std::ranges::sort(completion.candidates);
  const auto twice = std::ranges::unique(completion.candidates);
  completion.candidates.erase(twice.begin(), twice.end());
  co_return completion;
}

}  // namespace firn::qmp
