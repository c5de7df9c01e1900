#include "base/json.h"

#include <boost/json/src.hpp>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <deque>
#include <utility>
#include <vector>

#include "base/json_lexer.h"

namespace firn::base {

namespace {

using boost::json::array;
using boost::json::object;

// Buffers that have grown beyond this are not kept: there can be many parsers.
constexpr size_t kKeptBytes = size_t{8} << 10;
// What a token becomes, beside its text: about a boost::json::value and its share of a table.
constexpr size_t kValueBytes = 40;

// The tokens of one value, in one buffer.
struct StoredToken {
  JsonTokenKind kind;
  size_t begin;
  size_t length;
};

struct TokenList {
  std::string text;
  std::vector<StoredToken> tokens;

  void add(const JsonToken& token) {
    tokens.push_back({token.kind, text.size(), token.text.size()});
    text += token.text;
  }
  size_t memory_bytes() const { return text.size() + tokens.size() * sizeof(StoredToken); }
  void clear() {
    if (text.capacity() > kKeptBytes) text = {};
    if (tokens.capacity() * sizeof(StoredToken) > kKeptBytes) tokens = {};
    text.clear();
    tokens.clear();
  }
};

std::unexpected<Error> parse_error(std::string_view what) {
  return fail(ErrorKind::kInvalidArgument, "JSON parse error, " + std::string(what));
}

// Builds a value from tokens whose brackets balance, or from what recovery left of one.
class Builder {
 public:
  explicit Builder(const TokenList& list) : list_(list) {}

  Result<JsonValue> value() {
    const StoredToken* token = take();
    if (!token) return parse_error("premature EOI");
    switch (token->kind) {
      case JsonTokenKind::kObjectBegin:
        return object_value();
      case JsonTokenKind::kArrayBegin:
        return array_value();
      case JsonTokenKind::kString: {
        auto content = json_string_content(text(*token));
        if (!content) return parse_error(content.error().text());
        return JsonValue(*content);
      }
      case JsonTokenKind::kInteger:
        return integer(text(*token));
      case JsonTokenKind::kFloat:
        return floating(text(*token));
      case JsonTokenKind::kKeyword:
        return keyword(text(*token));
      default:
        return parse_error("expecting value");
    }
  }

 private:
  const StoredToken* peek() const {
    return position_ < list_.tokens.size() ? &list_.tokens[position_] : nullptr;
  }
  const StoredToken* take() {
    const StoredToken* token = peek();
    if (token) ++position_;
    return token;
  }
  std::string_view text(const StoredToken& token) const {
    return std::string_view(list_.text).substr(token.begin, token.length);
  }

  Result<> member(object& into) {
    if (!peek()) return parse_error("premature EOI");
    JsonValue key = TRY(value());
    if (!key.is_string()) return parse_error("key is not a string in object");
    const StoredToken* colon = take();
    if (!colon) return parse_error("premature EOI");
    if (colon->kind != JsonTokenKind::kColon) return parse_error("missing : in object pair");
    JsonValue content = TRY(value());
    auto [place, inserted] = into.emplace(key.get_string(), std::move(content));
    if (!inserted) return parse_error("duplicate key");
    return {};
  }

  Result<JsonValue> object_value() {
    object result;
    const StoredToken* token = peek();
    if (token && token->kind == JsonTokenKind::kObjectEnd) {
      take();
      return result;
    }
    while (true) {
      TRY(member(result));
      token = take();
      if (!token) return parse_error("premature EOI");
      if (token->kind == JsonTokenKind::kObjectEnd) return result;
      if (token->kind != JsonTokenKind::kComma) return parse_error("expected separator in dict");
    }
  }

  Result<JsonValue> array_value() {
    array result;
    const StoredToken* token = peek();
    if (token && token->kind == JsonTokenKind::kArrayEnd) {
      take();
      return result;
    }
    while (true) {
      result.push_back(TRY(value()));
      token = take();
      if (!token) return parse_error("premature EOI");
      if (token->kind == JsonTokenKind::kArrayEnd) return result;
      if (token->kind != JsonTokenKind::kComma) return parse_error("expected separator in list");
    }
  }

