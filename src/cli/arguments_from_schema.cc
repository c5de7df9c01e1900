#include "cli/arguments_from_schema.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/value.hpp>
#include <charconv>
#include <limits>
#include <utility>

#include "base/json.h"
#include "base/units.h"

namespace firn::cli {

namespace json = boost::json;
using base::Error;
using base::ErrorKind;
using base::fail;
using base::JsonValue;
using base::Result;

namespace {

constexpr std::string_view kNo = "no-";

std::unexpected<Error> wrong(std::string text, std::string hint = {}) {
  Error error(ErrorKind::kInvalidArgument, std::move(text));
  return fail(hint.empty() ? error : std::move(error).with_hint(std::move(hint)));
}

bool same_name(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, [](char x, char y) {
    return x == y || ((x == '-' || x == '_') && (y == '-' || y == '_'));
  });
}

std::vector<std::string> names_of(std::span<const LiveMember* const> members) {
  std::vector<std::string> names;
  for (const LiveMember* member : members) names.push_back(member->name);
  return names;
}

std::string joined(std::string_view path, std::string_view name) {
  return path.empty() ? std::string(name) : fmt::format("{}.{}", path, name);
}

// The member that `path` begins with, up to its end or a dot. A member's name may have dots itself.
// Removes the name, and the dot behind it, from `path`.
const LiveMember* take_member(std::span<const LiveMember* const> members, std::string_view& path) {
  for (size_t dot = path.find('.');; dot = path.find('.', dot + 1)) {
    const std::string_view name = path.substr(0, dot);
    if (const LiveMember* found = find_member(members, name)) {
      path.remove_prefix(std::min(path.size(), name.size() + 1));
      return found;
    }
    if (dot == std::string_view::npos) return nullptr;
  }
}

std::string_view first_name(std::string_view path) { return path.substr(0, path.find('.')); }

std::optional<size_t> index_of(std::string_view text) {
  size_t index = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), index);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return index;
}

JsonValue guess(const std::string& text) {
  Result<JsonValue> parsed = base::parse_json(text);
  return parsed ? *std::move(parsed) : JsonValue(text);
}

Result<JsonValue> read_integer(const std::string& text, const std::string& path) {
  std::string_view digits = text;
  const bool negative = digits.starts_with('-');
  if (negative) digits.remove_prefix(1);
  const bool hexadecimal = digits.starts_with("0x") || digits.starts_with("0X");
  if (hexadecimal) digits.remove_prefix(2);
  uint64_t number = 0;
  const char* const end = digits.data() + digits.size();
  const auto [rest, error] = std::from_chars(digits.data(), end, number, hexadecimal ? 16 : 10);
  const bool whole = error == std::errc() && rest == end;
  if (whole && negative && number <= uint64_t{1} << 63) {
    return JsonValue(static_cast<int64_t>(-number));
  }
  if (!whole && !negative && !hexadecimal) {
    if (const Result<uint64_t> size = base::parse_size(text)) {
      return *size <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max())
                 ? JsonValue(static_cast<int64_t>(*size))
                 : JsonValue(*size);
    }
  }
  if (!whole || negative) {
    return wrong(
        fmt::format("'{}' takes an integer, such as 65536, 0x10000 or 64k, not '{}'", path, text));
  }
  if (number <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
    return JsonValue(static_cast<int64_t>(number));
  }
  return JsonValue(number);
}

Result<JsonValue> read_boolean(const std::string& text, const std::string& path) {
  for (std::string_view word : {"on", "true", "yes"}) {
    if (text == word) return JsonValue(true);
  }
  for (std::string_view word : {"off", "false", "no"}) {
    if (text == word) return JsonValue(false);
  }
  return wrong(fmt::format("'{}' takes on or off, not '{}'", path, text));
}

