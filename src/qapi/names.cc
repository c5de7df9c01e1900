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

bool letter(char c) { return upper(c) || lower(c); }
bool name_character(char c) { return letter(c) || digit(c) || c == '-' || c == '_'; }
char in_c(char c) { return name_character(c) && c != '-' ? c : '_'; }

bool all_of(std::string_view text, bool (*predicate)(char)) {
  return std::all_of(text.begin(), text.end(), predicate);
}
bool any_of(std::string_view text, bool (*predicate)(char)) {
  return std::any_of(text.begin(), text.end(), predicate);
}

// "__RFQDN_name" -> "name"; the text itself if it has no such prefix.
std::string_view without_domain(std::string_view text) {
  if (!text.starts_with("__")) return text;
  const size_t end = text.find('_', 2);
  const auto in_domain = [](char c) { return letter(c) || digit(c) || c == '-' || c == '.'; };
  if (end == text.npos || end == 2) return text;
  return all_of(text.substr(2, end - 2), in_domain) ? text.substr(end + 1) : text;
}

// Without "x-" too, unless the rest would be no name.
std::string_view stem_of(std::string_view text) {
  text = without_domain(text);
  const bool experimental = text.size() > 2 && (text[0] == 'x' || text[0] == 'X') && text[1] == '-';
  return experimental && letter(text[2]) ? text.substr(2) : text;
}

std::string stem_error(std::string_view stem, NameKind kind, NameLeave leave) {
  switch (kind) {
    case NameKind::kAny:
      return {};
    case NameKind::kType:
      if (!upper(stem.front())) return "has to start with an upper-case letter";
      if (any_of(stem, [](char c) { return c == '-' || c == '_'; })) {
        return "must have no '-' and no '_'";
      }
      return any_of(stem, lower) ? ""
                                 : "has to have a lower-case letter: names of types are CamelCase";
    case NameKind::kEvent:
      if (any_of(stem, lower)) return "must have no lower-case letters";
      return any_of(stem, [](char c) { return c == '-'; }) ? "must have no '-'" : "";
    case NameKind::kLower:
    case NameKind::kEnumValue:
      if (!leave.upper_case && any_of(stem, upper)) return "must have no upper-case letters";
      if (!leave.underscore && stem.find('_') != stem.npos) return "must have no '_'";
      return {};
  }
  return {};
}

}  // namespace

std::string name_error(std::string_view name, NameKind kind, NameLeave leave) {
  if (name.empty()) return "is empty";
  if (name.starts_with("q_") || name.starts_with("q-"))
    return "starts with 'q-', which is reserved";
  const std::string held = kind == NameKind::kEnumValue && digit(name.front())
                               ? "d" + std::string(name)
                               : std::string(name);
  const std::string_view stem = stem_of(held);
  if (stem.empty() || !letter(stem.front())) {
    return kind == NameKind::kEnumValue ? "has to start with a letter or a digit"
                                        : "has to start with a letter";
  }
  if (!all_of(stem, name_character)) return "may have letters, digits, '-' and '_' only";
  return stem_error(stem, kind, leave);
}

std::string suggest_name(std::string_view name, NameKind kind) {
  if (kind == NameKind::kType) return cpp_pascal(name);
  std::string out;
  char before = '-';
  for (const char c : name) {
    if (kind == NameKind::kEvent) {
      out += c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
      continue;
    }
    if (upper(c) && lower(before) && out.back() != '-') out += '-';
    before = c;
    out += c == '_' ? '-' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return out;
}

bool is_name_2011(std::string_view name) {
  const auto good = [](char c) { return name_character(c) || c == '.'; };
  return !name.empty() && all_of(name, good);
}

bool same_in_c(std::string_view left, std::string_view right) {
  return std::equal(left.begin(), left.end(), right.begin(), right.end(),
                    [](char a, char b) { return in_c(a) == in_c(b); });
}

size_t HashInC::operator()(std::string_view name) const {
  size_t hash = 0xCBF29CE484222325;  // FNV-1a
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(in_c(c))) * 0x100000001B3;
  return hash;
}

bool is_c_identifier(std::string_view text) {
  return !text.empty() && !digit(text.front()) &&
         all_of(text, [](char c) { return letter(c) || digit(c) || c == '_'; });
}

bool is_symbol(std::string_view text) {
  return !text.empty() && upper(text.front()) &&
         all_of(text, [](char c) { return upper(c) || digit(c) || c == '_'; });
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
