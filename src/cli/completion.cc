#include "cli/completion.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <system_error>

#include "base/json.h"
#include "cli/arguments_from_schema.h"
#include "cli/shell_words.h"

namespace firn::cli {

namespace json = boost::json;
using Candidate = base::LineEditor::Candidate;

namespace {

// What is being typed.
struct Place {
  enum class Kind { kCommand, kVerbArgument, kName, kFlag, kValue, kNowhere } kind;
  size_t from = 0;                 // in the line
  std::string typed;               // the word so far; of kValue: the value
  std::string path;                // kValue: the argument
  std::vector<std::string> words;  // those before the one being typed
};

// Finds the object at `path`, which is empty or ends in a dot, by the settings' tags.
const LiveType* object_at(const LiveType& root, std::string_view path,
                          const std::map<std::string, std::string>& settings) {
  const LiveType* object = &root;
  std::string walked;
  while (!path.empty()) {
    const std::vector<const LiveMember*> members =
        members_of(*object, tag_at(*object, walked, settings));
    const size_t dot = path.find('.');
    const std::string_view name = path.substr(0, dot);
    const LiveMember* member = find_member(members, name);
    if (member == nullptr) return nullptr;
    path.remove_prefix(std::min(path.size(), name.size() + 1));
    walked += (walked.empty() ? "" : ".") + member->name;
    const LiveType* type = member->type;
    if (const LiveType* array = as_array(*type); array != nullptr && !path.empty()) {
      const std::string_view index = path.substr(0, path.find('.'));
      path.remove_prefix(std::min(path.size(), index.size() + 1));
      walked += fmt::format(".{}", index);
      type = array->element;
    }
    object = as_object(*type);
    if (object == nullptr) return nullptr;
  }
  return object;
}

std::string upto_last_dot(std::string_view path) {
  const size_t dot = path.rfind('.');
  return std::string(dot == std::string_view::npos ? "" : path.substr(0, dot + 1));
}

// The member at `path`, in the branches that the settings select.
const LiveMember* member_at(const LiveCommand& command, std::string_view path,
                            const std::map<std::string, std::string>& settings) {
  const std::string above = upto_last_dot(path);
  const LiveType* object = object_at(*command.arguments, above, settings);
  if (object == nullptr) return nullptr;
  const std::string place = above.empty() ? above : above.substr(0, above.size() - 1);
  return find_member(members_of(*object, tag_at(*object, place, settings)),
                     path.substr(above.size()));
}

bool takes_no_value(const LiveCommand& command, std::string_view path) {
  const std::vector<const LiveType*> types = types_at(*command.arguments, path);
  return std::ranges::all_of(types,
                             [](const LiveType* t) { return t->kind == TypeKind::kBoolean; });
}

Place find_place(const LiveSchema& schema, std::span<const ShellVerb> verbs, std::string_view line,
                 size_t cursor) {
  line = line.substr(0, cursor);
  std::vector<ShellWord> words = split_words(line);
  ShellWord current{.text = {}, .begin = cursor, .end = cursor};
  if (!words.empty() && (words.back().end == cursor || words.back().open)) {
    current = words.back();
    words.pop_back();
  }
  Place place{.kind = Place::Kind::kCommand, .from = current.begin, .typed = current.text};
  for (ShellWord& word : words) place.words.push_back(std::move(word.text));
  if (place.words.empty()) return place;
  const LiveCommand* command = schema.command(place.words.front());
  if (command == nullptr) {
    const bool verb =
        std::ranges::find(verbs, place.words.front(), &ShellVerb::name) != verbs.end();
    place.kind = verb ? Place::Kind::kVerbArgument : Place::Kind::kNowhere;
    return place;
  }
  const std::string& last = place.words.back();
  if (place.words.size() > 1 && last.starts_with("--") && last.find('=') == std::string::npos &&
      !takes_no_value(*command, last.substr(2))) {
    place.kind = Place::Kind::kValue;
    place.path = last.substr(2);
    return place;
  }
  const bool flag = current.text.starts_with("--");
  if (const size_t equals = current.text.find('='); equals != std::string::npos) {
    place.kind = Place::Kind::kValue;
    place.path = current.text.substr(flag ? 2 : 0, equals - (flag ? 2 : 0));
    place.typed = current.text.substr(equals + 1);
    place.from = line.find('=', current.begin) + 1;
  } else if (current.text.starts_with('{') || current.text.starts_with('[')) {
    place.kind = Place::Kind::kNowhere;
  } else {
    place.kind = flag ? Place::Kind::kFlag : Place::Kind::kName;
  }
  return place;
}

bool begins_with(std::string_view name, std::string_view typed) {
  return name.size() >= typed.size() &&
         std::ranges::equal(name.substr(0, typed.size()), typed, [](char a, char b) {
           return a == b || ((a == '-' || a == '_') && (b == '-' || b == '_'));
         });
}

void add_if_begun(CompletionPlan& plan, Candidate candidate, std::string_view name) {
  if (begins_with(name, plan.typed)) plan.completion.candidates.push_back(std::move(candidate));
}

// Arguments not given yet of the object at the typed path: those that must be first.
std::vector<const LiveMember*> members_left(const LiveCommand& command, const std::string& above,
                                            const std::map<std::string, std::string>& settings) {
  const LiveType* object = object_at(*command.arguments, above, settings);
  if (object == nullptr) return {};
  const std::string place = above.empty() ? above : above.substr(0, above.size() - 1);
  std::vector<const LiveMember*> left;
  std::vector<const LiveMember*> optional;
  for (const LiveMember* member : members_of(*object, tag_at(*object, place, settings))) {
    const std::string path = above + member->name;
    const auto next = settings.lower_bound(path);
    const bool given =
        next != settings.end() && (next->first == path || next->first.starts_with(path + "."));
    const bool again = as_array(*member->type) != nullptr || as_object(*member->type) != nullptr;
    if (!given || again) (member->optional ? optional : left).push_back(member);
  }
  left.insert(left.end(), optional.begin(), optional.end());
  return left;
}

void plan_names(CompletionPlan& plan, const LiveCommand& command, const Place& place) {
  const bool flag = place.kind == Place::Kind::kFlag;
  const std::string typed = flag ? place.typed.substr(2) : place.typed;
  const std::string above = upto_last_dot(typed);
  plan.typed = typed;
  for (const LiveMember* member : members_left(command, above, settings_of(command, place.words))) {
    const LiveType* array = as_array(*member->type);
    const LiveType* inner = as_object(array == nullptr ? *member->type : *array->element);
    const bool only_members = inner != nullptr && member->type->kind != TypeKind::kAlternate;
    Candidate candidate{.text = above + member->name};
    if (only_members) {
      candidate.text += array == nullptr ? "." : ".0.";
    } else if (!flag) {
      candidate.text += "=";
    } else {
      candidate.suffix = " ";
    }
    candidate.label = candidate.text.substr(above.size());
    candidate.description =
        fmt::format("{}{}", short_type(*member->type), member->optional ? ", optional" : "");
    if (has_feature(member->features, "deprecated")) candidate.description += ", deprecated";
    const std::string name = candidate.text;
    if (flag) candidate.text.insert(0, "--");
    add_if_begun(plan, std::move(candidate), name);
  }
}

bool ends_in(std::string_view name, std::initializer_list<std::string_view> ends) {
  return std::ranges::any_of(ends, [&](std::string_view end) { return name.ends_with(end); });
}

bool is_one_of(std::string_view name, std::initializer_list<std::string_view> names) {
  return std::ranges::find(names, name) != names.end();
}

// What an argument names, by QEMU's habits of naming arguments.
NameKind kind_of_name(std::string_view command, std::string_view path) {
  const size_t dot = path.rfind('.');
  const std::string_view name = dot == std::string_view::npos ? path : path.substr(dot + 1);
  const bool adds = ends_in(command, {"-add", "_add"});
  if (is_one_of(name, {"snapshot-file", "filename", "path", "target-file"}) ||
      ends_in(name, {"-filename", "_filename", "-path"}) ||
      (name == "target" && command.starts_with("drive"))) {
    return NameKind::kFile;
  }
  if (is_one_of(name, {"node-name", "node", "overlay", "base-node", "top-node", "file", "backing",
                       "target", "parent", "child", "reference"})) {
    const bool is_new = name == "node-name" && command == "blockdev-add";
    return is_new ? NameKind::kNone : NameKind::kNode;
  }
  if (name == "device") return NameKind::kDevice;
  if (name == "iothread" || ends_in(name, {"-secret", "tls-creds"})) return NameKind::kObject;
  if (name == "id" && !adds) {
    if (command.starts_with("block-export")) return NameKind::kExport;
    if (command.starts_with("object")) return NameKind::kObject;
    if (command.starts_with("block-device")) return NameKind::kDevice;
    if (command.starts_with("job")) return NameKind::kJob;
    if (command.starts_with("chardev")) return NameKind::kChardev;
  }
  if (name == "chardev") return NameKind::kChardev;
  return NameKind::kNone;
}

void add_values(CompletionPlan& plan, const LiveType& type) {
  for (const LiveValue& value : type.values) {
    Candidate candidate{.text = quote_word(value.name), .suffix = " ", .label = value.name};
    if (has_feature(value.features, "deprecated")) candidate.description = "deprecated";
    add_if_begun(plan, std::move(candidate), value.name);
  }
  if (type.kind == TypeKind::kBoolean) {
    for (std::string_view word : {"on", "off"}) {
      add_if_begun(plan, {.text = std::string(word), .suffix = " "}, word);
    }
  }
  for (const LiveType* alternative : type.alternatives) add_values(plan, *alternative);
  if (type.kind == TypeKind::kArray) add_values(plan, *type.element);
}

bool may_be_name(const LiveType& type) {
  return type.kind == TypeKind::kString || type.kind == TypeKind::kAny ||
         (type.kind == TypeKind::kArray && may_be_name(*type.element)) ||
         std::ranges::any_of(type.alternatives,
                             [](const LiveType* each) { return each->kind == TypeKind::kString; });
}

void plan_value(CompletionPlan& plan, const LiveCommand& command, const Place& place) {
  const LiveMember* member = member_at(command, place.path, settings_of(command, place.words));
  if (member == nullptr) return;
  add_values(plan, *member->type);
  if (may_be_name(*member->type)) plan.names = kind_of_name(command.name, place.path);
}

std::string wrong_command(const LiveSchema& schema, std::string_view name) {
  std::vector<std::string> names;
  for (const auto& [each, command] : schema.commands()) names.push_back(each);
  const std::string meant = did_you_mean(name, names);
  return fmt::format("no command '{}'{}{}", name, meant.empty() ? "" : ": ", meant);
}

std::string member_hint(const LiveMember& member) {
  const std::string text = fmt::format("{}={}", member.name, short_type(*member.type));
  return member.optional ? "[" + text + "]" : text;
}

}  // namespace

std::map<std::string, std::string> settings_of(const LiveCommand& command,
                                               std::span<const std::string> words) {
  std::map<std::string, std::string> settings;
  for (size_t i = 1; i < words.size(); ++i) {
    const std::string& word = words[i];
    const bool flag = word.starts_with("--");
    const size_t begin = flag ? 2 : 0;
    const size_t equals = word.find('=');
    if (word.starts_with('{')) {
      const base::Result<base::JsonValue> parsed = base::parse_json(word);
      if (!parsed || !parsed->is_object()) continue;
      for (const auto& [key, value] : parsed->get_object()) {
        settings[key] = value.is_string() ? std::string(value.get_string()) : std::string();
      }
    } else if (equals != std::string::npos) {
      settings[word.substr(begin, equals - begin)] = word.substr(equals + 1);
    } else if (flag && i + 1 < words.size() && !takes_no_value(command, word.substr(2))) {
      settings[word.substr(2)] = words[i + 1];
      ++i;
    } else if (flag) {
      settings[word.substr(2)] = "on";
    }
  }
  return settings;
}

std::string tag_at(const LiveType& object, const std::string& path,
                   const std::map<std::string, std::string>& settings) {
  if (object.tag.empty()) return {};
  const auto found = settings.find(path.empty() ? object.tag : path + "." + object.tag);
  return found == settings.end() ? std::string() : found->second;
}

CompletionPlan plan_completion(const LiveSchema& schema, std::span<const ShellVerb> verbs,
                               std::string_view line, size_t cursor) {
  const Place place = find_place(schema, verbs, line, cursor);
  CompletionPlan plan{.completion = {.from = place.from}, .typed = place.typed};
  const LiveCommand* command = place.words.empty() ? nullptr : schema.command(place.words.front());
  switch (place.kind) {
    case Place::Kind::kCommand:
    case Place::Kind::kVerbArgument:
      if (place.kind == Place::Kind::kVerbArgument && place.words.size() > 1) break;
      for (const auto& [name, each] : schema.commands()) {
        add_if_begun(plan, {.text = name, .suffix = " "}, name);
      }
      for (const ShellVerb& verb : verbs) {
        const std::string name(verb.name);
        if (schema.command(name) == nullptr)
          add_if_begun(plan, {.text = name, .suffix = " "}, name);
      }
      break;
    case Place::Kind::kName:
    case Place::Kind::kFlag:
      plan_names(plan, *command, place);
      break;
    case Place::Kind::kValue:
      plan_value(plan, *command, place);
      break;
    case Place::Kind::kNowhere:
      break;
  }
  return plan;
}

void add_words(CompletionPlan& plan, const LiveSchema& schema, std::string_view line,
               const SchemaDocs& docs) {
  const std::vector<ShellWord> words = split_words(line);
  const LiveCommand* command = words.empty() ? nullptr : schema.command(words.front().text);
  for (Candidate& candidate : plan.completion.candidates) {
    if (candidate.description.empty() || command == nullptr) continue;
    std::string path = candidate.text.substr(candidate.text.starts_with("--") ? 2 : 0);
    while (path.ends_with('=') || path.ends_with('.')) path.pop_back();
    const std::string sentence = first_sentence(docs.argument(command->name, path));
    if (!sentence.empty()) candidate.description += ": " + sentence;
  }
}

void add_names(CompletionPlan& plan, const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    if (!name.starts_with(plan.typed)) continue;
    plan.completion.candidates.push_back({.text = quote_word(name), .suffix = " ", .label = name});
  }
}

