// qapic: the compiler of QAPI schemas.
#include <cstdio>
#include <string>
#include <vector>

#include "qapi/command_line.h"

int main(int argc, char** argv) {
  std::string out;
  std::string err;
  const int status =
      firn::qapi::run_command_line(std::vector<std::string>(argv + 1, argv + argc), out, err);
  std::fputs(err.c_str(), stderr);
  if (std::fputs(out.c_str(), stdout) == EOF || std::fflush(stdout) != 0) {
    std::perror("qapic: error: cannot write to standard output");
    return status == 0 ? 1 : status;
  }
  return status;
}
