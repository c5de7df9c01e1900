#include "base/line_editor.h"

#include <gtest/gtest.h>

#include <chrono>
#include <random>

#include "base/line_editor_test_screen.h"

namespace firn::base {
namespace {

using EventKind = LineEditor::EventKind;

constexpr std::string_view kUp = "\x1b[A";
constexpr std::string_view kDown = "\x1b[B";
constexpr std::string_view kRight = "\x1b[C";
constexpr std::string_view kLeft = "\x1b[D";

std::string ctrl(char letter) { return std::string(1, static_cast<char>(letter - '@')); }

// An editor at a screen, and what it said.
class LineEditorTest : public testing::Test {
 protected:
  void open(size_t columns, LineEditor::Options options = {}, size_t rows = 24) {
    screen_ = TestScreen(columns, rows);
    editor_ = LineEditor(std::move(options));
    editor_.resize(columns, rows);
    editor_.start();
    screen_.write(editor_.take_output());
  }

  // Types, looks at the screen after each `piece_bytes`, and starts anew when a line has ended.
  void type(std::string_view bytes, size_t piece_bytes = 1) {
    while (!bytes.empty()) {
      std::string_view piece = bytes.substr(0, piece_bytes);
      bytes.remove_prefix(piece.size());
      while (!piece.empty()) {
        piece.remove_prefix(editor_.push(piece));
        while (auto event = editor_.next()) {
          events_.push_back(*event);
          if (event->kind == EventKind::kLine) editor_.add_history(event->line);
          if (!editor_.prompting() && event->kind != EventKind::kEnd) editor_.start();
        }
      }
      screen_.write(editor_.take_output());
    }
  }
  void type_whole(std::string_view bytes) { type(bytes, bytes.size()); }

  std::vector<std::string> lines() const {
    std::vector<std::string> found;
    for (const auto& event : events_) {
      if (event.kind == EventKind::kLine) found.push_back(event.line);
    }
    return found;
  }

  // The row of the cursor, with a bar where it stands.
  void expect_screen(std::string_view with_bar) {
    std::string text = screen_.text();
    std::vector<std::string> rows(1);
    for (const char byte : text) {
      if (byte == '\n') {
        rows.emplace_back();
      } else {
        rows.back() += byte;
      }
    }
    rows.resize(std::max(rows.size(), screen_.cursor_row() + 1));
    std::string& row = rows[screen_.cursor_row()];
    size_t at = 0;
    size_t column = 0;
    while (column < screen_.cursor_column()) {
      if (at == row.size()) row += ' ';
      std::string_view rest = std::string_view(row).substr(at);
      column += static_cast<size_t>(code_point_width(take_utf8(rest)));
      at = row.size() - rest.size();
    }
    row.insert(at, "|");
    std::string all;
    for (const std::string& each : rows) all += each + "\n";
    all.pop_back();
    EXPECT_EQ(with_bar, all);
    EXPECT_TRUE(screen_.unknown.empty()) << screen_.unknown.front();
  }

