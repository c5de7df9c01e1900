#include "api/keyval.h"

#include <fmt/format.h>

#include <boost/json/value.hpp>
#include <charconv>
#include <climits>
#include <optional>
#include <string>
#include <vector>

#include "api/decoder.h"

namespace firn::api {

namespace {

using base::fail;
using base::JsonValue;
using base::Result;
using boost::json::array;
using boost::json::object;

constexpr size_t kMaxFragment = 127;

std::unexpected<base::Error> bad(std::string text) {
  return fail(base::ErrorKind::kInvalidArgument, std::move(text));
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// The length of the schema name at the front of `text`: a letter, then letters, digits, - and _,
// with an optional prefix __DOMAIN_ for downstream names.
size_t name_length(std::string_view text) {
  size_t i = 0;
  if (text.starts_with("__")) {
    i = 2;
    while (i < text.size() &&
           (is_letter(text[i]) || is_digit(text[i]) || text[i] == '-' || text[i] == '.')) {
      ++i;
    }
    if (i >= text.size() || text[i] != '_') return 0;
    ++i;
  }
  if (i >= text.size() || !is_letter(text[i])) return 0;
  while (i < text.size() &&
         (is_letter(text[i]) || is_digit(text[i]) || text[i] == '-' || text[i] == '_')) {
    ++i;
  }
  return i;
}

size_t digits_length(std::string_view text) {
  size_t i = 0;
  while (i < text.size() && is_digit(text[i])) ++i;
  return i;
}

// The list index that a key stands for, capped at INT_MAX; none if it is a name.
std::optional<size_t> list_index(std::string_view key) {
  if (key.empty() || digits_length(key) != key.size()) return std::nullopt;
  size_t index = 0;
  auto parsed = std::from_chars(key.data(), key.data() + key.size(), index);
  return parsed.ec != std::errc{} || index > INT_MAX ? INT_MAX : index;
}

// "a.b.0" -> its fragments, or the error that names the bad one.
Result<std::vector<std::string_view>> split_key(std::string_view key) {
  std::vector<std::string_view> fragments;
  size_t at = 0;
  while (true) {
    const std::string_view rest = key.substr(at);
    const size_t digits = at > 0 ? digits_length(rest) : 0;
    const size_t length = digits ? digits : name_length(rest);
    if (length == 0 || (at + length < key.size() && key[at + length] != '.')) {
      return bad(fmt::format("Invalid parameter '{}'", key));
    }
    if (length > kMaxFragment) {
      return bad(fmt::format("Parameter{} '{}' is too long",
                             at > 0 || length < key.size() ? " fragment" : "",
                             rest.substr(0, length)));
    }
    fragments.push_back(rest.substr(0, length));
    at += length;
    if (at == key.size()) return fragments;
    ++at;
  }
}

Result<> put(object& root, std::string_view key, std::string value) {
  const std::vector<std::string_view> fragments = TRY(split_key(key));
  object* current = &root;
  for (const std::string_view& fragment : fragments) {
    const bool last = &fragment == &fragments.back();
    const std::string_view so_far = key.substr(0, fragment.data() + fragment.size() - key.data());
    auto [place, inserted] = current->emplace(fragment, nullptr);
    JsonValue& slot = place->value();
    if (inserted) {
      if (!last) slot.emplace_object();
    } else if (slot.is_object() == last) {
      return bad(fmt::format("Parameters '{}.*' used inconsistently", so_far));
    }
    if (last) {
      slot = value;
    } else {
      current = &slot.get_object();
    }
  }
  return {};
}

// Turns objects whose keys are all indexes into lists, innermost first. `prefix` is the path to
// `current` with a trailing dot.
Result<> make_lists(JsonValue& current, const std::string& prefix) {
  object& members = current.get_object();
  bool has_index = false;
  bool has_name = false;
  for (auto& member : members) {
    const std::string_view key(member.key());
    (list_index(key) ? has_index : has_name) = true;
    if (member.value().is_object())
      TRY(make_lists(member.value(), fmt::format("{}{}.", prefix, key)));
  }
  if (has_index && has_name)
    return bad(fmt::format("Parameters '{}*' used inconsistently", prefix));
  if (!has_index) return {};
  std::vector<JsonValue*> elements(members.size(), nullptr);
  for (auto& member : members) {
    const size_t index = *list_index(std::string_view(member.key()));
    if (index < elements.size()) elements[index] = &member.value();
  }
  array list;
  for (size_t i = 0; i < elements.size(); ++i) {
    if (!elements[i]) return bad(fmt::format("Parameter '{}{}' missing", prefix, i));
    list.push_back(std::move(*elements[i]));
  }
  current = std::move(list);
  return {};
}

// Takes one value off the front of `rest`: up to a single comma, which goes too.
std::string take_value(std::string_view& rest) {
  std::string value;
  while (!rest.empty()) {
    if (rest.front() == ',') {
      rest.remove_prefix(1);
      if (!rest.starts_with(',')) break;
    }
    value += rest.front();
    rest.remove_prefix(1);
  }
  return value;
}

}  // namespace

Result<JsonValue> parse_keyval(std::string_view text, std::string_view implied_key) {
  JsonValue root(boost::json::object_kind);
  std::string_view rest = text;
  while (!rest.empty()) {
    const size_t end = std::min(rest.find_first_of("=,"), rest.size());
    std::string_view key = rest.substr(0, end);
    const bool has_value = end < rest.size() && rest[end] == '=';
    if (!implied_key.empty() && !key.empty() && !has_value) {
      key = implied_key;
    } else {
      if (!has_value) {
        TRY(split_key(key));
        return bad(fmt::format("Expected '=' after parameter '{}'", key));
      }
      rest.remove_prefix(end + 1);
    }
    implied_key = {};
    TRY(put(root.get_object(), key, take_value(rest)));
  }
  TRY(make_lists(root, ""));
  return root;
}

Result<JsonValue> parse_option(std::string_view text, std::string_view implied_key,
                               InputMode& mode) {
  if (text.starts_with('{')) {
    mode = InputMode::kJson;
    return base::parse_json(text);
  }
  mode = InputMode::kKeyval;
  return parse_keyval(text, implied_key);
}

}  // namespace firn::api