std::unexpected<Error> wrong_enum(const LiveType& type, const std::string& text,
                                  const std::string& path) {
  std::vector<std::string> names;
  for (const LiveValue& value : type.values) names.push_back(value.name);
  return wrong(fmt::format("'{}' takes {}, not '{}'", path, type_text(type), text),
               did_you_mean(text, names));
}

bool is_value(const LiveType& type, std::string_view text) {
  return std::ranges::any_of(type.values, [&](const LiveValue& v) { return v.name == text; });
}

// Whether a JSON value is of the kind that the type's values are, without a look inside.
bool looks_like(const LiveType& type, const JsonValue& value) {
  switch (type.kind) {
    case TypeKind::kString:
      return value.is_string();
    case TypeKind::kEnum:
      return value.is_string() && is_value(type, value.get_string());
    case TypeKind::kInteger:
      return value.is_int64() || value.is_uint64();
    case TypeKind::kNumber:
      return value.is_number();
    case TypeKind::kBoolean:
      return value.is_bool();
    case TypeKind::kNull:
      return value.is_null();
    case TypeKind::kArray:
      return value.is_array();
    case TypeKind::kObject:
      return value.is_object();
    case TypeKind::kAny:
    case TypeKind::kAlternate:
      return true;
  }
  return false;
}

Result<JsonValue> read_alternate(const LiveType& type, const std::string& text,
                                 const std::string& path) {
  const JsonValue guessed = guess(text);
  for (const LiveType* alternative : type.alternatives) {
    if (looks_like(*alternative, guessed)) return guessed;
  }
  for (const LiveType* alternative : type.alternatives) {
    if (looks_like(*alternative, JsonValue(text))) return JsonValue(text);
  }
  if (text.find_first_of("0123456789") == 0) {
    for (const LiveType* alternative : type.alternatives) {
      if (alternative->kind == TypeKind::kInteger) return read_integer(text, path);
    }
  }
  return wrong(fmt::format("'{}' takes {}, not '{}'", path, type_text(type), text));
}

// A value of `type` from what was written.
Result<JsonValue> read_value(const LiveType& type, const std::string& text,
                             const std::string& path) {
  switch (type.kind) {
    case TypeKind::kString:
      if (text.starts_with('"')) {
        JsonValue quoted = guess(text);
        if (quoted.is_string()) return quoted;
      }
      return JsonValue(text);
    case TypeKind::kEnum:
      if (!is_value(type, text)) return wrong_enum(type, text, path);
      return JsonValue(text);
    case TypeKind::kInteger:
      return read_integer(text, path);
    case TypeKind::kBoolean:
      return read_boolean(text, path);
    case TypeKind::kAlternate:
      return read_alternate(type, text, path);
    case TypeKind::kAny:
      return guess(text);
    case TypeKind::kNumber:
    case TypeKind::kNull:
    case TypeKind::kArray:
    case TypeKind::kObject:
      break;
  }
  JsonValue guessed = guess(text);
  if (looks_like(type, guessed)) return guessed;
  std::string hint;
  if (type.kind == TypeKind::kObject) {
    hint = fmt::format("Set its members one by one, {}.NAME=VALUE, or give JSON.", path);
  }
  return wrong(fmt::format("'{}' takes {}, not '{}'", path, type_text(type), text),
               std::move(hint));
}