  TestScreen screen_{80, 24};
  LineEditor editor_;
  std::vector<LineEditor::Event> events_;
};

TEST_F(LineEditorTest, ALineIsTypedAndEntered) {
  open(40);
  expect_screen("> |");
  EXPECT_TRUE(screen_.bracketed_paste);
  type("query-block");
  expect_screen("> query-block|");
  type("\r");
  expect_screen("> query-block\n> |");
  EXPECT_EQ(std::vector<std::string>{"query-block"}, lines());
}

TEST_F(LineEditorTest, CarriageReturnLineFeedIsOneEnter) {
  open(40);
  type("a\r\nb\nc\r\rd");
  EXPECT_EQ((std::vector<std::string>{"a", "b", "c", ""}), lines());
  expect_screen("> a\n> b\n> c\n>\n> d|");
}

TEST_F(LineEditorTest, MovesAndErases) {
  open(40);
  type("one two three" + ctrl('A') + "X" + ctrl('E') + "Y" + std::string(kLeft) + ctrl('B') + "Z");
  expect_screen("> Xone two threZ|eY");
  type("\x7f" + ctrl('D') + ctrl('H'));
  expect_screen("> Xone two thr|Y");
  type("\x1b[H\x1b[3~\x1bOC" + ctrl('F') + "-\x1b[F.");
  expect_screen("> on-e two thrY.|");
  type(
      "\x1b"
      "b\x1b"
      "b!\x1b"
      "f?");
  expect_screen("> on-e !two?| thrY.");
  type("\x1b[1;5D,\x1b[1;5C;");
  expect_screen("> on-e !,two;|? thrY.");
}

TEST_F(LineEditorTest, KillsAndYanks) {
  open(40);
  type("one two three" + ctrl('W') + ctrl('W'));
  expect_screen("> one |");
  type(ctrl('Y'));  // both kills, one text
  expect_screen("> one two three|");
  type("\x1b\x7f" + ctrl('A') +
       "\x1b"
       "d");
  expect_screen("> | two");
  type(ctrl('E') + ctrl('U') + "a" + ctrl('Y') + ctrl('Y') + ctrl('A') + ctrl('K'));
  expect_screen("> |");
  type(ctrl('Y'));
  expect_screen("> a two  two |");
  type(ctrl('T') + std::string(kLeft) + std::string(kLeft) + ctrl('T'));
  expect_screen("> a two  t w|o");
}

TEST_F(LineEditorTest, WideAndCombiningCharacters) {
  open(40);
  type("雪e\u0301x");
  expect_screen("> 雪e\u0301x|");
  type(std::string(kLeft) + std::string(kLeft));
  expect_screen("> 雪|e\u0301x");
  type("\x7f");
  expect_screen("> |e\u0301x");
  type("\x1b[3~");
  expect_screen("> |x");
}

TEST_F(LineEditorTest, MalformedBytesBecomeReplacements) {
  open(40);
  type(
      "a\xff"
      "b\xe9\x9b"
      "c\xc0\xaf\xed\xa0\x80"
      "d\r");
  ASSERT_EQ(1u, lines().size());
  EXPECT_TRUE(
      lines()[0].starts_with("a\uFFFD"
                             "b\uFFFD"
                             "c\uFFFD"));
  EXPECT_TRUE(lines()[0].ends_with("d"));
}

TEST_F(LineEditorTest, ALongLineTakesRows) {
  open(10);
  type("abcdefgh");  // the row is just full
  expect_screen("> abcdefgh\n|");
  type("ijklmnopqrst");
  expect_screen("> abcdefgh\nijklmnopqr\nst|");
  type(ctrl('A') + "X");
  expect_screen("> X|abcdefg\nhijklmnopq\nrst");
  type(ctrl('E') + ctrl('W'));
  expect_screen("> |");
  type("abcdefg雪");  // does not fit behind the g
  expect_screen("> abcdefg\n雪|");
  type("\r");
  expect_screen("> abcdefg\n雪\n> |");
}

TEST_F(LineEditorTest, AFullRowIsLeftWithoutAGap) {
  open(10);
  type("abcdefgh\r");
  expect_screen("> abcdefgh\n> |");
}

TEST_F(LineEditorTest, ALineOfMoreRowsThanTheScreenShowsThoseAroundTheCursor) {
  open(10, {}, 3);
  type("abcdefgh0123456789ABCDEFGHIJ0123456789xyz");
  EXPECT_EQ(41u, editor_.line().size());
  type(ctrl('A'));
  EXPECT_NE(std::string::npos, screen_.text().find("> abcdefgh\n0123456789\nABCDEFGHIJ"));
  type(ctrl('E'));
  EXPECT_NE(std::string::npos, screen_.text().find("ABCDEFGHIJ\n0123456789\nxyz"));
}

TEST_F(LineEditorTest, HistoryUpAndDown) {
  open(40);
  type("one\rtwo\rtwo\r\rhalf");
  EXPECT_EQ(2u, editor_.history().size());
  type(std::string(kUp));
  expect_screen("> one\n> two\n> two\n>\n> two|");
  type(std::string(kUp) + std::string(kUp) + ctrl('P') + "!");
  expect_screen("> one\n> two\n> two\n>\n> one!|");
  type(std::string(kDown) + ctrl('N') + std::string(kDown));
  expect_screen("> one\n> two\n> two\n>\n> half|");
  type("\x1b<");
  EXPECT_EQ("one", editor_.line());
  type("\x1b>");
  EXPECT_EQ("half", editor_.line());
}

TEST_F(LineEditorTest, HistoryIsBounded) {
  open(40, {.max_history_lines = 3, .max_history_bytes = 10});
  for (const char* line : {"a", "b", "c", "d", "12345678", "123456789012"}) {
    editor_.add_history(line);
  }
  EXPECT_EQ((std::deque<std::string>{"c", "d", "12345678"}), editor_.history());
}

TEST_F(LineEditorTest, SearchesBackwards) {
  open(40);
  type("query-block\rquit\rquery-version\rx");
  type(ctrl('R') + "que");
  expect_screen("> query-block\n> quit\n> query-version\nsearch 'que': |query-version");
  type(ctrl('R'));
  EXPECT_EQ("query-block", editor_.line());
  type(ctrl('R'));
  EXPECT_TRUE(screen_.text().ends_with("no match, search 'que': query-block"));
  EXPECT_EQ(1, screen_.bells);
  type(ctrl('S'));
  EXPECT_EQ("query-version", editor_.line());
  type(ctrl('G'));
  EXPECT_EQ("x", editor_.line());
  type(ctrl('R') + "blo\r");
  EXPECT_EQ("query-block", lines().back());
  type(ctrl('R') +
       "zz\x7f\x7f"
       "qui" +
       ctrl('E') + "!");
  EXPECT_EQ("quit!", editor_.line());
  type(ctrl('C'));
  type("y" + ctrl('R') + "quit" + ctrl('C'));
  EXPECT_EQ("y", editor_.line());
}

TEST_F(LineEditorTest, APasteRunsNothing) {
  open(40);
  type("a \x1b[200~{\"x\":\r\n\t1}\nquit\n\x03\x1b[31m\x1b[201~");
  EXPECT_EQ("a {\"x\": 1} quit", editor_.line());
  EXPECT_TRUE(events_.empty());
  type("\r");
  EXPECT_EQ(std::vector<std::string>{"a {\"x\": 1} quit"}, lines());
}

TEST_F(LineEditorTest, InterruptEndAndSuspend) {
  open(40);
  type("abc" + ctrl('C'));
  expect_screen("> abc^C\n> |");
  type(ctrl('Z'));
  ASSERT_EQ(2u, events_.size());
  EXPECT_EQ(EventKind::kInterrupt, events_[0].kind);
  EXPECT_EQ(EventKind::kSuspend, events_[1].kind);
  type("x");
  editor_.suspend();
  screen_.write(editor_.take_output());
  expect_screen("> abc^C\n> x\n|");
  EXPECT_FALSE(screen_.bracketed_paste);
  screen_.write("[stopped]\r\n");
  editor_.resume();
  screen_.write(editor_.take_output());
  expect_screen("> abc^C\n> x\n[stopped]\n> x|");
  type("\x7f" + ctrl('D'));
  EXPECT_EQ(EventKind::kEnd, events_.back().kind);
  EXPECT_FALSE(editor_.prompting());
  EXPECT_FALSE(screen_.bracketed_paste);
}

TEST_F(LineEditorTest, IdleKeepsWhatIsTypedAndHearsCtrlC) {
  open(40);
  editor_.stop();
  EXPECT_EQ(4u, editor_.push("next"));
  EXPECT_FALSE(editor_.next());
  editor_.start();
  EXPECT_FALSE(editor_.next());
  EXPECT_EQ("next", editor_.line());
  editor_.stop();
  editor_.push("gone\r\x03kept");
  auto event = editor_.next();
  ASSERT_TRUE(event);
  EXPECT_EQ(EventKind::kInterrupt, event->kind);
  EXPECT_FALSE(editor_.next());
  editor_.start();
  EXPECT_FALSE(editor_.next());
  EXPECT_EQ("kept", editor_.line());
}

TEST_F(LineEditorTest, TextComesAboveThePrompt) {
  open(12);
  type("abcdefghijklmnop" + std::string(kLeft));
  editor_.print("EVENT one\nEVENT two\n");
  screen_.write(editor_.take_output());
  expect_screen("EVENT one\nEVENT two\n> abcdefghij\nklmno|p");
  editor_.print("no end");
  screen_.write(editor_.take_output());
  expect_screen("EVENT one\nEVENT two\nno end\n> abcdefghij\nklmno|p");
  editor_.stop();
  editor_.print("partial");
  editor_.start();
  screen_.write(editor_.take_output());
  EXPECT_TRUE(screen_.text().ends_with("klmnop\npartial\n>"));
}

TEST_F(LineEditorTest, AHintStandsBelow) {
  open(20);
  type("blo");
  editor_.set_hint("device size [node-name] and more");
  screen_.write(editor_.take_output());
  expect_screen("> blo|\ndevice size [node-…");
  type("ck");
  expect_screen("> block|\ndevice size [node-…");
  type("\r");
  expect_screen("> block\n> |");
}

TEST_F(LineEditorTest, WidthChanges) {
  for (const size_t columns : {size_t{12}, size_t{25}, size_t{60}}) {
    open(40);
    type("first\rabcdefghijklmnopqrstuvwxyz0123456789" + ctrl('B') + ctrl('B'));
    screen_.resize(columns, 24);
    editor_.resize(columns, 24);
    screen_.write(editor_.take_output());
    std::string expected = "> first\n";
    const std::string line = "> abcdefghijklmnopqrstuvwxyz012345678";
    for (size_t at = 0; at < line.size(); at += columns) {
      expected += line.substr(at, columns) + "\n";
    }
    expected.pop_back();
    const size_t at = screen_.text().find(expected);
    EXPECT_EQ(0u, at) << columns << "\n" << screen_.text();
    EXPECT_EQ(expected.size() + 1, screen_.text().size()) << columns << "\n" << screen_.text();
    EXPECT_EQ(1 + 36 / columns, screen_.cursor_row());
    EXPECT_EQ(36 % columns, screen_.cursor_column());
  }
}

LineEditor::Completion candidates(size_t from, const std::vector<std::string>& texts) {
  LineEditor::Completion completion{.from = from};
  for (const std::string& text : texts) {
    completion.candidates.push_back({.text = text, .suffix = " "});
  }
  return completion;
}

TEST_F(LineEditorTest, CompletesWhatIsCommon) {
  open(40);
  type("que\t");
  ASSERT_EQ(1u, events_.size());
  EXPECT_EQ(EventKind::kComplete, events_[0].kind);
  editor_.complete(candidates(0, {"query-block", "query-blockstats"}));
  EXPECT_EQ("query-block", editor_.line());
  editor_.complete(candidates(0, {"query-block", "query-blockstats"}));
  screen_.write(editor_.take_output());
  expect_screen("query-block       query-blockstats\n> query-block|");
  editor_.complete(candidates(0, {"query-block"}));
  editor_.complete({.from = editor_.cursor(), .candidates = {}});
  screen_.write(editor_.take_output());
  EXPECT_EQ("query-block ", editor_.line());
  EXPECT_EQ(1, screen_.bells);
}

TEST_F(LineEditorTest, CompletesInTheMiddleAndWholeCharacters) {
  open(40);
  type("x fi y" + std::string(kLeft) + std::string(kLeft) + "\t");
  editor_.complete(candidates(2, {"file"}));
  EXPECT_EQ("x file y", editor_.line());  // the space is there
  EXPECT_EQ(6u, editor_.cursor());
  type(ctrl('E') + ctrl('U') + "\t");
  editor_.complete(candidates(0, {"é", "è"}));  // they share a byte, not a character
  EXPECT_EQ("", editor_.line());
}

TEST_F(LineEditorTest, ListsInColumnsAndRowsWithinTheScreen) {
  open(20, {}, 6);
  editor_.complete(candidates(0, {"a1", "b2", "c3", "d4", "e5", "f6", "g7"}));
  screen_.write(editor_.take_output());
  expect_screen("a1  c3  e5  g7\nb2  d4  f6\n> |");
  std::vector<std::string> many;
  for (int i = 0; i < 100; ++i)
    many.push_back(std::string(1, static_cast<char>('a' + i % 26)) + std::to_string(i));
  editor_.complete(candidates(0, many));
  screen_.write(editor_.take_output());
  EXPECT_NE(std::string::npos, screen_.text().find("... and 88 more")) << screen_.text();
  LineEditor::Completion described{
      .candidates = {{.text = "size=", .description = "int"},
                     {.text = "device=", .description = "string\x1b[2J, optional"}}};
  editor_.complete(described);
  screen_.write(editor_.take_output());
  EXPECT_TRUE(screen_.text().ends_with("size=    int\ndevice=  string\uFFFD[2…\n>"))
      << screen_.text();
}

TEST_F(LineEditorTest, TheHelpKeyCountsOnlyWhereAWordBegins) {
  open(40, {.help_key = '?'});
  type("?a?\x7f ?b ?");
  ASSERT_EQ(3u, events_.size());
  for (const auto& event : events_) EXPECT_EQ(EventKind::kHelp, event.kind);
  EXPECT_EQ("a b ", editor_.line());
}

TEST_F(LineEditorTest, ALineBeyondTheLimitIsNotGiven) {
  open(40, {.max_line_bytes = 8});
  type("123456789\rok\r");
  ASSERT_EQ(2u, events_.size());
  EXPECT_EQ(EventKind::kTooLong, events_[0].kind);
  EXPECT_EQ("", events_[0].line);
  EXPECT_EQ("ok", events_[1].line);
}

TEST_F(LineEditorTest, StrangersCantKeepItBusy) {
  // The worst keys on the fullest editor: a search that goes to and fro through all of the history.
  LineEditor::Options options = LineEditor::for_strangers();
  const size_t pending = options.max_pending_bytes;
  LineEditor editor(std::move(options));
  for (int i = 0; i < 200; ++i) {
    editor.add_history(std::string(150, 'a') + std::to_string(i));
  }
  editor.start();
  std::string keys = ctrl('R') + std::string(80, 'a') + "b";
  while (keys.size() + 2 <= pending) keys += ctrl('R') + ctrl('S');
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(keys.size(), editor.push(keys));
  EXPECT_FALSE(editor.next());
  const auto took = std::chrono::steady_clock::now() - start;
  EXPECT_LT(took, std::chrono::seconds(2));
  EXPECT_EQ(pending, editor.room());
}

TEST_F(LineEditorTest, PendingInputIsBounded) {
  open(40, {.max_pending_bytes = 4});
  editor_.stop();
  EXPECT_EQ(4u, editor_.push("abcdef"));
  EXPECT_EQ(0u, editor_.room());
  editor_.start();
  EXPECT_FALSE(editor_.next());
  EXPECT_EQ(4u, editor_.room());
}

TEST_F(LineEditorTest, ClearsTheScreen) {
  open(40);
  type("a\rbc" + ctrl('L'));
  expect_screen("> bc|");
}

TEST_F(LineEditorTest, TypingWritesLittle) {
  open(40);
  type("abc");
  editor_.push("d");
  EXPECT_FALSE(editor_.next());
  EXPECT_EQ("d", editor_.take_output());
  EXPECT_EQ("", editor_.take_output());
}

TEST_F(LineEditorTest, ColoursOnlyWhenAsked) {
  LineEditor plain;
  plain.start();
  plain.set_hint("hint");
  EXPECT_EQ(std::string::npos, plain.take_output().find('m'));
  LineEditor coloured({.colours = true});
  coloured.start();
  EXPECT_NE(std::string::npos, coloured.take_output().find("\x1b[0;1m"));
}

// Whatever is typed, and however it is cut, the screen shows what it would if it were drawn at
// once, and the line is the same.
TEST_F(LineEditorTest, AnyBytesInAnyPieces) {
  std::mt19937 random(20111204);
  const std::vector<std::string> keys = {"a",
                                         "é",
                                         "雪",
                                         "e\u0301",
                                         " ",
                                         "\x7f",
                                         ctrl('A'),
                                         ctrl('E'),
                                         ctrl('B'),
                                         ctrl('F'),
                                         ctrl('K'),
                                         ctrl('U'),
                                         ctrl('W'),
                                         ctrl('Y'),
                                         ctrl('T'),
                                         ctrl('R'),
                                         ctrl('G'),
                                         "\r",
                                         std::string(kUp),
                                         std::string(kDown),
                                         std::string(kLeft),
                                         std::string(kRight),
                                         "\x1b",
                                         "\xff",
                                         "\xe9",
                                         "\x1b[200~",
                                         "\x1b[201~",
                                         "\x1b"
                                         "b",
                                         "\x1b"
                                         "f",
                                         "\x1b"
                                         "d",
                                         ctrl('C'),
                                         "\x1b[3~",
                                         "long word "};
  for (int round = 0; round < 150; ++round) {
    std::string bytes;
    for (int i = 0; i < 120; ++i) bytes += keys[random() % keys.size()];
    const size_t columns = 8 + random() % 20;
    open(columns);
    type(bytes, 1 + random() % 7);
    const std::string line = editor_.line();
    const std::string before = screen_.text();
    // Drawn from nothing below a mark, the rows are the same.
    editor_.print("#\n");
    screen_.write(editor_.take_output());
    std::string after = screen_.text();
    const size_t mark = after.rfind("#\n");
    ASSERT_NE(std::string::npos, mark);
    EXPECT_EQ(before, after.erase(mark, 2)) << "columns " << columns;
    EXPECT_TRUE(screen_.unknown.empty());
    open(columns);
    type_whole(bytes);
    EXPECT_EQ(line, editor_.line());
  }
}

}  // namespace
}  // namespace firn::base
