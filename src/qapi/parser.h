// From files to definitions: syntax, documentation blocks, include and pragma. What the definitions
// mean is check.h's business.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "qapi/doc.h"
#include "qapi/source.h"

namespace firn::qapi {

// A piece of JSON as it stands in the schema.
struct Node {
  enum class Kind : uint8_t { kObject, kList, kString, kBool };
  struct Member;

  Kind kind = Kind::kObject;
  Span span;
  std::string text;             // kString
  bool boolean = false;         // kBool
  std::vector<Member> members;  // kObject, in order
  std::vector<Node> elements;   // kList

  const Member* member(std::string_view name) const;
  const char* kind_name() const;  // "object", "list", "string", "true or false"
};

struct Node::Member {
  std::string name;
  Span name_span;
  Node value;
};

// One top-level object of a schema file and the documentation block before it.
struct Definition {
  Node node;
  std::optional<Doc> doc;
};

// A documentation block of its own: text of the manual, between two definitions.
struct FreeDoc {
  Doc doc;
  size_t before = 0;  // the index of the definition that it stands before
};

struct Pragmas {
  bool doc_required = false;
  std::set<std::string, std::less<>> command_name_exceptions;
  std::set<std::string, std::less<>> command_returns_exceptions;
  std::set<std::string, std::less<>> documentation_exceptions;
  std::set<std::string, std::less<>> member_name_exceptions;
  // Firn's own. `role-type` names an enumeration, lowest role first, and allows a command the key
  // `role`, one of its values; `secret-members` allows a member the key `secret`. QEMU's generator
  // knows neither.
  std::string role_type;  // empty: none
  Span role_type_span;
  bool secret_members = false;
};

struct ParsedSchema {
  std::vector<const SourceFile*> files;  // in the order in which their definitions stand
  std::vector<Definition> definitions;
  std::vector<FreeDoc> free_docs;  // in order
  Pragmas pragmas;
};

// Parses `path` and what it includes. A file is read once, however often it is included; a file
// that includes itself, directly or not, is an error.
ParsedSchema parse_schema(SourceManager& sources, const SourceFile& top, Dialect dialect,
                          Diagnostics& diagnostics);

}  // namespace firn::qapi
