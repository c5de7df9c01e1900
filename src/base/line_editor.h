// LineEditor: editing a line on a terminal, without any I/O of its own.
//
// Its user moves the bytes: what the terminal (or a socket that behaves like one) sends goes into
// push(), what next() gives is acted on, and what take_output() gives is written to the terminal,
// which is in raw mode. All input may be hostile: any bytes, in any pieces. Memory is bounded by
// the options. So is time: a key costs up to a pass over the line, or over the history while it is
// searched; take_output() costs a pass over the line. A loop that serves others too, and strangers
// on a socket, chooses small bounds (for_strangers()).
//
//   editor.start();
//   for (;;) {
//     write(editor.take_output());
//     std::string_view bytes = read();
//     while (!bytes.empty()) {
//       bytes.remove_prefix(editor.push(bytes));
//       while (auto event = editor.next()) {
//         if (event->kind == LineEditor::EventKind::kLine) {
//           editor.add_history(event->line);
//           run(event->line);        // prints by editor.print(); bytes that come are pushed
//           editor.start();
//         } ...
//       }
//     }
//   }
//
// States. Idle: nothing is shown, and what is typed waits, but Ctrl-C is heard. Prompting, from
// start() to the event that ends the line: prompt and line are shown. kLine, kTooLong and kEnd end
// it; the other events leave it prompting.
//
// Keys: those of Emacs that shells have. Ctrl-A Home, Ctrl-E End: start and end. Ctrl-B Left,
// Ctrl-F Right: a character; Alt-B Ctrl-Left, Alt-F Ctrl-Right: a word. Backspace Ctrl-H, Delete
// Ctrl-D: erase. Ctrl-K, Ctrl-U: kill to the end, to the start; Ctrl-W: the word before, up to
// white space; Alt-Backspace, Alt-D: the word before, behind. Ctrl-Y: yank what was killed. Ctrl-T:
// swap two characters. Ctrl-L: clear the screen. Ctrl-P Up, Ctrl-N Down, Alt-<, Alt->: history;
// Ctrl-R, Ctrl-S: search in it, back and forth, Ctrl-G gives it up. Tab: completion. Ctrl-C:
// another line. Ctrl-D on an empty line: the end. Ctrl-Z: suspend. A paste (bracketed) is inserted
// and never runs anything: its line breaks become spaces.
//
// The line is UTF-8, without control characters; malformed bytes become U+FFFD. Characters have
// the width of text_width.h. A line longer than the terminal is wide takes several rows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/key_decoder.h"
#include "base/line_view.h"

namespace firn::base {

class LineEditor final {
 public:
  struct Options {
    std::string prompt = "> ";  // without control characters
    size_t max_line_bytes = size_t{64} << 10;
    size_t max_pending_bytes = size_t{64} << 10;  // pushed and not used yet
    size_t max_history_lines = 1000;
    size_t max_history_bytes = size_t{1} << 20;
    bool colours = false;         // a bold prompt, dim hints
    bool bracketed_paste = true;  // asks the terminal for it while prompting
    bool suspend_key = true;      // Ctrl-Z gives kSuspend; else it is ignored
    char help_key = 0;  // gives kHelp where a word would begin, at the line's end; 0: no such key
  };

  // Bounds for those whom a daemon does not know: a line of 4 KiB, a history of 32 KiB. What they
  // can make it do within one call of next() is then short.
  static Options for_strangers() {
    Options options;
    options.max_line_bytes = size_t{4} << 10;
    options.max_pending_bytes = size_t{4} << 10;
    options.max_history_lines = 200;
    options.max_history_bytes = size_t{32} << 10;
    options.suspend_key = false;
    return options;
  }

  enum class EventKind : uint8_t {
    kLine,       // Enter: `line`, without a line break. Idle now
    kTooLong,    // Enter on a line that outgrew max_line_bytes; nothing of it should run. Idle now
    kEnd,        // Ctrl-D on an empty line. Idle now
    kInterrupt,  // Ctrl-C. Prompting: the line is gone and a new one begun. Idle: what was typed
                 // before it is gone
    kComplete,   // Tab: answer with complete(), or not at all
    kHelp,       // the help key; it is not in the line
    kSuspend,    // Ctrl-Z: suspend(), stop the process, resume()
  };
  struct Event {
    EventKind kind;
    std::string line;
  };

  // What could stand at the cursor.
  struct Candidate {
    std::string text;         // replaces what stands from Completion::from to the cursor
    std::string suffix;       // inserted behind it if it is the only one: " ", "=", "/"
    std::string label;        // what the list shows; empty: the text
    std::string description;  // shown beside the label, one row each, if all rows fit
  };
  struct Completion {
    size_t from = 0;                    // an offset in line(), at most cursor()
    std::vector<Candidate> candidates;  // in the order of the list; all begin alike with what is
                                        // typed, but for case or quoting
  };

