// Tokens of JSON as QMP and the schema language write it.
//
// Beyond RFC 8259: strings may stand in apostrophes, `\'` is an escape, and with `comments` a `#`
// starts a comment that ends before the next newline (the schema language). The lexer accepts any
// escape and any keyword of lower-case letters; judging them is left to the parser.
//
// Recovery follows QEMU's: after a stray byte everything is skipped up to a structural character
// ([ ] { } : ,), a control character other than tab, or a byte 0xFE or 0xFF, which a client may
// send to force a known state.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace firn::base {

enum class JsonTokenKind : uint8_t {
  kObjectBegin,  // {
  kObjectEnd,    // }
  kArrayBegin,   // [
  kArrayEnd,     // ]
  kColon,
  kComma,
  kInteger,
  kFloat,
  kKeyword,  // [a-z]+
  kString,   // with its quotes, escapes untouched
  kComment,  // from `#` to the end of the line, if comments are asked for
  kStray,    // what can't start or continue a token, with what was read of it
  kTooLong,  // a token beyond the limit; its text is not kept
};

struct JsonToken {
  JsonTokenKind kind;
  std::string_view text;  // valid until the lexer's next call
  uint64_t offset;        // of its first byte, counted over everything that the lexer was fed
};

class JsonLexer {
 public:
  struct Options {
    bool comments = false;
    size_t max_token_bytes = size_t{64} << 20;
  };

  JsonLexer() = default;
  explicit JsonLexer(Options options) : options_(options) {}

  // Takes bytes off the front of `input` until a token is complete. Without one, `input` is empty
  // afterwards and the lexer waits, in the middle of a token or between two, for more.
  std::optional<JsonToken> next(std::string_view& input);

  // The end of the input: the token that only the next byte would have ended, or kStray for one
  // that is not whole. Call it until it gives nothing. The lexer is as new afterwards.
  std::optional<JsonToken> finish();

  // Of the token that is being read.
  size_t buffered_bytes() const { return text_.size(); }

 private:
  enum class State : uint8_t {
    kStart,
    kRecovery,
    kDoubleString,
    kDoubleEscape,
    kSingleString,
    kSingleEscape,
    kSign,
    kZero,
    kDigits,
    kPoint,
    kFraction,
    kExponent,
    kExponentSign,
    kExponentDigits,
    kKeyword,
    kComment,
  };
  struct Step;

  Step step(unsigned char byte) const;
  Step start_step(unsigned char byte) const;
  JsonToken token(JsonTokenKind kind);
  void take_string_run(std::string_view& input);

  Options options_;
  State state_ = State::kStart;
  std::string text_;           // of the token being read
  std::string given_;          // of the token that was returned last
  uint64_t offset_ = 0;        // bytes taken so far
  uint64_t token_offset_ = 0;  // where text_ begins
};

// The content of a string token: quotes off, escapes resolved, UTF-8 checked. The result is
// modified UTF-8: U+0000 becomes the bytes C0 80, so that no name is cut short at a zero byte.
// Errors carry QEMU's texts without the prefix "JSON parse error, ".
Result<std::string> json_string_content(std::string_view token);

// Decodes one code point of modified UTF-8 from the front of `text` and removes it. Returns -1,
// having removed the malformed bytes, for overlong forms, surrogates and noncharacters.
int32_t take_code_point(std::string_view& text);

// Appends a code point as modified UTF-8. Returns false, and appends nothing, if it is no
// character.
bool append_code_point(std::string& out, int32_t code_point);

}  // namespace firn::base
