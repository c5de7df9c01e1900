// JSON as QMP speaks it: a push parser that gives boost::json values, and a printer.
#pragma once

#include <boost/json/fwd.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace firn::base {

using JsonValue = boost::json::value;

// Reads a stream of JSON values, in whatever pieces it arrives. The language is json_lexer.h's
// (without comments); texts and recovery are QEMU's (qobject/json-*.c of 7.2), so a client sees the
// same answers. An error counts as one value and covers the input up to where recovery ends.
//
// Numbers: an integer is an int64_t if it fits, else a uint64_t, else a double; anything with a
// point or an exponent is a double, an infinite one beyond the range. Objects keep the order of
// their keys; a key that stands twice is an error. Strings are modified UTF-8 (see
// json_string_content).
//
// Limits, as QEMU's: 64 MiB for one token and for the tokens of one value together, 2 Mi tokens in
// a value, 1024 levels.
class JsonParser {
 public:
  struct Limits {
    size_t token_bytes = size_t{64} << 20;  // also for all tokens of a value
    size_t tokens = size_t{2} << 20;
    size_t depth = 1024;
  };

  JsonParser();
  explicit JsonParser(Limits limits);
  ~JsonParser();
  JsonParser(JsonParser&&) noexcept;
  JsonParser& operator=(JsonParser&&) noexcept;

  // Takes bytes off the front of `input` until a value or an error is complete. Nothing is returned
  // once `input` is used up. Call it in a loop:
  //   while (auto value = parser.next(bytes)) handle(*std::move(value));
  // Errors are of kind kInvalidArgument, for instance "JSON parse error, expecting value".
  std::optional<Result<JsonValue>> next(std::string_view& input);

  // The stream has ended: what only its end completes (a number, say), or an error for a value
  // that broke off. Call it until it gives nothing; the parser is as new afterwards.
  std::optional<Result<JsonValue>> finish();

  // Memory that the unfinished value takes, about.
  size_t buffered_bytes() const;
  // Memory that the value given last takes, about.
  size_t value_bytes() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Exactly one value in `text`, with nothing but white space around it.
Result<JsonValue> parse_json(std::string_view text);

enum class JsonStyle : uint8_t {
  kCompact,  // {"return": {}, "id": [1, 2]}
  kPretty,   // four spaces per level, one member or element a line; as QEMU's pretty=on
};

// ASCII only: other characters as \uXXXX. Keys in insertion order. A byte that is not UTF-8 prints
// as \uFFFD; doubles have 17 significant digits, infinite ones are 1e999. No newline at the end.
std::string print_json(const JsonValue& value, JsonStyle style = JsonStyle::kCompact);
void append_json(std::string& out, const JsonValue& value, JsonStyle style = JsonStyle::kCompact);

// The text as a JSON string, with quotes.
void append_json_string(std::string& out, std::string_view text);

}  // namespace firn::base