Result<> check_object(const LiveType& type, const json::object& object, const std::string& path,
                      bool takes_more = false) {
  std::string tag;
  if (const json::value* value = object.if_contains(type.tag);
      !type.tag.empty() && value != nullptr && value->is_string()) {
    tag = value->get_string();
  }
  const std::vector<const LiveMember*> members = members_of(type, tag);
  for (const auto& [key, value] : object) {
    const std::string place = joined(path, key);
    const auto found = std::ranges::find(members, std::string_view(key), &LiveMember::name);
    if (found != members.end()) {
      TRY(check_value(*(*found)->type, value, place));
      continue;
    }
    if (takes_more) continue;
    std::string text = fmt::format("There is no argument '{}'", place);
    std::string hint = did_you_mean(key, names_of(members));
    const auto elsewhere = std::ranges::find_if(type.variants, [&](const LiveVariant& variant) {
      return std::ranges::any_of(variant.members->members, [&](const LiveMember& m) {
        return m.name == std::string_view(key);
      });
    });
    if (elsewhere != type.variants.end()) {
      text += fmt::format(" with {}={}", type.tag, tag.empty() ? "?" : tag);
      hint = fmt::format("It belongs to {}={}.", joined(path, type.tag), elsewhere->value);
    }
    return fail(Error(ErrorKind::kInvalidArgument, text).with_hint(hint).with_data("path", place));
  }
  for (const LiveMember* member : members) {
    if (member->optional || object.contains(member->name)) continue;
    return wrong(fmt::format("The argument '{}' is missing", joined(path, member->name)),
                 fmt::format("It takes {}.", type_text(*member->type)));
  }
  return {};
}

}  // namespace

const LiveMember* find_member(std::span<const LiveMember* const> members,
                              std::string_view written) {
  for (const LiveMember* member : members) {
    if (member->name == written) return member;
  }
  for (const LiveMember* member : members) {
    if (same_name(member->name, written)) return member;
  }
  return nullptr;
}

std::vector<const LiveType*> types_at(const LiveType& object, std::string_view path) {
  std::vector<const LiveType*> found;
  const std::vector<const LiveMember*> members = members_of_all_branches(object);
  for (const LiveMember* member : members) {
    std::string_view rest = path;
    const LiveMember* const one[] = {member};
    if (take_member(one, rest) == nullptr) continue;
    const bool deeper = path.size() > member->name.size();
    const LiveType* type = member->type;
    const LiveType* array = as_array(*type);
    if (!deeper) {
      found.push_back(type);
      if (array != nullptr) found.push_back(array->element);
      continue;
    }
    if (array != nullptr && index_of(first_name(rest))) {
      rest.remove_prefix(std::min(rest.size(), first_name(rest).size() + 1));
      type = array->element;
    }
    const LiveType* inner = as_object(*type);
    if (inner == nullptr) continue;
    if (rest.empty()) {
      found.push_back(inner);
      continue;
    }
    for (const LiveType* each : types_at(*inner, rest)) found.push_back(each);
  }
  return found;
}

std::string type_text(const LiveType& type) {
  constexpr size_t kMostShown = 24;
  std::string text;
  switch (type.kind) {
    case TypeKind::kString:
      return "string";
    case TypeKind::kInteger:
      return "int";
    case TypeKind::kNumber:
      return "number";
    case TypeKind::kBoolean:
      return "bool";
    case TypeKind::kNull:
      return "null";
    case TypeKind::kAny:
      return "any";
    case TypeKind::kArray:
      return type.element->kind == TypeKind::kArray ? "list of lists"
                                                    : "list of " + type_text(*type.element);
    case TypeKind::kEnum:
      for (size_t i = 0; i < type.values.size() && i < kMostShown; ++i) {
        text += fmt::format("{}'{}'", i == 0 ? "" : ", ", type.values[i].name);
      }
      if (type.values.size() > kMostShown) text += ", ...";
      return (type.values.size() == 1 ? "" : "one of ") + text;
    case TypeKind::kAlternate:
      for (const LiveType* alternative : type.alternatives) {
        if (!text.empty()) text += " or ";
        text += alternative->kind == TypeKind::kObject  ? "object"
                : alternative->kind == TypeKind::kArray ? "list"
                                                        : type_text(*alternative);
      }
      return text;
    case TypeKind::kObject:
      for (size_t i = 0; i < type.members.size() && i < kMostShown; ++i) {
        const LiveMember& member = type.members[i];
        text += fmt::format("{}{}{}{}", i == 0 ? "" : ", ", member.optional ? "[" : "", member.name,
                            member.optional ? "]" : "");
      }
      if (!type.variants.empty()) text += text.empty() ? "..." : ", ...";
      return text.empty() ? "object" : "object with " + text;
  }
  return text;
}

