// From files to definitions: syntax, documentation blocks, include and pragma. What the definitions
// mean is check.h's business.
#pragma once

#include <optional>
#include <unordered_set>
#include <vector>

#include "qapi/doc.h"
#include "qapi/node.h"
#include "qapi/pragma.h"
#include "qapi/source.h"

namespace firn::qapi {

// One top-level object of a schema file and the documentation block before it.
struct Definition {
  Node node;
  std::optional<Doc> doc;
  bool doc_broken = false;  // there is documentation, and an error was reported in it
};

// A documentation block of its own: text of the manual, between two definitions.
struct FreeDoc {
  Doc doc;
  size_t before = 0;  // the index of the definition that it stands before
};

struct ParsedSchema {
  std::vector<const SourceFile*> files;  // in the order in which their definitions stand
  std::vector<Definition> definitions;
  std::vector<FreeDoc> free_docs;  // in order
  Pragmas pragmas;

  // What errors swallowed, for less noise: names of definitions that could not be read, and whether
  // there may be more than those.
  std::unordered_set<std::string_view> lost_names;
  bool lost_files = false;

  TextStore store;  // owns what Nodes point at and no file has
};

// Parses `top` and what it includes. A file is read once, however often it is included; a file that
// includes itself, directly or not, is an error.
ParsedSchema parse_schema(SourceManager& sources, const SourceFile& top, Dialect dialect,
                          Diagnostics& diagnostics);

}  // namespace firn::qapi
