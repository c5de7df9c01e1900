// Text for manual pages: man(7), groff_char(7).
#pragma once

#include <string>
#include <string_view>

namespace firn::qapi::roff {

// Text as roff has to see it to print it as it is: backslashes, '-' (a minus, which can be copied
// and searched for), quotes and accents, dots and apostrophes at a line's start. UTF-8 beyond ASCII
// becomes \[uXXXX]. `line_start`: the text stands at the start of a line.
std::string escape(std::string_view text, bool line_start = true);

// The same for an argument of a macro, in its quotes.
std::string argument(std::string_view text);

// Escaped text in lines of at most 78 bytes, broken at blanks. A line that would start with what is
// a request there is kept from it.
std::string fill(std::string_view escaped);

}  // namespace firn::qapi::roff
