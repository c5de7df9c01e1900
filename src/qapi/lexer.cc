#include "qapi/lexer.h"

#include <fmt/format.h>

#include <utility>

#include "base/json_lexer.h"

namespace firn::qapi {

size_t space_length(std::string_view text) {
  const auto byte = static_cast<unsigned char>(text.empty() ? 'x' : text.front());
  if (byte < 0x80)
    return byte == ' ' || (byte >= 0x09 && byte <= 0x0D) || (byte >= 0x1C && byte < 0x20);
  std::string_view rest = text;
  const int32_t c = base::take_code_point(rest);
  const bool space = c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) ||
                     c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
  return space ? text.size() - rest.size() : 0;
}

std::string_view trim_end(std::string_view text) {
  for (;;) {
    if (text.empty()) return text;
    size_t last = text.size() - 1;  // where the last character starts
    while (last > 0 && (text[last] & 0xC0) == 0x80) --last;
    if (space_length(text.substr(last)) != text.size() - last) return text;
    text.remove_suffix(text.size() - last);
  }
}

Token Lexer::token(TokenKind kind, size_t end) {
  Token out{kind, {&file_, static_cast<uint32_t>(position_), static_cast<uint32_t>(end)}, {}};
  position_ = end;
  return out;
}

Token Lexer::bad(size_t begin, size_t end, std::string text, std::string hint) {
  position_ = begin;
  Token out = token(TokenKind::kBad, end);
  diagnostics_.error(out.span, std::move(text), std::move(hint));
  return out;
}

Token Lexer::next(bool all_comments) {
  while (position_ < text_.size()) {
    const char c = text_[position_];
    switch (c) {
      case ' ':
      case '\n':
        ++position_;
        continue;
      case '#': {
        const size_t end = std::min(text_.find('\n', position_), text_.size());
        if (!all_comments && text_.substr(position_, 2) != "##") {
          position_ = end;
          continue;
        }
        Token out = token(TokenKind::kComment, end);
        out.text = out.span.text();
        return out;
      }
      case '{':
        return token(TokenKind::kBraceOpen, position_ + 1);
      case '}':
        return token(TokenKind::kBraceClose, position_ + 1);
      case '[':
        return token(TokenKind::kBracketOpen, position_ + 1);
      case ']':
        return token(TokenKind::kBracketClose, position_ + 1);
      case ':':
        return token(TokenKind::kColon, position_ + 1);
      case ',':
        return token(TokenKind::kComma, position_ + 1);
      case '\'':
        return string();
      default:
        break;
    }
    if (text_.substr(position_).starts_with("true")) return token(TokenKind::kTrue, position_ + 4);
    if (text_.substr(position_).starts_with("false")) {
      return token(TokenKind::kFalse, position_ + 5);
    }
    const size_t space = space_length(text_.substr(position_));
    if (space == 0) return stray();
    position_ += space;
  }
  // The end is on the last line, not on the empty one behind its newline.
  position_ = text_.size();
  const bool newline = !text_.empty() && text_.back() == '\n';
  const auto at = static_cast<uint32_t>(text_.size() - (newline ? 1 : 0));
  return {TokenKind::kEnd, {&file_, at, at}, {}};
}

Token Lexer::string() {
  const size_t begin = position_;
  size_t end = begin + 1;
  bool escapes = false;
  for (;; ++end) {
    if (end == text_.size() || text_[end] == '\n') {
      return bad(begin, end, "this string does not end on its line", "close it with \"'\"");
    }
    const auto c = static_cast<unsigned char>(text_[end]);
    if (c == '\'') break;
    if (c == '\\') {
      escapes = true;
      ++end;
      if (end < text_.size() && text_[end] == '\\') continue;
      if (end == text_.size() || text_[end] == '\n') {
        return bad(begin, end, "this string does not end on its line", "close it with \"'\"");
      }
      return bad(end - 1, end + 1, fmt::format("unknown escape '\\{}'", text_[end]),
                 "the schema language has no escape but '\\\\'");
    }
    if (c < 0x20 || c >= 0x7F) {
      return bad(end, end + 1, fmt::format("byte 0x{:02x} in a string", c),
                 "strings hold printable ASCII characters");
    }
  }
  Token out = token(TokenKind::kString, end + 1);
  out.text = text_.substr(begin + 1, end - begin - 1);
  if (escapes) {
    std::string& content = store_.emplace_back();
    for (size_t i = 0; i < out.text.size(); ++i) {
      if (out.text[i] == '\\') ++i;
      content += out.text[i];
    }
    out.text = content;
  }
  return out;
}

Token Lexer::stray() {
  const size_t begin = position_;
  size_t end = begin;
  while (end < text_.size() && end < begin + 40 && space_length(text_.substr(end)) == 0 &&
         std::string_view("[]{}:,'").find(text_[end]) == std::string_view::npos) {
    std::string_view rest = text_.substr(end);
    base::take_code_point(rest);
    end = text_.size() - rest.size();
  }
  const std::string_view word = text_.substr(begin, end - begin);
  std::string hint;
  if (word.starts_with('"')) {
    hint = "strings stand in apostrophes";
  } else if (word.starts_with("\xEF\xBB\xBF")) {
    hint = "the file starts with a byte order mark: remove it";
  } else if (word.starts_with('-') || (word.front() >= '0' && word.front() <= '9')) {
    hint = "the schema language has no numbers";
  } else if (word.starts_with("//") || word.starts_with("/*")) {
    hint = "comments start with '#'";
  } else if (word == "null") {
    hint = "the schema language has no null";
  } else if ((word.front() | 0x20) >= 'a' && (word.front() | 0x20) <= 'z') {
    hint = "names stand in apostrophes";
  }
  return bad(begin, end, fmt::format("stray '{}'", word), std::move(hint));
}

void Lexer::skip_to_definition(uint32_t start) {
  position_ = start;
  while (position_ < text_.size()) {
    const bool starts_line = position_ == 0 || text_[position_ - 1] == '\n';
    if (starts_line && (text_[position_] == '{' || text_.substr(position_, 2) == "##")) return;
    position_ = text_.find('\n', position_);
    if (position_ == std::string_view::npos) break;
    ++position_;
  }
  position_ = text_.size();
}

std::string describe(const Token& token) {
  switch (token.kind) {
    case TokenKind::kBraceOpen:
      return "'{'";
    case TokenKind::kBraceClose:
      return "'}'";
    case TokenKind::kBracketOpen:
      return "'['";
    case TokenKind::kBracketClose:
      return "']'";
    case TokenKind::kColon:
      return "':'";
    case TokenKind::kComma:
      return "','";
    case TokenKind::kString:
      return fmt::format("string '{}'", token.text);
    case TokenKind::kTrue:
      return "true";
    case TokenKind::kFalse:
      return "false";
    case TokenKind::kComment:
      return "documentation";
    case TokenKind::kEnd:
      return "the end of the file";
    case TokenKind::kBad:
      return "this";
  }
  return {};
}

}  // namespace firn::qapi