Result<> check_arguments(const LiveCommand& command, const json::object& arguments) {
  return check_object(*command.arguments, arguments, {}, command.takes_more);
}

Result<> check_value(const LiveType& type, const JsonValue& value, const std::string& path) {
  if (type.kind == TypeKind::kAny) return {};
  if (type.kind == TypeKind::kAlternate) {
    for (const LiveType* alternative : type.alternatives) {
      if (looks_like(*alternative, value)) return check_value(*alternative, value, path);
    }
  } else if (looks_like(type, value)) {
    if (type.kind == TypeKind::kObject) return check_object(type, value.get_object(), path);
    if (type.kind == TypeKind::kArray) {
      size_t index = 0;
      for (const JsonValue& element : value.get_array()) {
        TRY(check_value(*type.element, element, joined(path, std::to_string(index++))));
      }
    }
    return {};
  }
  std::string hint;
  if (type.kind == TypeKind::kEnum && value.is_string()) {
    hint = wrong_enum(type, std::string(value.get_string()), path).error().hint();
  }
  return fail(
      Error(ErrorKind::kInvalidArgument,
            fmt::format("'{}' takes {}, not {}", path, type_text(type), base::print_json(value)))
          .with_hint(hint)
          .with_data("path", path));
}

// Makes JSON from settings, object by object.
class ArgumentParser::Builder {
 public:
  explicit Builder(std::optional<size_t>& wrong_word) : wrong_word_(wrong_word) {}

  // A setting, and the part of its path that is not walked yet.
  struct Rest {
    const Setting* setting;
    std::string_view path;
  };

  // `type` is nullptr where nothing is known.
  Result<JsonValue> build_object(const LiveType* type, const std::vector<Rest>& rests,
                                 const std::string& path) {
    const std::vector<const LiveMember*> members =
        type == nullptr ? std::vector<const LiveMember*>() : members_of(*type, tag_of(type, rests));
    std::vector<Group> groups;
    for (const Rest& rest : rests) {
      std::string_view left = rest.path;
      const LiveMember* member = take_member(members, left);
      std::string name = member != nullptr ? member->name : std::string(first_name(rest.path));
      if (member == nullptr) left.remove_prefix(std::min(left.size(), name.size() + 1));
      auto group = std::ranges::find(groups, name, &Group::name);
      if (group == groups.end()) {
        groups.push_back({std::move(name), member != nullptr ? member->type : nullptr, {}});
        group = groups.end() - 1;
      }
      group->rests.push_back({rest.setting, left});
    }
    json::object object;
    for (const Group& group : groups) {
      object.emplace(group.name,
                     TRY(build_value(group.type, group.rests, joined(path, group.name))));
    }
    return JsonValue(std::move(object));
  }

 private:
  struct Group {
    std::string name;
    const LiveType* type;
    std::vector<Rest> rests;
  };

  static std::string tag_of(const LiveType* type, const std::vector<Rest>& rests) {
    if (type->tag.empty()) return {};
    for (const Rest& rest : rests) {
      if (!same_name(rest.path, type->tag)) continue;
      const Setting& setting = *rest.setting;
      if (!setting.json) return setting.text;
      if (setting.json->is_string()) return std::string(setting.json->get_string());
    }
    return {};
  }

