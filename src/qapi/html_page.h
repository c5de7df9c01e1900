// The frame of the HTML manual: head, style and script, all in the page itself.
#pragma once

#include <string>
#include <string_view>

namespace firn::qapi::html {

// Text for HTML, in content and in attributes within double quotes.
std::string escape(std::string_view text);

struct Page {
  std::string_view title;
  std::string_view contents;  // HTML: nested lists of links
  std::string_view body;      // HTML: what stands in <main>
};
std::string print(const Page& page);

}  // namespace firn::qapi::html
