// Looking at a state file that somebody else may be using.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "state/contents.h"
#include "state/files.h"

namespace firn::state {

struct View {
  Contents contents;
  std::vector<std::string> damage;  // what SQLite's integrity check finds
};

// What the file at `path` holds, with the changes that are under way still open. Nothing of it is
// locked or changed: the file and its log are copied first, so that a daemon at work goes on with
// them. Blocks. Errors: those of Database::open; kBusy if the daemon writes faster than we copy.
base::Result<View> view(Files& files, const std::string& path);

// One thing that is wrong, or will be in the way of a start.
struct Finding {
  bool is_error = true;  // false: a start goes on, but a person should know
  std::string text;
  std::string hint;
};

// What a start would find: files that are gone or were changed, references that lead nowhere,
// changes that were under way, seals that failed. Blocks.
std::vector<Finding> check(Files& files, const View& view);

// As `check` does for one file: empty, or why the node's file is not what the state says.
std::string check_file(Files& files, const NodeRecord& node, bool same_boot);

}  // namespace firn::state
