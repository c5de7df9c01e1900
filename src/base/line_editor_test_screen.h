// TestScreen: what a terminal would show. A small emulation of the sequences that line_view.h
// writes, with a terminal's habits: it wraps late (a full row keeps the cursor beyond its end),
// scrolls, and breaks rows anew when it gets narrower.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "base/text_width.h"

namespace firn::base {

class TestScreen {
 public:
  TestScreen(size_t columns, size_t rows) : columns_(columns), height_(rows) { rows_.resize(1); }

  void write(std::string_view bytes) {
    while (!bytes.empty()) {
      if (bytes.front() == '\x1b') {
        take_sequence(bytes);
        continue;
      }
      const char32_t code = take_utf8(bytes);
      switch (code) {
        case '\r':
          column_ = 0;
          break;
        case '\n':
          line_feed();
          break;
        case '\a':
          ++bells;
          break;
        default:
          put(code);
      }
    }
  }

  // Narrower: rows that don't fit are broken in several, as most terminals do.
  void resize(size_t columns, size_t rows) {
    std::vector<std::vector<std::string>> broken;
    size_t cursor_row = 0;
    for (size_t i = 0; i < rows_.size(); ++i) {
      if (i == row_) cursor_row = broken.size() + std::min(column_, columns_ - 1) / columns;
      std::vector<std::string>& cells = rows_[i];
      while (cells.size() > columns) {
        broken.emplace_back(cells.begin(), cells.begin() + static_cast<ptrdiff_t>(columns));
        cells.erase(cells.begin(), cells.begin() + static_cast<ptrdiff_t>(columns));
      }
      broken.push_back(cells);
    }
    column_ = std::min(column_, columns_ - 1) % columns;
    rows_ = std::move(broken);
    row_ = cursor_row;
    columns_ = columns;
    height_ = rows;
    rows_.resize(std::max(rows_.size(), row_ + 1));
  }

  // All rows, those scrolled off included, without blanks at their ends and empty rows at the end.
  std::string text() const {
    std::string out;
    for (const auto& row : rows_) {
      std::string line;
      for (const std::string& cell : row) line += cell;
      line.erase(line.find_last_not_of(' ') + 1);
      out += line + '\n';
    }
    while (out.ends_with("\n\n")) out.pop_back();
    if (out.ends_with('\n')) out.pop_back();
    return out;
  }
  size_t cursor_row() const { return row_; }
  size_t cursor_column() const { return std::min(column_, columns_ - 1); }

  int bells = 0;
  bool bracketed_paste = false;
  std::vector<std::string> unknown;  // sequences that the emulation doesn't have

 private:
  size_t top() const { return rows_.size() > height_ ? rows_.size() - height_ : 0; }

  void line_feed() {
    ++row_;
    if (row_ >= rows_.size()) rows_.resize(row_ + 1);
  }

  std::string& cell(size_t column) {
    std::vector<std::string>& row = rows_[row_];
    if (row.size() <= column) row.resize(column + 1, " ");
    return row[column];
  }

  void put(char32_t code) {
    const int width = code_point_width(code);
    if (width < 0) {
      unknown.push_back("control character");
      return;
    }
    if (width == 0) {
      if (column_ > 0) append_utf8(cell(column_ - 1), code);
      return;
    }
    if (column_ + static_cast<size_t>(width) > columns_) {
      column_ = 0;
      line_feed();
    }
    std::string& target = cell(column_);
    target.clear();
    append_utf8(target, code);
    if (width == 2) cell(column_ + 1).clear();
    column_ += static_cast<size_t>(width);
  }

  void take_sequence(std::string_view& bytes) {
    size_t end = 2;
    while (end < bytes.size() && (bytes[end] < 0x40 || bytes[end] == '[')) ++end;
    const std::string sequence(bytes.substr(0, std::min(end + 1, bytes.size())));
    bytes.remove_prefix(sequence.size());
    const std::string parameters = sequence.substr(2, sequence.size() - 3);
    const size_t number =
        parameters.empty() || parameters[0] == '?' ? 1 : std::stoul("0" + parameters);
    switch (sequence.back()) {
      case 'A':
        row_ = std::max(row_ - std::min(row_, number), std::min(top(), row_));
        break;
      case 'B':
        row_ = std::min(row_ + number, rows_.size() - 1);
        break;
      case 'C':
        column_ = std::min(column_ + number, columns_ - 1);
        break;
      case 'D':
        column_ = std::min(column_, columns_ - 1);
        column_ -= std::min(column_, number);
        break;
      case 'H':
        row_ = top();
        column_ = 0;
        break;
      case 'K':
        // In a full row the last character would go.
        rows_[row_].resize(std::min(rows_[row_].size(), std::min(column_, columns_ - 1)));
        break;
      case 'J':
        if (parameters == "2") {
          for (size_t i = top(); i < rows_.size(); ++i) rows_[i].clear();
        } else {
          rows_[row_].resize(std::min(rows_[row_].size(), std::min(column_, columns_ - 1)));
          for (size_t i = row_ + 1; i < rows_.size(); ++i) rows_[i].clear();
        }
        break;
      case 'h':
      case 'l':
        if (parameters == "?2004") bracketed_paste = sequence.back() == 'h';
        break;
      case 'm':
        break;
      default:
        unknown.push_back(sequence);
    }
  }

  size_t columns_;
  size_t height_;
  std::vector<std::vector<std::string>> rows_;  // a cell is a character, "" behind a wide one
  size_t row_ = 0;
  size_t column_ = 0;
};

}  // namespace firn::base
