#include "qapi/names.h"

#include <algorithm>
#include <cctype>
#include <set>

#include "base/json.h"

namespace firn::qapi {

namespace {

bool upper(char c) { return c >= 'A' && c <= 'Z'; }
bool lower(char c) { return c >= 'a' && c <= 'z'; }
bool digit(char c) { return c >= '0' && c <= '9'; }

// Without the prefix of a downstream name; the text itself if it has none.
std::string_view without_domain(std::string_view text) {
  if (!text.starts_with("__")) return text;
  const size_t end = text.find('_', 2);
  return end == std::string_view::npos || end == 2 ? std::string_view() : text.substr(end + 1);
}

bool has_name_characters(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return upper(c) || lower(c) || digit(c) || c == '-' || c == '_';
  });
}

}  // namespace

bool is_name(std::string_view text) {
  text = without_domain(text);
  return has_name_characters(text) && (upper(text.front()) || lower(text.front()));
}

bool is_enum_value_name(std::string_view text) {
  text = without_domain(text);
  return has_name_characters(text) && text.front() != '-' && text.front() != '_';
}

bool is_type_name(std::string_view text) {
  text = without_domain(text);
  return is_name(text) && upper(text.front()) && text.find_first_of("-_") == text.npos;
}

bool is_event_name(std::string_view text) {
  text = without_domain(text);
  return is_name(text) &&
         std::none_of(text.begin(), text.end(), [](char c) { return lower(c) || c == '-'; });
}

bool is_lower_name(std::string_view text) {
  text = without_domain(text);
  return is_name(text) &&
         std::none_of(text.begin(), text.end(), [](char c) { return upper(c) || c == '_'; });
}

std::string cpp_member(std::string_view name) {
  static const std::set<std::string_view> kKeywords = {
      "alignas", "alignof", "and", "asm", "auto", "bool", "break", "case", "catch", "char", "class",
      "compl", "concept", "const", "constexpr", "continue", "decltype", "default", "delete", "do",
      "double", "else", "enum", "explicit", "export", "extern", "false", "float", "for", "friend",
      "goto", "if", "inline", "int", "long", "mutable", "namespace", "new", "noexcept", "not",
      "nullptr", "operator", "or", "private", "protected", "public", "register", "requires",
      "return", "short", "signed", "sizeof", "static", "struct", "switch", "template", "this",
      "throw", "true", "try", "typedef", "typeid", "typename", "union", "unsigned", "using",
      "virtual", "void", "volatile", "wchar_t", "while", "xor", "bitand", "bitor", "and_eq",
      "not_eq", "or_eq", "xor_eq", "char8_t", "char16_t", "char32_t", "consteval", "constinit",
      "co_await", "co_return", "co_yield", "const_cast", "dynamic_cast", "reinterpret_cast",
      "static_cast", "static_assert", "thread_local",
      // Macros of the system's headers.
      "unix", "linux", "i386", "errno", "stdin", "stdout", "stderr", "assert"};
  std::string out = cpp_identifier(name);
  if (kKeywords.contains(out)) out += '_';
  return out;
}

std::string cpp_identifier(std::string_view name) {
  std::string out(name);
  std::replace_if(
      out.begin(), out.end(), [](char c) { return !upper(c) && !lower(c) && !digit(c); }, '_');
  if (out.empty() || digit(out.front())) out.insert(out.begin(), '_');
  return out;
}

std::string cpp_pascal(std::string_view name) {
  const bool all_upper = std::none_of(name.begin(), name.end(), lower);
  std::string out;
  bool start = true;
  for (char c : name) {
    if (!upper(c) && !lower(c) && !digit(c)) {
      start = true;
      continue;
    }
    if (start) {
      out += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    } else if (all_upper) {
      out += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    } else {
      out += c;
    }
    start = false;
  }
  return out;
}

std::string cpp_enumerator(std::string_view name) { return "k" + cpp_pascal(name); }

std::string cpp_literal(std::string_view text) {
  std::string out;
  base::append_json_string(out, text);
  return out;
}

}  // namespace firn::qapi
