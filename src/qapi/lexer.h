// Tokens of the schema language: JSON's (base/json_lexer.h), with strings in apostrophes only, and
// comments.
#pragma once

#include <string>
#include <vector>

#include "base/json_lexer.h"
#include "qapi/source.h"

namespace firn::qapi {

enum class TokenKind : uint8_t {
  kBraceOpen,
  kBraceClose,
  kBracketOpen,
  kBracketClose,
  kColon,
  kComma,
  kString,
  kTrue,
  kFalse,
  kComment,
  kEnd,
};

struct Token {
  TokenKind kind;
  Span span;
  std::string text;  // kString: the content; kComment: the line from `#`; else empty
};

// All tokens of a file, closed by kEnd. What is no token is reported and left out.
std::vector<Token> tokenize(const SourceFile& file, Diagnostics& diagnostics);

// "'}'", "string", "end of file": what to call a token in a diagnostic.
std::string describe(const Token& token);

}  // namespace firn::qapi