  Result<JsonValue> build_value(const LiveType* type, const std::vector<Rest>& rests,
                                const std::string& path) {
    const bool deeper = std::ranges::any_of(rests, [](const Rest& r) { return !r.path.empty(); });
    const bool whole = std::ranges::any_of(rests, [](const Rest& r) { return r.path.empty(); });
    if (deeper && whole) {
      wrong_word_ = rests.back().setting->word;
      return wrong(fmt::format("'{}' is set both as a whole and by its members", path));
    }
    const LiveType* array = type == nullptr ? nullptr : as_array(*type);
    if (deeper) {
      if (array != nullptr && index_of(first_name(rests.front().path))) {
        return build_list(array->element, rests, path);
      }
      const LiveType* object = type == nullptr ? nullptr : as_object(*type);
      if (type != nullptr && object == nullptr && type->kind != TypeKind::kAny) {
        wrong_word_ = rests.front().setting->word;
        return wrong(fmt::format("'{}' takes {} and has no member '{}'", path, type_text(*type),
                                 first_name(rests.front().path)));
      }
      return build_object(object, rests, path);
    }
    if (array != nullptr) return collect_list(*type, *array, rests, path);
    if (rests.size() > 1) {
      wrong_word_ = rests.back().setting->word;
      return wrong(fmt::format("'{}' is given more than once", path));
    }
    return read(type, *rests.front().setting, path);
  }

  Result<JsonValue> read(const LiveType* type, const Setting& setting, const std::string& path) {
    wrong_word_ = setting.word;
    if (setting.json) return *setting.json;
    JsonValue value =
        type == nullptr ? guess(setting.text) : TRY(read_value(*type, setting.text, path));
    wrong_word_.reset();
    return value;
  }

  // `a=1 a=2`, or one that is the whole list as JSON.
  Result<JsonValue> collect_list(const LiveType& type, const LiveType& array,
                                 const std::vector<Rest>& rests, const std::string& path) {
    if (rests.size() == 1) {
      const Setting& only = *rests.front().setting;
      if (only.json) return *only.json;
      if (JsonValue whole = guess(only.text); only.text.starts_with('[') && whole.is_array()) {
        return whole;
      }
      if (type.kind == TypeKind::kAlternate) return read(&type, only, path);
    }
    json::array list;
    for (const Rest& rest : rests) {
      list.push_back(TRY(read(array.element, *rest.setting, path)));
    }
    return JsonValue(std::move(list));
  }

  // `a.0.x=1 a.1.x=2`
  Result<JsonValue> build_list(const LiveType* element, const std::vector<Rest>& rests,
                               const std::string& path) {
    std::map<size_t, std::vector<Rest>> by_index;
    for (const Rest& rest : rests) {
      const std::string_view name = first_name(rest.path);
      const std::optional<size_t> index = index_of(name);
      if (!index) {
        wrong_word_ = rest.setting->word;
        return wrong(
            fmt::format("'{}' is a list: '{}' is not the number of an element", path, name));
      }
      std::string_view left = rest.path;
      left.remove_prefix(std::min(left.size(), name.size() + 1));
      by_index[*index].push_back({rest.setting, left});
    }
    json::array list;
    for (const auto& [index, elements] : by_index) {
      if (index != list.size()) {
        wrong_word_ = elements.front().setting->word;
        return wrong(
            fmt::format("'{}' has no element {}, but an element {}", path, list.size(), index));
      }
      list.push_back(TRY(build_value(element, elements, joined(path, std::to_string(index)))));
    }
    return JsonValue(std::move(list));
  }

  std::optional<size_t>& wrong_word_;
};

bool ArgumentParser::is_flag_without_value(std::string_view path) const {
  if (command_ == nullptr) return false;
  const std::vector<const LiveType*> types = types_at(*command_->arguments, path);
  return !types.empty() && std::ranges::all_of(types, [](const LiveType* type) {
    return type->kind == TypeKind::kBoolean;
  });
}

