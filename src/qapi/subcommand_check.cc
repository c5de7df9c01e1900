// qapic check
#include "qapi/compiler.h"
#include "qapi/subcommand.h"

namespace firn::qapi {
namespace {

constexpr Option kOptions[] = {kDefineOption, kDialectOption};

int run(const Arguments& arguments, std::string&, std::string& err) {
  const auto options = check_options(arguments);
  if (!options) return bad_usage(options.error().text(), err);
  SourceManager sources;
  Diagnostics diagnostics;
  check_file(sources, arguments.operands[0], *options, diagnostics);
  err += diagnostics.render();
  return diagnostics.ok() ? kDone : kFailed;
}

}  // namespace

const Subcommand kCheckCommand = {
    .name = "check",
    .usage = "FILE [options]",
    .operand_count = 1,
    .summary = "Say what is wrong with a schema",
    .details = "Reads FILE and what it includes. Prints nothing where all is well.",
    .options = kOptions,
    .exit_status = "",
    .run = run,
};

}  // namespace firn::qapi
