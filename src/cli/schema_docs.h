// What Firn's own schema says in words about commands, events and their members. A live schema has
// no words; a server of another kind that has a command by the same name has QEMU's meaning of it
// too.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "base/json.h"

namespace firn::cli {

class SchemaDocs final {
 public:
  // Those of the schema that this program was built with; read at the first call.
  static const SchemaDocs& own();

  // `json_schema`: what qapic's back end json-schema makes.
  explicit SchemaDocs(base::JsonValue json_schema);
  ~SchemaDocs();
  SchemaDocs(const SchemaDocs&) = delete;
  SchemaDocs& operator=(const SchemaDocs&) = delete;

  // One paragraph or more, lines broken as they please; empty if nothing is known.
  std::string command(std::string_view name) const;
  std::string event(std::string_view name) const;
  // Of the argument at a path with dots, in whatever branch. Elements of lists count as their
  // list's members: "a.0.b".
  std::string argument(std::string_view command, std::string_view path) const;
  std::string event_member(std::string_view event, std::string_view path) const;

 private:
  std::string member(const std::string& definition, std::string_view path) const;

  std::unique_ptr<base::JsonValue> schema_;
};

// A text's first sentence, without its full stop.
std::string first_sentence(std::string_view text);

// Breaks a text into lines of `width` columns at most where it has blanks, each `indent` columns
// in.
std::string wrapped(std::string_view text, size_t indent, size_t width);

}  // namespace firn::cli