void add_files(CompletionPlan& plan) {
  namespace fs = std::filesystem;
  std::string typed = plan.typed;
  if (const char* home = std::getenv("HOME"); home != nullptr && typed.starts_with("~/")) {
    typed.replace(0, 1, home);
  }
  const size_t slash = typed.rfind('/');
  const std::string begun = slash == std::string::npos ? typed : typed.substr(slash + 1);
  std::error_code error;
  fs::path directory =
      slash == std::string::npos ? fs::path() : fs::path(typed.substr(0, slash + 1));
  if (!directory.is_absolute()) directory = fs::current_path(error) / directory;
  std::vector<Candidate> found;
  fs::directory_iterator entries(directory, fs::directory_options::skip_permission_denied, error);
  constexpr size_t kMost = 10000;
  for (; !error && entries != fs::directory_iterator() && found.size() < kMost;
       entries.increment(error)) {
    const std::string name = entries->path().filename().string();
    if (!name.starts_with(begun) || (begun.empty() && name.starts_with('.'))) continue;
    std::error_code ignored;
    const bool folder = entries->is_directory(ignored);
    found.push_back({.text = quote_word((directory / name).string()) + (folder ? "/" : ""),
                     .suffix = folder ? "" : " ",
                     .label = folder ? name + "/" : name});
  }
  std::ranges::sort(found, {}, &Candidate::label);
  std::ranges::move(found, std::back_inserter(plan.completion.candidates));
}

