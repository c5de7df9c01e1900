// Text on a terminal: how many columns it takes, and what of it is safe to show.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace firn::base {

inline constexpr char32_t kReplacementCharacter = 0xFFFD;

// Columns that a character takes: 0 for marks and format characters, which join what stands before
// them, 2 for wide ones (CJK, emoji), -1 for control characters, else 1. By Unicode 14's tables;
// terminals differ on a few.
int code_point_width(char32_t code_point);

// Takes one character off the front of `text`, which is not empty. Malformed bytes, and the
// noncharacters and surrogates among the well-formed, give kReplacementCharacter.
char32_t take_utf8(std::string_view& text);

// Appends a character; one that UTF-8 has no form for as kReplacementCharacter.
void append_utf8(std::string& out, char32_t code_point);

// Columns of a whole text; control characters count 1.
size_t text_width(std::string_view text);

// The text with every control character and malformed byte replaced by U+FFFD, so that what a
// stranger wrote can't drive the terminal. Line breaks stay if `keep_line_breaks`.
std::string printable(std::string_view text, bool keep_line_breaks = false);

// The text if it fits in `columns`; else its beginning with an ellipsis.
std::string cut_to_width(std::string_view text, size_t columns);

}  // namespace firn::base
