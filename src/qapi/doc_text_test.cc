#include "qapi/doc_text.h"

#include <gtest/gtest.h>

#include <random>

#include "qapi/parser.h"

namespace firn::qapi {
namespace {

// The tree in one line: kinds, and the text of what has text.
std::string show(const Inlines& inlines) {
  std::string out;
  for (const Inline& span : inlines) {
    constexpr const char* kMarks[] = {"", "L", "E", "S", "M", "R", "U"};
    const char* mark = kMarks[static_cast<int>(span.kind)];
    out += *mark ? std::string(mark) + "<" + span.text +
                       (span.target.empty() || span.target == span.text ? "" : "|" + span.target) +
                       ">"
                 : span.text;
  }
  return out;
}

std::string show(const Blocks& blocks);

std::string show(const Block& block) {
  constexpr const char* kNames[] = {"p",     "h",   "ul",    "ol",   "dl",
                                    "quote", "pre", "table", "note", "example"};
  std::string out = kNames[static_cast<int>(block.kind)];
  if (block.kind == BlockKind::kHeading) out += std::to_string(block.level);
  if (block.kind == BlockKind::kNumberedList) out += std::to_string(block.first_number);
  if (!block.name.empty()) out += "/" + block.name;
  if (!block.language.empty()) out += "/" + block.language;
  out += "(";
  out += show(block.text);
  out += block.literal;
  for (const ListItem& item : block.items) {
    out += "[" + (item.term.empty() ? "" : show(item.term) + ": ") + show(item.blocks) + "]";
  }
  for (const auto& row : block.rows) {
    out += "[";
    for (const Inlines& cell : row) out += show(cell) + ";";
    out += "]";
  }
  return out + show(block.blocks) + ")";
}

std::string show(const Blocks& blocks) {
  std::string out;
  for (const Block& block : blocks) out += (out.empty() ? "" : " ") + show(block);
  return out;
}

std::string text(std::string_view source) { return show(parse_doc_text(source)); }
std::string spans(std::string_view source) { return show(parse_inlines(source)); }

TEST(DocInlines, KnowTheirMarkup) {
  EXPECT_EQ(spans("a ``b  *c*`` *d e* **f** @g-h, @I."), "a L<b  *c*> E<d e> S<f> M<g-h>, M<I>.");
  EXPECT_EQ(spans("see `blockdev-add` and (`the text <block-core>`)"),
            "see R<blockdev-add> and (R<the text|block-core>)");
  EXPECT_EQ(spans("`name <https://e.org/a_b>`__, https://e.org/x?a=b. And <http://e.org>"),
            "U<name|https://e.org/a_b>, U<https://e.org/x?a=b>. And <U<http://e.org>>");
  EXPECT_EQ(spans(":doc:`The page </interop/page>`, :ref:`a-label` and :event:`STOP` :kbd:`^C`"),
            "The page, a-label and R<STOP> L<^C>");
  EXPECT_EQ(spans("two\n  lines\tand   more "), "two lines and more");
  EXPECT_EQ(spans("@__com.example_it.ok and @a- b"), "M<__com.example_it.ok> and M<a>- b");
}

TEST(DocInlines, LeaveEverythingElseAlone) {
  for (const char* plain :
       {"5 * 3 * 2", "a*b*c",       "*",      "**",     "``",          "`",
        "`` ``",     "*open",       "``open", "`open",  "@",           "user@host",
        "@@",        "a: b",        ":x",     ":role:", ":role:`",     "\\n is no escape",
        "http://",   "snake_case_", "[1]_",   "x`y`z",  "char *p, **q"}) {
    EXPECT_EQ(spans(plain), plain);
  }
  EXPECT_EQ(spans("\\*no\\* \\@x"), "*no* @x");
  EXPECT_EQ(spans(""), "");
}

TEST(DocText, TellsParagraphsFromQuotes) {
  EXPECT_EQ(text("a\nb\n\nc\n\n  d\n\n  e\n"), "p(a b) p(c) quote(p(d) p(e))");
  EXPECT_EQ(text(""), "");
  EXPECT_EQ(text("\n\n  x\n"), "p(x)");
  // A hanging paragraph of older schemas.
  EXPECT_EQ(text("Nothing, or an error,\n  if it fails"), "p(Nothing, or an error, if it fails)");
}

TEST(DocText, KnowsLists) {
  EXPECT_EQ(text("- a\n  b\n- c\n\n  d\n\n  * e\n\n* f"),
            "ul([p(a b)][p(c) p(d) ul([p(e)])][p(f)])");
  EXPECT_EQ(text("3. a\n4. b\n\n#. c"), "ol3([p(a)][p(b)][p(c)])");
  EXPECT_EQ(text("(1) a\n(2) b"), "ol1([p(a)][p(b)])");
  EXPECT_EQ(text("- lazy\ncontinued\n- b"), "ul([p(lazy continued)][p(b)])");
  EXPECT_EQ(text("as follows:\n- a\n- b\n\nend"), "p(as follows:) ul([p(a)][p(b)]) p(end)");
  EXPECT_EQ(text("1970-01-01 was\n- not a list"), "p(1970-01-01 was - not a list)");
  EXPECT_EQ(text("term\n  what it is\n\n*other*\n  this\n\n  and that"),
            "dl([term: p(what it is)][E<other>: p(this) p(and that)])");
}

TEST(DocText, KnowsLiteralText) {
  EXPECT_EQ(text("So::\n\n  a *b*\n\n    c\n\nend"), "p(So:) pre(a *b*\n\n  c\n) p(end)");
  EXPECT_EQ(text("So ::\n\n  a\n"), "p(So) pre(a\n)");
  EXPECT_EQ(text("p\n\n::\n\n  a\n"), "p(p) pre(a\n)");
  EXPECT_EQ(text("no block follows::\n\nx"), "p(no block follows::) p(x)");
  EXPECT_EQ(text("| a\n|   b\n|\n| c\n"), "pre(a\n  b\n\nc\n)");
  EXPECT_EQ(text("Traffic::\n\n  -> { }\n  <- { }"), "p(Traffic:) example(-> { }\n<- { }\n)");
  EXPECT_EQ(text(".. code-block:: json\n   :linenos:\n\n   { }\n"), "pre/json({ }\n)");
  EXPECT_EQ(text("+---+\n| a |\n+---+\n"), "pre(+---+\n| a |\n+---+\n)");
}

TEST(DocText, KnowsDirectives) {
  EXPECT_EQ(text(".. note:: one\n   two\n\n   three\n\nend"),
            "note/note(p(one two) p(three)) p(end)");
  EXPECT_EQ(text(".. caution::\n\n   careful"), "note/caution(p(careful))");
  EXPECT_EQ(text(".. admonition:: A *title*\n\n   body"), "note/admonition(A E<title>p(body))");
  EXPECT_EQ(text(".. versionadded:: 9.1"), "note/versionadded(p(9.1))");
  EXPECT_EQ(text(".. _label:\n\n.. a comment\n   of two lines\n\nx"), "p(x)");
  EXPECT_EQ(text(".. unknown:: thing\n   :opt: 1\n\n   body"),
            "pre(.. unknown:: thing\n   :opt: 1\n\n   body\n)");
  EXPECT_EQ(text("text\n.. note:: x"), "p(text) note/note(p(x))");
}

TEST(DocText, KnowsExamples) {
  EXPECT_EQ(text(".. qmp-example::\n\n   -> { 'a':\n        1 }\n   <- { }\n"),
            "example/example(-> { 'a':\n     1 }\n<- { }\n)");
  EXPECT_EQ(text(".. qmp-example::\n   :title: The @t\n\n   -> { }\n"),
            "example/example(The M<t>-> { }\n)");
  EXPECT_EQ(text(".. qmp-example::\n   :annotated:\n\n   First::\n\n     -> { }\n\n   - x\n"),
            "example/example(p(First:) example(-> { }\n) ul([p(x)]))");
  EXPECT_EQ(text("-> { 'a':\n     1 }\n\n<- {\n}\n\nend"),
            "example(-> { 'a':\n     1 }\n\n<- {\n}\n) p(end)");
}

TEST(DocText, KnowsTables) {
  EXPECT_EQ(text(".. table:: Title\n   :widths: auto\n\n   ===  =====\n   a    b\n   ===  =====\n"
                 "   c d  ``e``\n   f    g\n        h\n   ===  =====\n"),
            "p(Title) table([a;b;][c d;L<e>;][f;g h;])");
  EXPECT_EQ(text("==  ==\na   b\n==  ==\n"), "table([;;][a;b;])");
  EXPECT_EQ(text("==  ==\nno table\n"), "p(== == no table)");
}

TEST(DocText, KnowsHeadingsOfFreeTextOnly) {
  HeadingStyles styles;
  const auto free = [&](std::string_view source) { return show(parse_doc_text(source, &styles)); };
  EXPECT_EQ(free("= A\n\n== B c\n\nx"), "h1(A) h2(B c) p(x)");
  EXPECT_EQ(free("***\nTop\n***\n\nNext\n====\n\nx"), "h1(Top) h2(Next) p(x)");
  EXPECT_EQ(free("Deeper\n------\nOther\n====="), "h3(Deeper) h2(Other)");
  EXPECT_EQ(free("==  ==\na   b\n==  ==\n"), "table([;;][a;b;])");
  EXPECT_EQ(text("= A"), "p(= A)");
}

TEST(DocText, KnowsOldSections) {
  const auto section = [](std::string name, std::string text) {
    DocPart part;
    part.name = std::move(name);
    part.text = std::move(text);
    return show(parse_doc_section(part));
  };
  EXPECT_EQ(section("Example", "-> { }\n\ntext\n\n<- { }"),
            "example/example(-> { }\n\ntext\n\n<- { }\n)");
  EXPECT_EQ(section("Examples", "As so::\n\n  -> { }"), "p(As so:) example(-> { }\n)");
  EXPECT_EQ(section("Notes", "1. a\n2. b"), "note/note(ol1([p(a)][p(b)]))");
  EXPECT_EQ(section("Returns", "@X"), "p(M<X>)");
}

TEST(DocText, BoundsItsDepth) {
  std::string deep;
  for (int i = 0; i < 200; ++i) deep += std::string(static_cast<size_t>(i) * 2, ' ') + "- x\n\n";
  EXPECT_NE(text(deep).find("pre("), std::string::npos);
}

// Random markup, right and wrong: every word of it is in the plain text.
TEST(DocText, LosesNothing) {
  constexpr const char* kFragments[] = {
      "%",
      "- %",
      "* %",
      "1. %",
      "``%``",
      "*%*",
      "**%",
      "`%`",
      "@% %",
      "% ::",
      "::",
      "-> %",
      "<- {%}",
      "| %",
      "% %:",
      "==  ==",
      "+---+",
      "====",
      "= %",
      "`%",
      ":ref:`%`",
      "%`%`_",
      "% <%>",
      "`% <%>`_",
      "(%)",
      ".. note::",
      ".. note:: %",
      "#. %",
      ".. strange:: %",
      "\\%",
      "%,",
      "http://%.org",
  };
  std::mt19937 random(1);
  const auto pick = [&](size_t count) { return random() % count; };
  for (int round = 0; round < 2000; ++round) {
    std::string source;
    int words = 0;
    for (size_t line = 0; line < 3 + pick(10); ++line) {
      source += std::string(pick(3) * pick(4), ' ');
      for (size_t i = 0; i < pick(4); ++i) {
        for (char c : std::string(kFragments[pick(std::size(kFragments))])) {
          source += c == '%' ? "w" + std::to_string(++words) + "x" : std::string(1, c);
        }
        source += ' ';
      }
      source += '\n';
    }
    HeadingStyles styles;
    const std::string plain =
        to_plain_text(parse_doc_text(source, round % 2 ? &styles : nullptr), 40);
    for (int word = 1; word <= words; ++word) {
      ASSERT_NE(plain.find("w" + std::to_string(word) + "x"), std::string::npos)
          << "w" << word << "x is lost in:\n"
          << source << "which became:\n"
          << plain;
    }
  }
}

TEST(PlainText, FillsAndIndents) {
  EXPECT_EQ(to_plain_text(parse_doc_text("Uses @device, a ``str``, and `blockdev-add`.\n\n"
                                         "- one item that is long enough\n- two\n\n"
                                         ".. note:: Beware.\n\n"
                                         ".. qmp-example::\n   :title: T\n\n   -> { }\n\n"
                                         "term\n  what\n\nSo::\n\n  lit\n"),
                          24),
            "Uses device, a str, and\n"
            "blockdev-add.\n"
            "\n"
            "- one item that is long\n"
            "  enough\n"
            "- two\n"
            "\n"
            "Note: Beware.\n"
            "\n"
            "Example: T:\n"
            "\n"
            "    -> { }\n"
            "\n"
            "term\n"
            "    what\n"
            "\n"
            "So:\n"
            "\n"
            "    lit");
  EXPECT_EQ(to_plain_text(parse_inlines("`x <https://e.org>`_ https://e.org")),
            "x <https://e.org> https://e.org");
}

}  // namespace
}  // namespace firn::qapi