  LineEditor() : LineEditor(Options()) {}
  explicit LineEditor(Options options);

  // Input and output. ----------------------------------------------------------------------------

  // Takes bytes and gives their number: fewer than there are if room() is short. A user that can
  // wait reads no more until next() has made room; one that can't may drop the rest.
  size_t push(std::string_view bytes);
  size_t room() const;

  // The next event; nothing if what was pushed is used up, or waits because the editor is idle.
  std::optional<Event> next();

  // Bytes for the terminal since the last call. Call it after next() has given nothing, and before
  // waiting for more. Redraws only what changed.
  std::string take_output();

  // The line's life. -----------------------------------------------------------------------------

  // Idle: shows the prompt with an empty line, or with `line` to be edited, the cursor at its end.
  void start(std::string line = {});
  bool prompting() const { return prompting_; }

  // Prompting: leaves line and prompt on the screen, with the cursor below them. The editor is
  // idle; the line is gone.
  void stop();

  // As stop() and start(), but the line is kept: while another program has the terminal.
  void suspend();
  void resume();

  // Draws everything anew from the start of the cursor's row: after something else has written to
  // the terminal.
  void redraw();

  // The line being edited and the cursor's place in it, in bytes.
  const std::string& line() const { return line_; }
  size_t cursor() const { return cursor_; }

  // Replaces line and cursor.
  void set_line(std::string line, size_t cursor);

  void set_prompt(std::string prompt) { options_.prompt = std::move(prompt); }

  // One row of text below the line, until the line ends or the next call; empty: none. Set it after
  // next() has given nothing and before take_output(), from line() and cursor().
  void set_hint(std::string hint) { hint_ = std::move(hint); }

  // Answers kComplete: inserts what all candidates begin with; the only one gets its suffix; if
  // nothing was inserted, lists them above the line.
  void complete(const Completion& completion);

  // Text above the prompt (or at the cursor, if idle): results, events. May carry colours, but
  // nothing else that drives a terminal: pass what others wrote through printable(). Each \n is
  // sent as CR LF; the text should end in one.
  void print(std::string_view text);

  // The terminal's size (80 by 24 until told).
  void resize(size_t columns, size_t rows);

  // History, oldest first. -----------------------------------------------------------------------

  // Drops the oldest beyond the bounds; an empty line, and one that repeats the last, is not kept.
  void add_history(std::string_view line);
  const std::deque<std::string>& history() const { return history_; }

 private:
  struct Search {
    std::string query;
    size_t found;  // index in history_; history_.size(): none yet
    bool failed = false;
    bool none_before = false;  // no other line before `found` has it; the same behind
    bool none_behind = false;
    std::string saved_line;
    size_t saved_cursor;
  };
  enum class Mark : uint8_t { kNone, kKill };  // what the last key did

  std::optional<Event> take_key(const Key& key);
  std::optional<Event> take_control(char letter);
  void take_meta(char32_t code);
  std::optional<Event> end_line(EventKind kind);
  std::optional<Event> interrupt();
  bool take_help_key(const Key& key) const;

  void insert(std::string_view text);
  void take_paste(const Key& key);
  void erase(size_t from, size_t to);
  void kill(size_t from, size_t to, bool backwards);
  void transpose();
  size_t left_of(size_t at) const;
  size_t right_of(size_t at) const;
  size_t word_left(size_t at) const;
  size_t word_right(size_t at) const;
  size_t blank_word_left(size_t at) const;

  void go_in_history(size_t index);
  void begin_search(bool backwards);
  bool take_search_key(const Key& key);  // true if the search used it up
  void search_on(bool backwards, bool from_next);
  void end_search(bool keep);

  void list(const std::vector<Candidate>& candidates);
  void clear_line();
  void bell() { output_ += '\a'; }

  Options options_;
  KeyDecoder decoder_;
  LineView view_;
  std::string pending_;
  size_t pending_at_ = 0;  // what is before it is used up
  std::string output_;
  bool prompting_ = false;
  bool suspended_ = false;
  bool at_row_start_ = true;  // of what print() wrote last

  std::string line_;
  size_t cursor_ = 0;
  bool too_long_ = false;
  bool paste_break_ = false;  // a line break of a paste, that becomes a space if more comes
  std::string hint_;
  std::string killed_;
  Mark last_mark_ = Mark::kNone;
  Mark mark_ = Mark::kNone;

  std::deque<std::string> history_;
  size_t history_bytes_ = 0;
  size_t history_at_ = 0;     // history_.size(): the line being written
  std::string stashed_line_;  // that line, while an older one is shown
  std::optional<Search> search_;
};

}  // namespace firn::base
