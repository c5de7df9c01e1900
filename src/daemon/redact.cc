#include "daemon/redact.h"

#include <algorithm>
#include <array>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/string.hpp>
#include <boost/json/value.hpp>
#include <cctype>
#include <utility>

#include "api/commands.h"

namespace firn::daemon {

namespace json = boost::json;
using base::JsonValue;

namespace {

// What ends the name of an option whose value is a secret: `password=`, `access-key=`.
constexpr auto kSecretNames = std::to_array<std::string_view>(
    {"password", "passwd", "passphrase", "pass", "pwd", "secret", "token", "key", "auth",
     "authorization", "cookie", "signature", "credential", "credentials"});

constexpr std::string_view kJson = "json:";

std::string_view view(const json::string& text) { return {text.data(), text.size()}; }

bool equal_but_case(std::string_view left, std::string_view right) {
  return std::ranges::equal(
      left, right, {}, [](unsigned char c) { return std::tolower(c); },
      [](unsigned char c) { return std::tolower(c); });
}

bool names_secret(std::string_view before_equals) {
  return std::ranges::any_of(kSecretNames, [&](std::string_view name) {
    return before_equals.size() >= name.size() &&
           equal_but_case(before_equals.substr(before_equals.size() - name.size()), name);
  });
}

void cut_after(std::string& text, size_t at) {
  text.resize(at);
  text += kHidden;
}

void hide_in_uris(std::string& text) {
  constexpr std::string_view kMark = "//";
  const size_t mark = text.find(kMark);
  if (mark == std::string::npos) return;
  const size_t authority = mark + kMark.size();
  // A password may hold any letter: whatever is before the last @ goes, other URIs included.
  const size_t at = text.rfind('@');
  if (at != std::string::npos && at >= authority) {
    text.replace(authority, at - authority, kHidden);
  }
  const size_t query = text.find_first_of("?#", authority);
  if (query != std::string::npos) cut_after(text, query + 1);
}

// `password=x`, and as mappings write it: `password: x`, `'password': 'x'`.
void hide_values(std::string& text) {
  constexpr std::string_view kMarks = "=:";
  for (size_t mark = text.find_first_of(kMarks); mark != std::string::npos;
       mark = text.find_first_of(kMarks, mark + 1)) {
    std::string_view name = std::string_view(text).substr(0, mark);
    name = name.substr(0, name.find_last_not_of(" \t'\"") + 1);
    if (names_secret(name)) return cut_after(text, mark + 1);
  }
}

// Where `json:` stands in the text, in whatever case.
size_t find_json(std::string_view text) {
  return static_cast<size_t>(
      std::ranges::search(text, kJson, {}, [](unsigned char c) { return std::tolower(c); })
          .begin() -
      text.begin());
}

JsonValue without_credentials(const JsonValue& value);

// json:{...}, an image's options in place of its name.
std::string hide_in_json(std::string_view text) {
  std::string shown = "json:";
  const api::CommandEntry* command = api::find_command("blockdev-add");
  auto options = base::parse_json(text.substr(shown.size()));
  JsonValue known;
  if (options && options->is_object() && command != nullptr) known = command->loggable(*options);
  if (known.is_null()) return shown.append(kHidden);
  return shown + base::print_json(without_credentials(known));
}

JsonValue without_credentials(const JsonValue& value) {
  if (value.is_string()) return JsonValue(hide_credentials(view(value.get_string())));
  if (value.is_array()) {
    json::array list;
    for (const JsonValue& element : value.get_array()) list.push_back(without_credentials(element));
    return list;
  }
  if (!value.is_object()) return value;
  json::object object;
  for (const auto& member : value.get_object()) {
    object.emplace(member.key(), without_credentials(member.value()));
  }
  return object;
}

void replace_all(std::string& text, std::string_view what) {
  for (size_t at = text.find(what); at != std::string::npos;
       at = text.find(what, at + kHidden.size())) {
    text.replace(at, what.size(), kHidden);
  }
}

// From the first quote to the last: what is quoted may hold quotes itself.
void hide_quoted(std::string& text, char quote) {
  const size_t first = text.find(quote);
  if (first == std::string::npos) return;
  const size_t last = text.rfind(quote);
  if (last == first) return cut_after(text, first + 1);
  text.replace(first + 1, last - first - 1, kHidden);
}

}  // namespace

std::string hide_credentials(std::string_view text) {
  if (text.starts_with(kJson)) return hide_in_json(text);
  std::string shown(text);
  const size_t json = find_json(text);  // in an error's text
  if (json != text.size()) cut_after(shown, json + kJson.size());
  hide_in_uris(shown);
  hide_values(shown);
  return shown;
}

Redaction::Redaction(const api::CommandEntry& command, const JsonValue& arguments) {
  JsonValue known = command.loggable(arguments);
  if (known.is_null()) {
    hides_quotes_ = true;
    return;
  }
  find_secrets(arguments, known);
  hides_quotes_ = !secrets_.empty();
  arguments_ = without_credentials(known);
}

void Redaction::find_secrets(const JsonValue& given, const JsonValue& shown) {
  if (shown.is_string() && given.is_string() && view(shown.get_string()) == kHidden) {
    secrets_.emplace_back(view(given.get_string()));
  } else if (shown.is_object() && given.is_object()) {
    for (const auto& member : given.get_object()) {
      const JsonValue* value = shown.get_object().if_contains(member.key());
      if (value != nullptr) find_secrets(member.value(), *value);
    }
  } else if (shown.is_array() && given.is_array()) {
    const size_t count = std::min(shown.get_array().size(), given.get_array().size());
    for (size_t i = 0; i < count; ++i) {
      find_secrets(given.get_array()[i], shown.get_array()[i]);
    }
  }
}

std::string Redaction::error_text(std::string text) const {
  for (const std::string& secret : secrets_) {
    if (!secret.empty()) replace_all(text, secret);
  }
  if (hides_quotes_) {
    hide_quoted(text, '\'');
    hide_quoted(text, '"');
  }
  return hide_credentials(text);
}

}  // namespace firn::daemon
