// LineView: what a line editor shows, brought to a terminal with few bytes.
//
// The view occupies some rows of the screen, from where the cursor stood at the first show().
// It only moves relative to them, so it works anywhere on the screen and in its scrollback. The
// terminal's width must be known; lines are broken here, never by the terminal.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace firn::base {

enum class TextStyle : uint8_t { kPlain, kPrompt, kHint };

class LineView final {
 public:
  struct Content {
    std::string_view prompt;
    std::string_view text;
    size_t cursor = 0;      // an offset in `text`
    std::string_view hint;  // one row below the text, cut to the width; empty: no such row
  };

  explicit LineView(bool colours) : colours_(colours) {}

  // Appends to `out` what changes the screen from what it shows to `content`. A text of more rows
  // than the screen shows those around its cursor. O(length of the text), and writes only what
  // differs.
  void show(const Content& content, std::string& out);

  // Removes the view from the screen; the cursor is where it began.
  void erase(std::string& out);

  // Leaves on the screen what it shows but the hint; the cursor is at the start of the row below.
  void leave(std::string& out);

  // The screen was cleared, or somebody else wrote to it, and the cursor is at a row's start.
  void forget();

  // The terminal changed. Assumes, as most terminals do, that rows too long for the new width were
  // broken into several; erases and forgets.
  void resize(size_t columns, size_t rows, std::string& out);

  size_t columns() const { return columns_; }
  size_t screen_rows() const { return screen_rows_; }

 private:
  struct Cell {
    std::string text;  // a character with its marks; empty: the first half of nothing (padding)
    uint8_t width;
    TextStyle style;
    bool operator==(const Cell&) const = default;
  };
  struct Row {
    std::vector<Cell> cells;
    size_t width = 0;
    bool operator==(const Row&) const = default;
  };
  struct Place {
    size_t row = 0;
    size_t column = 0;
    bool operator==(const Place&) const = default;
  };
  struct Layout;

  Layout lay_out(const Content& content);
  void write_row(size_t index, const Row& row, std::string& out);
  void go_to(Place place, std::string& out);
  void set_style(TextStyle style, std::string& out);

  bool colours_;
  size_t columns_ = 80;
  size_t screen_rows_ = 24;
  std::vector<Row> rows_;  // on the screen
  size_t text_rows_ = 0;   // of them, those that are not the hint
  Place place_;            // of the cursor; column == columns_: beyond a full row
  size_t first_row_ = 0;   // of the text, that rows_ begins with
};

}  // namespace firn::base