Result<> ArgumentParser::take_flag(std::span<const std::string> words, size_t& at) {
  const size_t word = at;
  std::string_view flag = std::string_view(words[at]).substr(2);
  const size_t equals = flag.find('=');
  std::string path(flag.substr(0, equals));
  if (equals != std::string_view::npos) {
    settings_.push_back({std::move(path), std::string(flag.substr(equals + 1)), {}, word});
    return {};
  }
  if (is_flag_without_value(path)) {
    settings_.push_back({std::move(path), "on", {}, word});
    return {};
  }
  const size_t last = path.rfind('.') == std::string::npos ? 0 : path.rfind('.') + 1;
  if (path.substr(last).starts_with(kNo)) {
    const std::string without = path.substr(0, last) + path.substr(last + kNo.size());
    if (is_flag_without_value(without)) {
      settings_.push_back({without, "off", {}, word});
      return {};
    }
  }
  const bool known =
      command_ == nullptr || command_->takes_more || !types_at(*command_->arguments, path).empty();
  if (!known) {
    wrong_word_ = word;
    return wrong(fmt::format("There is no argument '{}'", path),
                 did_you_mean(path, names_of(members_of_all_branches(*command_->arguments))));
  }
  const bool alone = at + 1 == words.size() || words[at + 1].starts_with("--");
  if (alone && command_ == nullptr) {
    settings_.push_back({std::move(path), "true", {}, word});
    return {};
  }
  if (at + 1 == words.size()) {
    wrong_word_ = word;
    return wrong(fmt::format("'--{}' needs a value", path));
  }
  settings_.push_back({std::move(path), words[++at], {}, word});
  return {};
}

Result<> ArgumentParser::take_json(const std::string& word, size_t at) {
  Result<JsonValue> parsed = base::parse_json(word);
  if (!parsed) {
    wrong_word_ = at;
    return fail(std::move(parsed).error().with_context("arguments"));
  }
  if (!parsed->is_object()) {
    wrong_word_ = at;
    return wrong(fmt::format("The arguments are an object, {{...}}, not {}", word));
  }
  for (auto& [key, value] : parsed->get_object()) {
    settings_.push_back({std::string(key), {}, std::move(value), at});
  }
  return {};
}

Result<> ArgumentParser::take_pair(const std::string& word, size_t at) {
  const size_t equals = word.find('=');
  if (equals == std::string::npos || equals == 0) {
    wrong_word_ = at;
    const bool known = command_ != nullptr && !types_at(*command_->arguments, word).empty();
    return wrong(fmt::format("'{}' is not of the form key=value", word),
                 known ? fmt::format("Write {}=VALUE.", word) : std::string());
  }
  settings_.push_back({word.substr(0, equals), word.substr(equals + 1), {}, at});
  return {};
}

Result<json::object> ArgumentParser::parse(std::span<const std::string> words) {
  settings_.clear();
  wrong_word_.reset();
  bool flags = true;
  for (size_t at = 0; at < words.size(); ++at) {
    const std::string& word = words[at];
    if (flags && word == "--") {
      flags = false;
    } else if (flags && word.starts_with("--")) {
      TRY(take_flag(words, at));
    } else if (word.starts_with('{') || word.starts_with('[')) {
      TRY(take_json(word, at));
    } else {
      TRY(take_pair(word, at));
    }
  }
  std::vector<Builder::Rest> rests;
  for (const Setting& setting : settings_) rests.push_back({&setting, setting.path});
  const LiveType* const type = command_ == nullptr ? nullptr : command_->arguments;
  JsonValue value = TRY(Builder(wrong_word_).build_object(type, rests, {}));
  if (type != nullptr) {
    const Result<> fits = check_arguments(*command_, value.get_object());
    if (!fits) {
      for (const auto& [member, path] : fits.error().data()) {
        const auto about = [&](const Setting& setting) {
          return path == setting.path || path.starts_with(setting.path + ".") ||
                 setting.path.starts_with(path + ".") || same_name(path, setting.path);
        };
        const auto found = std::ranges::find_if(settings_, about);
        if (member == "path" && found != settings_.end()) wrong_word_ = found->word;
      }
      return fail(fits.error());
    }
  }
  return std::move(value.get_object());
}

}  // namespace firn::cli
