// The words of a line that people type.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace firn::cli {

// One word. Quotes ('...', "...") and backslashes are taken off, as a shell does; but JSON, in
// braces or brackets at a word's start or behind its `=`, stays whole with its blanks and quotes.
struct ShellWord {
  std::string text;
  size_t begin = 0;  // its place in the line
  size_t end = 0;
  bool open = false;  // the line ended within quotes or JSON
};

// Never fails: what is open is the last word.
std::vector<ShellWord> split_words(std::string_view line);

// The text as it has to be typed to be that word's text, or the part of it behind `=`.
std::string quote_word(std::string_view text);

}  // namespace firn::cli
