// The program qapic, as a function.
#pragma once

#include <string>
#include <vector>

namespace firn::qapi {

// Runs `qapic ARGUMENTS...`; what it prints goes to `out` and `err`. Returns the exit status: 0
// done, 1 something is wrong with the schema or a file, 2 bad usage.
int run_command_line(const std::vector<std::string>& arguments, std::string& out, std::string& err);

}  // namespace firn::qapi
