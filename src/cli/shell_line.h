// A line of the shell: what it asks for.
#pragma once

#include <boost/json/object.hpp>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cli/completion.h"
#include "cli/live_schema.h"

namespace firn::cli {

// The shell's own commands.
std::span<const ShellVerb> shell_verbs();

struct ShellLine {
  enum class Kind { kNothing, kVerb, kCommand } kind = Kind::kNothing;
  std::string name;                // of the verb or the command
  std::vector<std::string> words;  // of a verb, those behind its name
  boost::json::object arguments;   // of a command
};

// Bytes of the line that an error is about.
struct Span {
  size_t begin = 0;
  size_t end = 0;
};

// Reads a line: a verb, a command with its arguments, or a QMP command as JSON,
// {"execute": ..., "arguments": ...}. A # begins a comment line. Commands are checked by `schema`,
// if there is one. On an error `wrong` says where, if that is known.
base::Result<ShellLine> read_shell_line(const LiveSchema* schema, std::string_view line,
                                        std::optional<Span>& wrong);

// Where in the line the word stands that a server's error names ("Cannot find device='x'", "Node
// 'x' not found"); nothing if it names none.
std::optional<Span> find_named_word(std::string_view line, std::string_view error_text);

// What `help` prints: without a name, an overview. Errors say what is near.
base::Result<std::string> help_text(const LiveSchema* schema, std::span<const std::string> words,
                                    size_t width);

}  // namespace firn::cli
