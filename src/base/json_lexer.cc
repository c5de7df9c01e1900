#include "base/json_lexer.h"

#include <algorithm>
#include <utility>

namespace firn::base {

namespace {

// A buffer that has grown beyond this is not kept for later tokens.
constexpr size_t kKeptBytes = size_t{64} << 10;

bool is_digit(unsigned char byte) { return byte >= '0' && byte <= '9'; }
bool is_lower(unsigned char byte) { return byte >= 'a' && byte <= 'z'; }
bool in_string(unsigned char byte) { return byte >= 0x20 && byte <= 0xFD; }

bool ends_recovery(unsigned char byte) {
  switch (byte) {
    case '[':
    case ']':
    case '{':
    case '}':
    case ':':
    case ',':
    case 0xFE:
    case 0xFF:
      return true;
    case '\t':
      return false;
    default:
      return byte < 0x20;
  }
}

}  // namespace

// What one byte does: it moves to a state or ends a token, and it is part of it or looked at only.
struct JsonLexer::Step {
  enum class Action : uint8_t { kMove, kToken, kSkip } action;
  State state = State::kStart;
  JsonTokenKind kind = JsonTokenKind::kStray;
  bool consume = true;

  static Step move(State to) { return {Action::kMove, to}; }
  static Step stray() { return {Action::kToken, State::kRecovery, JsonTokenKind::kStray}; }
  static Step whole(JsonTokenKind kind) { return {Action::kToken, State::kStart, kind}; }
  static Step before(JsonTokenKind kind) { return {Action::kToken, State::kStart, kind, false}; }
};

JsonLexer::Step JsonLexer::start_step(unsigned char byte) const {
  switch (byte) {
    case '{':
      return Step::whole(JsonTokenKind::kObjectBegin);
    case '}':
      return Step::whole(JsonTokenKind::kObjectEnd);
    case '[':
      return Step::whole(JsonTokenKind::kArrayBegin);
    case ']':
      return Step::whole(JsonTokenKind::kArrayEnd);
    case ':':
      return Step::whole(JsonTokenKind::kColon);
    case ',':
      return Step::whole(JsonTokenKind::kComma);
    case '"':
      return Step::move(State::kDoubleString);
    case '\'':
      return Step::move(State::kSingleString);
    case '-':
      return Step::move(State::kSign);
    case '0':
      return Step::move(State::kZero);
    case ' ':
    case '\t':
    case '\r':
    case '\n':
      return {Step::Action::kSkip};
    case '#':
      return options_.comments ? Step::move(State::kComment) : Step::stray();
    default:
      if (is_digit(byte)) return Step::move(State::kDigits);
      if (is_lower(byte)) return Step::move(State::kKeyword);
      return Step::stray();
  }
}

JsonLexer::Step JsonLexer::step(unsigned char byte) const {
  switch (state_) {
    case State::kStart:
      return start_step(byte);
    case State::kRecovery:
      if (ends_recovery(byte)) return {Step::Action::kSkip, State::kStart, {}, false};
      return {Step::Action::kSkip, State::kRecovery};
    case State::kDoubleString:
      if (byte == '"') return Step::whole(JsonTokenKind::kString);
      if (byte == '\\') return Step::move(State::kDoubleEscape);
      return in_string(byte) ? Step::move(State::kDoubleString) : Step::stray();
    case State::kDoubleEscape:
      return in_string(byte) ? Step::move(State::kDoubleString) : Step::stray();
    case State::kSingleString:
      if (byte == '\'') return Step::whole(JsonTokenKind::kString);
      if (byte == '\\') return Step::move(State::kSingleEscape);
      return in_string(byte) ? Step::move(State::kSingleString) : Step::stray();
    case State::kSingleEscape:
      return in_string(byte) ? Step::move(State::kSingleString) : Step::stray();
    case State::kSign:
      if (byte == '0') return Step::move(State::kZero);
      return is_digit(byte) ? Step::move(State::kDigits) : Step::stray();
    case State::kZero:
      if (is_digit(byte)) return Step::stray();
      if (byte == '.') return Step::move(State::kPoint);
      return Step::before(JsonTokenKind::kInteger);
    case State::kDigits:
      if (is_digit(byte)) return Step::move(State::kDigits);
      if (byte == '.') return Step::move(State::kPoint);
      if (byte == 'e' || byte == 'E') return Step::move(State::kExponent);
      return Step::before(JsonTokenKind::kInteger);
    case State::kPoint:
      return is_digit(byte) ? Step::move(State::kFraction) : Step::stray();
    case State::kFraction:
      if (is_digit(byte)) return Step::move(State::kFraction);
      if (byte == 'e' || byte == 'E') return Step::move(State::kExponent);
      return Step::before(JsonTokenKind::kFloat);
    case State::kExponent:
      if (byte == '+' || byte == '-') return Step::move(State::kExponentSign);
      return is_digit(byte) ? Step::move(State::kExponentDigits) : Step::stray();
    case State::kExponentSign:
      return is_digit(byte) ? Step::move(State::kExponentDigits) : Step::stray();
    case State::kExponentDigits:
      if (is_digit(byte)) return Step::move(State::kExponentDigits);
      return Step::before(JsonTokenKind::kFloat);
    case State::kKeyword:
      if (is_lower(byte)) return Step::move(State::kKeyword);
      return Step::before(JsonTokenKind::kKeyword);
    case State::kComment:
      if (byte != '\n') return Step::move(State::kComment);
      return Step::before(JsonTokenKind::kComment);
  }
  std::unreachable();
}

JsonToken JsonLexer::token(JsonTokenKind kind) {
  given_.swap(text_);
  text_.clear();
  return {kind, given_, token_offset_};
}

// Takes the plain bytes of a string at once; each would only stay in its state.
void JsonLexer::take_string_run(std::string_view& input) {
  const unsigned char quote = state_ == State::kDoubleString ? '"' : '\'';
  const size_t room = options_.max_token_bytes - std::min(options_.max_token_bytes, text_.size());
  size_t length = 0;
  while (length < input.size() && length < room) {
    unsigned char byte = static_cast<unsigned char>(input[length]);
    if (byte == quote || byte == '\\' || !in_string(byte)) break;
    ++length;
  }
  text_.append(input.substr(0, length));
  input.remove_prefix(length);
  offset_ += length;
}

std::optional<JsonToken> JsonLexer::next(std::string_view& input) {
  if (given_.capacity() > kKeptBytes) given_ = {};
  while (!input.empty()) {
    if (state_ == State::kDoubleString || state_ == State::kSingleString) {
      take_string_run(input);
      if (input.empty()) break;
    }
    const unsigned char byte = static_cast<unsigned char>(input.front());
    const Step taken = step(byte);
    if (taken.consume) {
      if (taken.action != Step::Action::kSkip) {
        if (text_.empty()) token_offset_ = offset_;
        text_.push_back(static_cast<char>(byte));
      }
      input.remove_prefix(1);
      ++offset_;
    }
    state_ = taken.state;
    if (taken.action == Step::Action::kToken) return token(taken.kind);
    if (text_.size() > options_.max_token_bytes) {
      text_ = {};
      state_ = State::kStart;
      return JsonToken{JsonTokenKind::kTooLong, {}, token_offset_};
    }
  }
  return std::nullopt;
}

std::optional<JsonToken> JsonLexer::finish() {
  const State before = state_;
  state_ = State::kStart;
  switch (before) {
    case State::kStart:
    case State::kRecovery:
      return std::nullopt;
    case State::kZero:
    case State::kDigits:
      return token(JsonTokenKind::kInteger);
    case State::kFraction:
    case State::kExponentDigits:
      return token(JsonTokenKind::kFloat);
    case State::kKeyword:
      return token(JsonTokenKind::kKeyword);
    case State::kComment:
      return token(JsonTokenKind::kComment);
    default:
      return token(JsonTokenKind::kStray);
  }
}

int32_t take_code_point(std::string_view& text) {
  const auto byte_at = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte_at(0);
  if (lead < 0x80) {
    text.remove_prefix(1);
    return lead == 0 ? -1 : lead;
  }
  if (lead < 0xC0 || lead > 0xFD) {
    text.remove_prefix(1);
    return -1;
  }
  const size_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF8 ? 4 : lead < 0xFC ? 5 : 6;
  int64_t code_point = lead & (0x7F >> length);
  size_t taken = 1;
  while (taken < length && taken < text.size() && (byte_at(taken) & 0xC0) == 0x80) {
    code_point = code_point << 6 | (byte_at(taken) & 0x3F);
    ++taken;
  }
  text.remove_prefix(taken);
  if (taken < length) return -1;
  constexpr int64_t kLowest[] = {0, 0, 0x80, 0x800, 0x10000, 0x200000, 0x4000000};
  if (length == 2 && code_point == 0) return 0;  // modified UTF-8's form of U+0000
  if (code_point < kLowest[length] || code_point > 0x10FFFF) return -1;
  if (code_point >= 0xD800 && code_point <= 0xDFFF) return -1;
  if ((code_point >= 0xFDD0 && code_point <= 0xFDEF) || (code_point & 0xFFFE) == 0xFFFE) return -1;
  return static_cast<int32_t>(code_point);
}

bool append_code_point(std::string& out, int32_t code_point) {
  const auto push = [&](int32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (code_point < 0 || code_point > 0x10FFFF) return false;
  if (code_point >= 0xD800 && code_point <= 0xDFFF) return false;
  if ((code_point >= 0xFDD0 && code_point <= 0xFDEF) || (code_point & 0xFFFE) == 0xFFFE) {
    return false;
  }
  if (code_point > 0 && code_point < 0x80) {
    push(code_point);
  } else if (code_point < 0x800) {
    push(0xC0 | code_point >> 6);
    push(0x80 | (code_point & 0x3F));
  } else if (code_point < 0x10000) {
    push(0xE0 | code_point >> 12);
    push(0x80 | (code_point >> 6 & 0x3F));
    push(0x80 | (code_point & 0x3F));
  } else {
    push(0xF0 | code_point >> 18);
    push(0x80 | (code_point >> 12 & 0x3F));
    push(0x80 | (code_point >> 6 & 0x3F));
    push(0x80 | (code_point & 0x3F));
  }
  return true;
}

namespace {

// The value of four hexadecimal digits at the front of `text`, or -1.
int32_t hex4(std::string_view text) {
  int32_t value = 0;
  if (text.size() < 4) return -1;
  for (char c : text.substr(0, 4)) {
    int digit;
    if (c >= '0' && c <= '9') {
      digit = c - '0';
    } else if (c >= 'a' && c <= 'f') {
      digit = c - 'a' + 10;
    } else if (c >= 'A' && c <= 'F') {
      digit = c - 'A' + 10;
    } else {
      return -1;
    }
    value = value << 4 | digit;
  }
  return value;
}

// Resolves \uXXXX, or a pair of surrogates, at the front of `rest` and removes it.
Result<> take_unicode_escape(std::string_view& rest, std::string& out) {
  int32_t code_point = hex4(rest.substr(2));
  size_t length = std::min<size_t>(rest.size(), 6);
  if (code_point >= 0xD800 && code_point <= 0xDBFF && rest.substr(6, 2) == "\\u") {
    const int32_t trailing = hex4(rest.substr(8));
    if (trailing >= 0xDC00 && trailing <= 0xDFFF) {
      code_point = 0x10000 + ((code_point & 0x3FF) << 10) + (trailing & 0x3FF);
      length = 12;
    }
  }
  if (!append_code_point(out, code_point)) {
    return fail(ErrorKind::kInvalidArgument,
                std::string(rest.substr(0, length)) + " is not a valid Unicode character");
  }
  rest.remove_prefix(length);
  return {};
}

}  // namespace

Result<std::string> json_string_content(std::string_view token) {
  std::string out;
  std::string_view rest = token.substr(1, token.size() - 2);
  out.reserve(rest.size());
  while (!rest.empty()) {
    const char c = rest.front();
    if (c == '\\') {
      switch (rest.size() > 1 ? rest[1] : '\0') {
        case '"':
        case '\'':
        case '\\':
        case '/':
          out.push_back(rest[1]);
          break;
        case 'b':
          out.push_back('\b');
          break;
        case 'f':
          out.push_back('\f');
          break;
        case 'n':
          out.push_back('\n');
          break;
        case 'r':
          out.push_back('\r');
          break;
        case 't':
          out.push_back('\t');
          break;
        case 'u':
          // The closing quote takes part, as QEMU's text shows it for an escape cut short.
          {
            std::string_view with_quote(rest.data(), rest.size() + 1);
            TRY(take_unicode_escape(with_quote, out));
            rest = with_quote.substr(0, with_quote.size() - 1);
          }
          continue;
        default:
          return fail(ErrorKind::kInvalidArgument, "invalid escape sequence in string");
      }
      rest.remove_prefix(2);
    } else if (static_cast<unsigned char>(c) < 0x80) {
      out.push_back(c);
      rest.remove_prefix(1);
    } else {
      const std::string_view before = rest;
      if (take_code_point(rest) < 0) {
        return fail(ErrorKind::kInvalidArgument, "invalid UTF-8 sequence in string");
      }
      out.append(before.substr(0, before.size() - rest.size()));
    }
  }
  return out;
}

}  // namespace firn::base