std::string short_type(const LiveType& type) {
  constexpr size_t kMostValues = 4;
  std::string text;
  switch (type.kind) {
    case TypeKind::kString:
      return "str";
    case TypeKind::kInteger:
      return "int";
    case TypeKind::kNumber:
      return "number";
    case TypeKind::kBoolean:
      return "on|off";
    case TypeKind::kNull:
      return "null";
    case TypeKind::kAny:
      return "any";
    case TypeKind::kObject:
      return "{...}";
    case TypeKind::kArray:
      return "[...]";
    case TypeKind::kEnum:
      for (size_t i = 0; i < type.values.size() && i < kMostValues; ++i) {
        text += (i == 0 ? "" : "|") + type.values[i].name;
      }
      return type.values.size() > kMostValues ? text + "|..." : text;
    case TypeKind::kAlternate:
      for (const LiveType* alternative : type.alternatives) {
        text += (text.empty() ? "" : "|") + short_type(*alternative);
      }
      return text;
  }
  return text;
}

std::string hint_for(const LiveSchema& schema, std::span<const ShellVerb> verbs,
                     std::string_view line, size_t cursor) {
  const Place place = find_place(schema, verbs, line, cursor);
  if (place.kind == Place::Kind::kCommand) {
    if (place.typed.empty()) return {};
    const CompletionPlan plan = plan_completion(schema, verbs, line, cursor);
    return plan.completion.candidates.empty() ? wrong_command(schema, place.typed) : std::string();
  }
  const auto verb = std::ranges::find(verbs, place.words.front(), &ShellVerb::name);
  const LiveCommand* command = schema.command(place.words.front());
  if (command == nullptr) {
    return verb == verbs.end() ? wrong_command(schema, place.words.front())
                               : fmt::format("{} {}", verb->usage, verb->summary);
  }
  const std::map<std::string, std::string> settings = settings_of(*command, place.words);
  if (place.kind == Place::Kind::kValue) {
    const LiveMember* member = member_at(*command, place.path, settings);
    if (member == nullptr) return fmt::format("no argument '{}'", place.path);
    return fmt::format("{}: {}{}", place.path, type_text(*member->type),
                       member->optional ? ", optional" : "");
  }
  if (place.kind == Place::Kind::kNowhere) return {};
  const std::string typed = place.kind == Place::Kind::kFlag ? place.typed.substr(2) : place.typed;
  const std::string above = upto_last_dot(typed);
  std::string hint;
  for (const LiveMember* member : members_left(*command, above, settings)) {
    if (!begins_with(above + member->name, typed)) continue;
    if (!hint.empty()) hint += ' ';
    hint += member_hint(*member);
  }
  if (hint.empty() && !typed.empty()) return fmt::format("no argument '{}'", typed);
  return hint;
}