  static Result<JsonValue> integer(std::string_view digits) {
    const char* end = digits.data() + digits.size();
    int64_t signed_value;
    if (std::from_chars(digits.data(), end, signed_value).ec == std::errc{}) return signed_value;
    uint64_t unsigned_value;
    if (digits.front() != '-' &&
        std::from_chars(digits.data(), end, unsigned_value).ec == std::errc{}) {
      return unsigned_value;
    }
    return floating(digits);
  }

  // What is beyond a double becomes an infinity.
  static JsonValue floating(std::string_view digits) {
    return std::strtod(std::string(digits).c_str(), nullptr);
  }

  static Result<JsonValue> keyword(std::string_view word) {
    if (word == "true") return true;
    if (word == "false") return false;
    if (word == "null") return nullptr;
    return parse_error("invalid keyword '" + std::string(word) + "'");
  }

  const TokenList& list_;
  size_t position_ = 0;
};

}  // namespace

struct JsonParser::State {
  explicit State(Limits given)
      : limits(given), lexer({.comments = false, .max_token_bytes = given.token_bytes}) {}

  Limits limits;
  JsonLexer lexer;
  TokenList tokens;
  int64_t braces = 0;
  int64_t brackets = 0;
  size_t value_bytes = 0;

  void reset() {
    braces = brackets = 0;
    value_bytes = tokens.text.size() + tokens.tokens.size() * kValueBytes;
    tokens.clear();
  }

  std::optional<Result<JsonValue>> limit_error(std::string text) {
    reset();
    return fail(ErrorKind::kInvalidArgument, std::move(text));
  }

  // Takes part of a value; gives it if the token ends it.
  std::optional<Result<JsonValue>> add(const JsonToken& token) {
    switch (token.kind) {
      case JsonTokenKind::kObjectBegin:
        ++braces;
        break;
      case JsonTokenKind::kObjectEnd:
        --braces;
        break;
      case JsonTokenKind::kArrayBegin:
        ++brackets;
        break;
      case JsonTokenKind::kArrayEnd:
        --brackets;
        break;
      case JsonTokenKind::kStray:
        reset();
        // As in QEMU, whose texts end at a zero byte.
        return parse_error("stray '" + std::string(token.text.substr(0, token.text.find('\0'))) +
                           "'");
      case JsonTokenKind::kTooLong:
        return limit_error("JSON token size limit exceeded");
      default:
        break;
    }
    if (tokens.text.size() + token.text.size() + 1 > limits.token_bytes) {
      return limit_error("JSON token size limit exceeded");
    }
    if (tokens.tokens.size() + 1 > limits.tokens) {
      return limit_error("JSON token count limit exceeded");
    }
    if (braces + brackets > static_cast<int64_t>(limits.depth)) {
      return limit_error("JSON nesting depth limit exceeded");
    }
    tokens.add(token);
    if ((braces > 0 || brackets > 0) && braces >= 0 && brackets >= 0) return std::nullopt;
    Result<JsonValue> value = Builder(tokens).value();
    reset();
    return value;
  }
};

JsonParser::JsonParser() : JsonParser(Limits{}) {}
JsonParser::JsonParser(Limits limits) : state_(std::make_unique<State>(limits)) {}
JsonParser::~JsonParser() = default;
JsonParser::JsonParser(JsonParser&&) noexcept = default;
JsonParser& JsonParser::operator=(JsonParser&&) noexcept = default;

size_t JsonParser::buffered_bytes() const {
  return state_->lexer.buffered_bytes() + state_->tokens.memory_bytes();
}
size_t JsonParser::value_bytes() const { return state_->value_bytes; }

std::optional<Result<JsonValue>> JsonParser::next(std::string_view& input) {
  while (auto token = state_->lexer.next(input)) {
    if (auto value = state_->add(*token)) return value;
  }
  return std::nullopt;
}

std::optional<Result<JsonValue>> JsonParser::finish() {
  while (auto token = state_->lexer.finish()) {
    if (auto value = state_->add(*token)) return value;
  }
  if (state_->tokens.tokens.empty()) return std::nullopt;
  Result<JsonValue> broken_off = Builder(state_->tokens).value();
  state_->reset();
  return broken_off;
}

Result<JsonValue> parse_json(std::string_view text) {
  JsonParser parser;
  std::optional<Result<JsonValue>> first = parser.next(text);
  if (!first) first = parser.finish();
  if (!first) return parse_error("expecting value");
  if (!*first) return *std::move(first);
  std::optional<Result<JsonValue>> second = parser.next(text);
  if (!second) second = parser.finish();
  if (second) return parse_error("there is more than one value");
  return *std::move(first);
}

namespace {

class Printer {
 public:
  Printer(std::string& out, JsonStyle style) : out_(out), pretty_(style == JsonStyle::kPretty) {}

