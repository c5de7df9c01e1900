// Hmp: the human monitor's lines. They are carried out by the QMP commands of the same meaning
// (hmp_commands.cc), so that both ways give the same results and errors, and one role and one audit
// log hold for both.
#pragma once

#include <string>
#include <vector>

#include "qmp/commands.h"
#include "qmp/hmp_args.h"
#include "qmp/hmp_caller.h"

namespace firn::qmp {

// What may stand at the cursor.
struct HmpCompletion {
  size_t start = 0;                     // where in the line the word under completion begins
  std::vector<std::string> candidates;  // whole words, sorted; those that fit what is there
};

class Hmp final {
 public:
  // `commands` outlives this.
  explicit Hmp(Commands& commands, HmpHost host = {}) : caller_(commands, host) {}

  // As Commands::taking().
  bool taking() const { return caller_.taking(); }

  // Runs one line and gives what a terminal shows: lines that end in \n, errors included
  // ("Error: ...", "unknown command: 'x'"). An empty line gives nothing.
  Task<std::string> run(std::string line);

  // Completes the last word of `line`, which ends at the cursor: commands, flags, and the names of
  // devices, nodes, exports, character devices and formats that there are, by QMP. Nothing of
  // files: whoever has a terminal beside the daemon completes those.
  Task<HmpCompletion> complete(std::string line);

 private:
  Task<std::string> help(std::string topic);
  Task<std::vector<std::string>> values_of(HmpArgType type);

  HmpCaller caller_;
};

}  // namespace firn::qmp
