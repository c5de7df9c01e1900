#include "qapi/lexer.h"

#include <fmt/format.h>

#include <optional>

namespace firn::qapi {

namespace {

class Tokenizer {
 public:
  Tokenizer(const SourceFile& file, Diagnostics& diagnostics)
      : file_(file), diagnostics_(diagnostics) {}

  std::vector<Token> run() {
    std::string_view rest = file_.text;
    while (auto token = lexer_.next(rest)) add(*token);
    while (auto token = lexer_.finish()) add(*token);
    const uint32_t end = static_cast<uint32_t>(file_.text.size());
    tokens_.push_back({TokenKind::kEnd, {&file_, end, end}, {}});
    return std::move(tokens_);
  }

 private:
  void add(const base::JsonToken& token) {
    Span span{&file_, static_cast<uint32_t>(token.offset),
              static_cast<uint32_t>(token.offset + token.text.size())};
    const std::string text(token.text);
    switch (token.kind) {
      case base::JsonTokenKind::kObjectBegin:
        return push(TokenKind::kBraceOpen, span);
      case base::JsonTokenKind::kObjectEnd:
        return push(TokenKind::kBraceClose, span);
      case base::JsonTokenKind::kArrayBegin:
        return push(TokenKind::kBracketOpen, span);
      case base::JsonTokenKind::kArrayEnd:
        return push(TokenKind::kBracketClose, span);
      case base::JsonTokenKind::kColon:
        return push(TokenKind::kColon, span);
      case base::JsonTokenKind::kComma:
        return push(TokenKind::kComma, span);
      case base::JsonTokenKind::kComment:
        return push(TokenKind::kComment, span, text);
      case base::JsonTokenKind::kString:
        return add_string(span, text);
      case base::JsonTokenKind::kKeyword:
        if (text == "true") return push(TokenKind::kTrue, span);
        if (text == "false") return push(TokenKind::kFalse, span);
        return diagnostics_.error(
            span, fmt::format("unknown word '{}': names stand in apostrophes", text));
      case base::JsonTokenKind::kInteger:
      case base::JsonTokenKind::kFloat:
        return diagnostics_.error(span, "the schema language has no numbers");
      case base::JsonTokenKind::kStray:
      case base::JsonTokenKind::kTooLong:
        return add_stray(span, text);
    }
  }

  void add_string(const Span& span, const std::string& text) {
    if (text.front() == '"') {
      diagnostics_.error(span, "strings stand in apostrophes, not in quotation marks");
    }
    auto content = base::json_string_content(text);
    if (!content) {
      diagnostics_.error(span, content.error().text());
      content = text.substr(1, text.size() - 2);
    }
    push(TokenKind::kString, span, *std::move(content));
  }

  void add_stray(Span span, const std::string& text) {
    if (text.starts_with('\'') || text.starts_with('"')) {
      span.end = span.begin + 1;
      return diagnostics_.error(span, "this string does not end on its line");
    }
    diagnostics_.error(span, fmt::format("stray '{}'", text));
  }

  void push(TokenKind kind, const Span& span, std::string text = {}) {
    tokens_.push_back({kind, span, std::move(text)});
  }

  const SourceFile& file_;
  Diagnostics& diagnostics_;
  base::JsonLexer lexer_{{.comments = true}};
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(const SourceFile& file, Diagnostics& diagnostics) {
  return Tokenizer(file, diagnostics).run();
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
      return "string '" + token.text + "'";
    case TokenKind::kTrue:
      return "true";
    case TokenKind::kFalse:
      return "false";
    case TokenKind::kComment:
      return "comment";
    case TokenKind::kEnd:
      return "end of file";
  }
  return {};
}

}  // namespace firn::qapi
