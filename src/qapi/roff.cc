#include "qapi/roff.h"

#include <fmt/format.h>

#include <algorithm>

namespace firn::qapi::roff {

namespace {

// Decodes one character of UTF-8 at `at` and moves on; a byte that is none stands for itself.
char32_t next_char(std::string_view text, size_t& at) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(at++);
  const size_t more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : first >= 0xc0 ? 1 : 0;
  if (at + more > text.size() || more == 0) return first;
  char32_t value = first & (0x3f >> more);
  for (size_t i = 0; i < more; ++i) value = value << 6 | (byte(at++) & 0x3f);
  return value;
}

}  // namespace

std::string escape(std::string_view text, bool line_start) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const char32_t c = next_char(text, at);
    if (line_start && (c == '.' || c == '\'')) out += "\\&";
    line_start = c == '\n';
    switch (c) {
      case '\\':
        out += "\\e";
        break;
      case '-':
        out += "\\-";
        break;
      case '\'':
        out += "\\(aq";
        break;
      case '`':
        out += "\\(ga";
        break;
      case '^':
        out += "\\(ha";
        break;
      case '~':
        out += "\\(ti";
        break;
      default:
        out += c < 0x80 ? std::string(1, static_cast<char>(c))
                        : fmt::format("\\[u{:04X}]", static_cast<uint32_t>(c));
    }
  }
  return out;
}

std::string fill(std::string_view escaped) {
  constexpr size_t kWidth = 78;
  std::string out;
  size_t column = 0;
  while (!escaped.empty()) {
    const size_t length = std::min(escaped.find(' '), escaped.size());
    const std::string_view word = escaped.substr(0, length);
    escaped.remove_prefix(std::min(length + 1, escaped.size()));
    if (word.empty()) continue;
    if (column && column + 1 + word.size() > kWidth) {
      out += '\n';
      column = 0;
      if (word.starts_with('.') || word.starts_with('\'')) out += "\\&";
    } else if (column) {
      out += ' ';
      ++column;
    }
    out += word;
    column += word.size();
  }
  return out;
}

std::string argument(std::string_view text) {
  std::string out = "\"";
  for (char c : escape(text, false)) {
    if (c == '"') {
      out += "\\(dq";
    } else {
      out += c == '\n' ? ' ' : c;
    }
  }
  return out + '"';
}

}  // namespace firn::qapi::roff
