// A state as what a user would say to make the same again: for moving to another machine, for
// looking at, for starting anew without the file.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "state/contents.h"

namespace firn::state {

struct Definition {
  std::string option;           // of firnd: "--blockdev"
  std::string command;          // of QMP: "blockdev-add"; empty: there is none
  std::string arguments;        // a JSON object
  std::string option_text;      // for the option, where it does not take JSON; else empty
  std::string older_arguments;  // for the command, where it takes them otherwise; else empty
};

// In an order in which they can be carried out. Nodes that nobody named are inside those that use
// them. Errors: kCorrupt.
base::Result<std::vector<Definition>> definitions(const Contents& contents);

}  // namespace firn::state
