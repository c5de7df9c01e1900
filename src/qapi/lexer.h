// Tokens of the schema language. It looks like JSON with strings in apostrophes and comments, and
// is narrower: strings hold printable ASCII and know no escape but `\\`, there are no numbers and
// no null (QEMU, docs/devel/qapi-code-gen, section "Schema syntax").
#pragma once

#include <deque>
#include <string>
#include <string_view>

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
  kComment,  // from `#` to the end of its line
  kEnd,
  kBad,  // no token: it has been reported
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  Span span;
  std::string_view text;  // kString: the content; kComment: the line from `#`; else empty
};

// Text that is in no file as it is, at a place where it stays.
using TextStore = std::deque<std::string>;

// Reads a file's tokens one after the other. A token's text points into the file, or into `store`
// where it has escapes.
class Lexer {
 public:
  Lexer(const SourceFile& file, TextStore& store, Diagnostics& diagnostics)
      : file_(file), text_(file.text), store_(store), diagnostics_(diagnostics) {}

  // Where `other` stands, telling somebody else.
  Lexer(const Lexer& other, Diagnostics& diagnostics)
      : file_(other.file_),
        text_(other.text_),
        store_(other.store_),
        diagnostics_(diagnostics),
        position_(other.position_) {}

  // The next token. Of comments only those that start with `##` are tokens, or all of them.
  Token next(bool all_comments = false);

  // Goes on, after an error, at the next line that starts with `{` or `##`, if not with this one
  // from `start` on.
  void skip_to_definition(uint32_t start);

 private:
  Token token(TokenKind kind, size_t end);
  Token string();
  Token bad(size_t begin, size_t end, std::string text, std::string hint = {});
  Token stray();

  const SourceFile& file_;
  const std::string_view text_;
  TextStore& store_;
  Diagnostics& diagnostics_;
  size_t position_ = 0;
};

// Length in bytes of the white space character at the front of `text`, or 0: what Python's
// str.isspace() takes for one.
size_t space_length(std::string_view text);
std::string_view trim_end(std::string_view text);

// "'}'", "string 'x'", "the end of the file": what to call a token in a diagnostic.
std::string describe(const Token& token);

}  // namespace firn::qapi
