// A command's arguments as people write them, made into JSON by the server's own schema, and
// checked before they are sent. `firn qmp` and `firn shell` share it.
//
// What may be written, in any order:
//   key=value        a member; `a.b=value` a member of a member; `a.0.b=value` one of a list's
//   --key value      the same, as is --key=value
//   --key, --no-key  a boolean
//   {...}            members as JSON (also QMP's JSON with single quotes)
// A `-` in a key may be written as `_`, and the other way round.
//
// Values by type. Strings: as they are; "..." with JSON's quotes is taken as JSON. Integers:
// decimal, hexadecimal with 0x, or with a binary suffix (64k, 1.5G). Booleans: on, off, true,
// false, yes, no. Enumerations: one of the values. Lists: the same key again for each element, or
// JSON. Objects: JSON, or by their members. Where several types are possible, and where the schema
// says nothing: JSON if it can be read as such, else a string.
#pragma once

#include <boost/json/object.hpp>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "cli/live_schema.h"

namespace firn::cli {

class ArgumentParser final {
 public:
  // `command` may be nullptr, for a server without introspection: then nothing is checked, a flag
  // takes a value unless it is the last word or another flag follows, and all types are guessed.
  explicit ArgumentParser(const LiveCommand* command) : command_(command) {}

  // The `arguments` of the command. Errors are of kind kInvalidArgument, name the argument and what
  // it takes, and have a hint where something similar exists.
  base::Result<boost::json::object> parse(std::span<const std::string> words);

  // After an error: which of the words it is about; nothing if it is none of them.
  std::optional<size_t> wrong_word() const { return wrong_word_; }

 private:
  // A value for the member at `path`, as written.
  struct Setting {
    std::string path;  // from the arguments' object
    std::string text;
    std::optional<base::JsonValue> json;  // instead of the text
    size_t word;
  };
  class Builder;

  base::Result<> take_flag(std::span<const std::string> words, size_t& at);
  base::Result<> take_json(const std::string& word, size_t at);
  base::Result<> take_pair(const std::string& word, size_t at);
  bool is_flag_without_value(std::string_view path) const;

  const LiveCommand* command_;
  std::vector<Setting> settings_;
  std::optional<size_t> wrong_word_;
};

// Whether a command takes these arguments. Errors as check_value's.
base::Result<> check_arguments(const LiveCommand& command, const boost::json::object& arguments);

// Whether a value fits a type. The error names the member by its path from `path` on, and gives the
// path alone as its data, member "path".
base::Result<> check_value(const LiveType& type, const base::JsonValue& value,
                           const std::string& path);

// The types that the member at `path` (with dots) can have in an object, in whatever branch; those
// of the elements too, for a list. Empty: there is no such member. A path that ends in a dot gives
// the objects whose members may follow.
std::vector<const LiveType*> types_at(const LiveType& object, std::string_view path);

// The member that `written` names, with - and _ alike; nullptr if there is none.
const LiveMember* find_member(std::span<const LiveMember* const> members, std::string_view written);

// "string", "int", "bool", "one of 'a', 'b'", "list of string", "object with a, [b]": for errors,
// hints and help. Optional members stand in brackets.
std::string type_text(const LiveType& type);

}  // namespace firn::cli
