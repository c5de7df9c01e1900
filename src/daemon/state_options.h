// The command line beside a state file: what of it was carried out once is not carried out again.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "daemon/options.h"
#include "state/contents.h"

namespace firn::daemon {

// An option as the state knows it.
struct StateOption {
  state::OptionRecord record;
  std::string id;  // of what it makes
  // What to record beside it; for nodes, devices and exports the recorder looks itself.
  std::optional<state::Thing> thing;
  // It uses something that ends with the process (a descriptor, the standard streams): it is
  // carried out at every start, and never recorded.
  bool is_bound_to_process = false;
};

// Errors: those of reading the option.
base::Result<StateOption> read_state_option(const Option& option);

// Decides what becomes of each option, in their order.
class StateOptions final {
 public:
  enum class Verdict {
    kCarryOut,  // and record it
    kBound,     // carry it out, record nothing
    kSkip,      // it has been carried out
  };

  StateOptions(std::string state_path, const state::Contents& contents);

  // Errors: an option that is not among those that the file was made with.
  base::Result<Verdict> judge(const StateOption& option);

 private:
  std::string path_;
  bool complete_ = false;
  std::vector<state::OptionRecord> recorded_;  // those that have not been met yet
  std::set<std::string> present_;              // "--device vda": what there is already
  std::set<std::string> bound_chardevs_;
};

}  // namespace firn::daemon
