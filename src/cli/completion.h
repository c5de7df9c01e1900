// Completion and hints for lines like `block_resize device=vda size=64M`, from a live schema. Knows
// no terminal and asks no server: what only a server knows (names) is for the caller to fill in.
#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/line_editor.h"
#include "cli/live_schema.h"
#include "cli/schema_docs.h"

namespace firn::cli {

// What an argument's value names.
enum class NameKind {
  kNone,
  kNode,     // a node of the block graph
  kDevice,   // a device, or a node in its place
  kExport,   // an export's id
  kJob,      // a job's id
  kObject,   // an object's id
  kChardev,  // a character device's id
  kFile,     // a file's path, on this machine
};

// A command of the shell itself, with its arguments.
struct ShellVerb {
  std::string_view name;
  std::string_view usage;
  std::string_view summary;
};

// Where the cursor stands in a line, and what could stand there.
struct CompletionPlan {
  base::LineEditor::Completion completion;
  // The candidates may include names of this kind, or a file's name. `typed` is what of it is there
  // already.
  NameKind names = NameKind::kNone;
  std::string typed;
};

CompletionPlan plan_completion(const LiveSchema& schema, std::span<const ShellVerb> verbs,
                               std::string_view line, size_t cursor);

// Adds to the descriptions of arguments what they are for, in a sentence.
void add_words(CompletionPlan& plan, const LiveSchema& schema, std::string_view line,
               const SchemaDocs& docs);

// Adds the names that begin with what is typed.
void add_names(CompletionPlan& plan, const std::vector<std::string>& names);

// Adds the files that what is typed begins. A relative path becomes an absolute one, since the
// daemon's directory need not be this one. Reads the directory.
void add_files(CompletionPlan& plan);

// One row about what is being typed: the arguments that are left ([optional]), the type of the
// argument at the cursor, or what is wrong. Empty: nothing to say.
std::string hint_for(const LiveSchema& schema, std::span<const ShellVerb> verbs,
                     std::string_view line, size_t cursor);

// Names of nodes, devices and so on, from what the query returned that query_of() names.
std::string_view query_of(NameKind kind);
std::vector<std::string> names_in(NameKind kind, const base::JsonValue& returned);

// The arguments that words set, by path with dots: `a=1`, `--a 1`, `--a=1`, and the strings at the
// top of JSON. For what is not finished; nothing is checked.
std::map<std::string, std::string> settings_of(const LiveCommand& command,
                                               std::span<const std::string> words);

// The value of the tag of the object at `path` (empty: the arguments), or empty.
std::string tag_at(const LiveType& object, const std::string& path,
                   const std::map<std::string, std::string>& settings);

// A type in a few characters: "str", "int", "on|off", "a|b|c", "{...}".
std::string short_type(const LiveType& type);

}  // namespace firn::cli
