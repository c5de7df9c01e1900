// Pragmas: what a schema says of itself. They hold for all files, whatever stands before or behind
// them; where one is given twice, the last one counts.
#pragma once

#include <string>
#include <string_view>
#include <unordered_set>

#include "qapi/doc.h"
#include "qapi/node.h"

namespace firn::qapi {

using NameSet = std::unordered_set<std::string_view>;

struct Pragmas {
  bool doc_required = false;
  NameSet command_name_exceptions;     // commands that may have '_' in their names
  NameSet command_returns_exceptions;  // commands that may return what is no object
  NameSet documentation_exceptions;    // definitions whose members may lack documentation
  NameSet member_name_exceptions;  // types whose members may have '_' and upper case in their names
  // Firn's own. `role-type` names an enumeration, lowest role first, and allows a command the key
  // `role`, one of its values; `secret-members` allows a member the key `secret`. QEMU's generator
  // knows neither.
  std::string role_type;  // empty: none
  Span role_type_span;
  bool secret_members = false;
};

// Takes in the value of a `pragma` directive that starts at `start`. Strings in `pragmas` point
// into `value`'s.
void read_pragma(const Node& value, const Span& start, Dialect dialect, Pragmas& pragmas,
                 Diagnostics& diagnostics);

}  // namespace firn::qapi