  void value(const JsonValue& value) {
    switch (value.kind()) {
      case boost::json::kind::null:
        out_ += "null";
        break;
      case boost::json::kind::bool_:
        out_ += value.get_bool() ? "true" : "false";
        break;
      case boost::json::kind::int64:
        out_ += std::to_string(value.get_int64());
        break;
      case boost::json::kind::uint64:
        out_ += std::to_string(value.get_uint64());
        break;
      case boost::json::kind::double_: {
        if (std::isinf(value.get_double())) {
          // A number of JSON that readers turn into an infinity again.
          out_ += value.get_double() < 0 ? "-1e999" : "1e999";
          break;
        }
        char text[40];
        std::snprintf(text, sizeof text, "%.17g", value.get_double());
        out_ += text;
        break;
      }
      case boost::json::kind::string:
        append_json_string(out_, std::string_view(value.get_string()));
        break;
      case boost::json::kind::array: {
        begin('[');
        bool first = true;
        for (const JsonValue& element : value.get_array()) {
          separate(std::exchange(first, false));
          this->value(element);
        }
        end(']');
        break;
      }
      case boost::json::kind::object: {
        begin('{');
        bool first = true;
        for (const auto& member : value.get_object()) {
          separate(std::exchange(first, false));
          append_json_string(out_, std::string_view(member.key()));
          out_ += ": ";
          this->value(member.value());
        }
        end('}');
        break;
      }
    }
  }

 private:
  void begin(char bracket) {
    out_ += bracket;
    ++depth_;
  }
  void end(char bracket) {
    --depth_;
    if (pretty_) new_line();
    out_ += bracket;
  }
  void separate(bool first) {
    if (!first) out_ += pretty_ ? "," : ", ";
    if (pretty_) new_line();
  }
  void new_line() {
    out_ += '\n';
    out_.append(depth_ * 4, ' ');
  }

  std::string& out_;
  const bool pretty_;
  size_t depth_ = 0;
};

void append_escape(std::string& out, int32_t code_unit) {
  char text[8];
  std::snprintf(text, sizeof text, "\\u%04X", static_cast<unsigned>(code_unit));
  out += text;
}

}  // namespace

void append_json_string(std::string& out, std::string_view text) {
  out += '"';
  while (!text.empty()) {
    const char c = text.front();
    if (c >= 0x20 && c < 0x7F && c != '"' && c != '\\') {
      out += c;
      text.remove_prefix(1);
      continue;
    }
    if (c == '\0') {
      append_escape(out, 0);
      text.remove_prefix(1);
      continue;
    }
    int32_t code_point = take_code_point(text);
    if (code_point < 0) code_point = 0xFFFD;
    switch (code_point) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\b':
        out += "\\b";
        break;
      case '\f':
        out += "\\f";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        if (code_point > 0xFFFF) {
          append_escape(out, 0xD800 + ((code_point - 0x10000) >> 10));
          append_escape(out, 0xDC00 + ((code_point - 0x10000) & 0x3FF));
        } else {
          append_escape(out, code_point);
        }
    }
  }
  out += '"';
}

void append_json(std::string& out, const JsonValue& value, JsonStyle style) {
  Printer(out, style).value(value);
}

std::string print_json(const JsonValue& value, JsonStyle style) {
  std::string out;
  append_json(out, value, style);
  return out;
}

}  // namespace firn::base
