#include "qapi/lexer.h"

#include <gtest/gtest.h>

namespace firn::qapi {
namespace {

struct Lexed {
  std::vector<std::string> tokens;  // as describe() has them
  std::string said;
};

Lexed lex(std::string text, bool all_comments = false) {
  SourceManager sources;
  Diagnostics diagnostics;
  TextStore store;
  Lexer lexer(*sources.add("s.json", std::move(text)), store, diagnostics);
  Lexed out;
  for (Token token = lexer.next(all_comments); token.kind != TokenKind::kEnd;
       token = lexer.next(all_comments)) {
    out.tokens.push_back(describe(token));
  }
  out.said = diagnostics.print();
  return out;
}

TEST(Lexer, KnowsItsTokens) {
  const Lexed lexed = lex("{}[]:, 'a\\\\b'\ttrue\vfalse # no\n## yes\n\xC2\xA0''");
  EXPECT_EQ(lexed.said, "");
  EXPECT_EQ(lexed.tokens,
            (std::vector<std::string>{"'{'", "'}'", "'['", "']'", "':'", "','", "string 'a\\b'",
                                      "true", "false", "documentation", "string ''"}));
  EXPECT_EQ(lex("# one\n# two").tokens.size(), 0u);
  EXPECT_EQ(lex("# one\n# two", true).tokens.size(), 2u);
}

TEST(Lexer, SaysWhatIsNoToken) {
  EXPECT_EQ(lex("'a").said, "s.json:1:1: error: this string does not end on its line\n");
  EXPECT_EQ(lex("'a\\").said, "s.json:1:1: error: this string does not end on its line\n");
  EXPECT_EQ(lex("'a\\\n'").said.substr(0, 55),
            "s.json:1:1: error: this string does not end on its line");
  EXPECT_EQ(lex("'\\u0041").said,
            "s.json:1:2: error: unknown escape '\\u'\n"
            "s.json:1:4: error: stray '0041'\n");
  EXPECT_EQ(lex("'\x7F").said.substr(0, 36), "s.json:1:2: error: byte 0x7f in a st");
  EXPECT_EQ(lex(std::string("\0", 1)).said, "s.json:1:1: error: stray '\\x00'\n");
  EXPECT_EQ(lex(std::string(100, 'x')).said.substr(0, 67),
            "s.json:1:1: error: stray '" + std::string(40, 'x') + "'");
}

TEST(Lexer, SplitsAtEveryKindOfSpace) {
  EXPECT_EQ(space_length("\xE2\x80\xA8x"), 3u);
  EXPECT_EQ(space_length("\xE2\x82\xAC"), 0u);
  EXPECT_EQ(space_length("\x1F"), 1u);
  EXPECT_EQ(space_length(""), 0u);
  EXPECT_EQ(trim_end("a \xE3\x80\x80\t"), "a");
  EXPECT_EQ(trim_end(" \xC2\x85"), "");
  EXPECT_EQ(trim_end("\xA0\xA0"), "\xA0\xA0");
}

}  // namespace
}  // namespace firn::qapi