std::string_view query_of(NameKind kind) {
  switch (kind) {
    case NameKind::kNode:
      return "query-named-block-nodes";
    case NameKind::kDevice:
      return "query-block";
    case NameKind::kExport:
      return "query-block-exports";
    case NameKind::kJob:
      return "query-jobs";
    case NameKind::kObject:
      return "qom-list";
    case NameKind::kChardev:
      return "query-chardev";
    case NameKind::kNone:
    case NameKind::kFile:
      break;
  }
  return {};
}

std::vector<std::string> names_in(NameKind kind, const base::JsonValue& returned) {
  std::string_view member = "id";
  if (kind == NameKind::kNode) member = "node-name";
  if (kind == NameKind::kDevice) member = "device";
  if (kind == NameKind::kObject) member = "name";
  if (kind == NameKind::kChardev) member = "label";
  std::vector<std::string> names;
  if (!returned.is_array()) return names;
  for (const json::value& entry : returned.get_array()) {
    if (!entry.is_object()) continue;
    const json::object& object = entry.get_object();
    const json::value* name = object.if_contains(member);
    if (name == nullptr || !name->is_string() || name->get_string().empty()) continue;
    if (kind == NameKind::kObject) {
      const json::value* type = object.if_contains("type");
      if (type == nullptr || !type->is_string() || !type->get_string().starts_with("child<")) {
        continue;
      }
    }
    std::string text(name->get_string());
    if (std::ranges::find(names, text) == names.end()) names.push_back(std::move(text));
  }
  std::ranges::sort(names);
  return names;
}

}  // namespace firn::cli
