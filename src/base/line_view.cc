#include "base/line_view.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/text_width.h"

namespace firn::base {
namespace {

constexpr std::string_view kEraseToEndOfRow = "\x1b[K";
constexpr std::string_view kEraseBelow = "\x1b[J";
constexpr size_t kMinColumns = 8;
constexpr size_t kMaxColumns = 2000;
constexpr size_t kMinRows = 2;
constexpr size_t kMaxRows = 1000;
// A character's marks beyond this are not shown.
constexpr size_t kMaxCellBytes = 32;

// Where the characters of a text go, row by row.
class Flow {
 public:
  explicit Flow(size_t columns) : columns_(columns) {}

  // Places a character of `width` columns; true if it begins a new row.
  bool place(size_t width) {
    const bool wraps = column_ + width > columns_;
    if (wraps) {
      ++row_;
      column_ = 0;
    }
    column_ += width;
    return wraps;
  }
  // Where a cursor before the next character stands. A wide character may yet go a column on.
  std::pair<size_t, size_t> cursor(size_t next_width) const {
    if (column_ + std::max<size_t>(next_width, 1) > columns_) return {row_ + 1, 0};
    return {row_, column_};
  }
  size_t row() const { return row_; }

 private:
  size_t columns_;
  size_t row_ = 0;
  size_t column_ = 0;
};

size_t shown_width(char32_t code) {
  const int width = code_point_width(code);
  return width < 0 ? 1 : static_cast<size_t>(width);
}

// Calls visit(bytes, width) for each character.
template <typename Visit>
void each_character(std::string_view text, Visit visit) {
  while (!text.empty()) {
    const std::string_view before = text;
    const char32_t code = take_utf8(text);
    std::string_view bytes = before.substr(0, before.size() - text.size());
    if (code_point_width(code) < 0 || code == kReplacementCharacter) bytes = "\uFFFD";
    visit(bytes, shown_width(code));
  }
}

}  // namespace

struct LineView::Layout {
  std::vector<Row> rows;
  size_t text_rows = 0;
  Place cursor;
};

void LineView::forget() {
  rows_.clear();
  text_rows_ = 0;
  place_ = {};
}

LineView::Layout LineView::lay_out(const Content& content) {
  Flow flow(columns_);
  each_character(content.prompt, [&](std::string_view, size_t width) { flow.place(width); });
  each_character(content.text.substr(0, content.cursor),
                 [&](std::string_view, size_t width) { flow.place(width); });
  std::string_view behind = content.text.substr(content.cursor);
  size_t next_width = 1;
  if (!behind.empty()) {
    std::string_view rest = behind;
    next_width = shown_width(take_utf8(rest));
  }
  const auto [cursor_row, cursor_column] = flow.cursor(next_width);
  each_character(behind, [&](std::string_view, size_t width) { flow.place(width); });
  const size_t total = std::max(flow.row(), cursor_row) + 1;
  const bool hinted = !content.hint.empty() && screen_rows_ > kMinRows;
  const size_t room = screen_rows_ - (hinted ? 1 : 0);
  const size_t visible = std::min(total, room);
  // The window moves no further than it must.
  first_row_ = std::min(first_row_, total - visible);
  if (cursor_row < first_row_) first_row_ = cursor_row;
  if (cursor_row >= first_row_ + visible) first_row_ = cursor_row + 1 - visible;

  Layout layout;
  layout.rows.resize(visible);
  layout.text_rows = visible;
  layout.cursor = {cursor_row - first_row_, cursor_column};
  Flow again(columns_);
  const auto place = [&](std::string_view bytes, size_t width, TextStyle style) {
    again.place(width);
    if (again.row() < first_row_ || again.row() >= first_row_ + visible) return;
    Row& row = layout.rows[again.row() - first_row_];
    if (width == 0) {
      if (!row.cells.empty() && row.cells.back().text.size() < kMaxCellBytes) {
        row.cells.back().text += bytes;
      }
      return;
    }
    row.cells.push_back({std::string(bytes), static_cast<uint8_t>(width), style});
    row.width += width;
  };
  each_character(content.prompt, [&](std::string_view bytes, size_t width) {
    place(bytes, width, TextStyle::kPrompt);
  });
  each_character(content.text, [&](std::string_view bytes, size_t width) {
    place(bytes, width, TextStyle::kPlain);
  });
  if (hinted) {
    Row& row = layout.rows.emplace_back();
    const std::string cut = cut_to_width(content.hint, columns_ - 1);
    each_character(cut, [&](std::string_view bytes, size_t width) {
      if (width == 0) return;
      row.cells.push_back({std::string(bytes), static_cast<uint8_t>(width), TextStyle::kHint});
      row.width += width;
    });
  }
  return layout;
}

void LineView::show(const Content& content, std::string& out) {
  Layout layout = lay_out(content);
  text_rows_ = layout.text_rows;
  for (size_t i = 0; i < layout.rows.size(); ++i) write_row(i, layout.rows[i], out);
  if (rows_.size() > layout.rows.size()) {
    go_to({layout.rows.size(), 0}, out);
    out += kEraseBelow;
  }
  rows_ = std::move(layout.rows);
  if (place_ != layout.cursor) go_to(layout.cursor, out);
}

void LineView::write_row(size_t index, const Row& row, std::string& out) {
  constexpr size_t kNone = 0;
  const bool is_new = index >= rows_.size();
  if (!is_new && rows_[index] == row) return;
  size_t same = kNone;
  size_t column = 0;
  if (!is_new) {
    const Row& shown = rows_[index];
    while (same < row.cells.size() && same < shown.cells.size() &&
           row.cells[same] == shown.cells[same]) {
      column += row.cells[same++].width;
    }
  }
  go_to({index, column}, out);
  TextStyle style = TextStyle::kPlain;
  for (size_t i = same; i < row.cells.size(); ++i) {
    const Cell& cell = row.cells[i];
    if (cell.style != style) set_style(style = cell.style, out);
    out += cell.text;
  }
  if (style != TextStyle::kPlain) set_style(TextStyle::kPlain, out);
  place_ = {index, row.width};
  const size_t shown_width = is_new ? 0 : rows_[index].width;
  if (shown_width > row.width) out += kEraseToEndOfRow;
  if (is_new) {
    rows_.resize(index + 1);
    rows_[index].width = row.width;
  }
}

void LineView::go_to(Place place, std::string& out) {
  if (place_ == place) return;
  // Beyond a full row, terminals differ in where the cursor is; only its row is sure.
  if (place_.column >= columns_ || place.column < place_.column) {
    if (place.column == 0 || place_.column >= columns_ || place_.row != place.row) {
      out += '\r';
      place_.column = 0;
    } else {
      fmt::format_to(std::back_inserter(out), "\x1b[{}D", place_.column - place.column);
      place_.column = place.column;
    }
  }
  if (place.row < place_.row) {
    fmt::format_to(std::back_inserter(out), "\x1b[{}A", place_.row - place.row);
  }
  if (place.row > place_.row) {
    // Rows that exist are gone down to; a line feed makes those that don't, and may scroll.
    const size_t last = rows_.empty() ? 0 : rows_.size() - 1;
    const size_t down = std::min(place.row, std::max(last, place_.row)) - place_.row;
    if (down != 0) fmt::format_to(std::back_inserter(out), "\x1b[{}B", down);
    const size_t feeds = place.row - place_.row - down;
    if (feeds != 0) {
      out += '\r';
      place_.column = 0;
      out.append(feeds, '\n');
    }
  }
  if (place.column > place_.column) {
    fmt::format_to(std::back_inserter(out), "\x1b[{}C", place.column - place_.column);
  }
  place_ = place;
}

void LineView::set_style(TextStyle style, std::string& out) {
  if (!colours_) return;
  switch (style) {
    case TextStyle::kPlain:
      out += "\x1b[0m";
      break;
    case TextStyle::kPrompt:
      out += "\x1b[0;1m";
      break;
    case TextStyle::kHint:
      out += "\x1b[0;2m";
      break;
  }
}

void LineView::erase(std::string& out) {
  if (rows_.empty()) return;
  go_to({0, 0}, out);
  out += kEraseBelow;
  forget();
}

void LineView::leave(std::string& out) {
  if (rows_.empty()) return;
  if (rows_.size() > text_rows_) {
    go_to({text_rows_, 0}, out);
    out += kEraseBelow;
    rows_.resize(text_rows_);
  }
  const Row& last = rows_.back();
  if (last.cells.empty() && rows_.size() > 1) {
    go_to({rows_.size() - 1, 0}, out);
  } else {
    go_to({rows_.size(), 0}, out);
  }
  forget();
}

void LineView::resize(size_t columns, size_t rows, std::string& out) {
  columns = std::clamp(columns, kMinColumns, kMaxColumns);
  screen_rows_ = std::clamp(rows, kMinRows, kMaxRows);
  if (columns == columns_ && rows_.size() <= screen_rows_) return;
  if (!rows_.empty()) {
    size_t above = 0;
    for (size_t i = 0; i < place_.row; ++i) {
      above += rows_[i].width == 0 ? 1 : (rows_[i].width + columns - 1) / columns;
    }
    above += std::min(place_.column, columns_ - 1) / columns;
    out += '\r';
    if (above != 0) fmt::format_to(std::back_inserter(out), "\x1b[{}A", above);
    out += kEraseBelow;
    forget();
  }
  columns_ = columns;
}

}  // namespace firn::base
