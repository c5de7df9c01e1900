// Results, errors and events as people read them. What comes from the server is never sent to the
// terminal as it is: control characters in it show as U+FFFD.
#pragma once

#include <boost/json/fwd.hpp>
#include <cstddef>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/json.h"

namespace firn::cli {

struct TextOptions {
  bool colours = false;
  size_t width = 80;  // a table that is wider is printed as JSON instead
};

// What a command returned. A list of objects whose members are all plain is a table; a text is
// printed as it is; {} is empty; all else is indented JSON. Ends in a newline, if it is not empty.
std::string result_text(const base::JsonValue& value, const TextOptions& options);

// One line: the time, the event's name, its data as key=value.
std::string event_line(const boost::json::object& event, const TextOptions& options);

// An error: "error: text", the class of a server's error that is not GenericError, and the hint.
// `error_class` may be empty.
std::string error_text(const base::Error& error, std::string_view error_class,
                       const TextOptions& options);

// A row of marks below the bytes `begin` to `end` of a line that stands `indent` columns in.
std::string pointer_line(std::string_view line, size_t begin, size_t end, size_t indent,
                         const TextOptions& options);

}  // namespace firn::cli
