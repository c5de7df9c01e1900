// qapic compat
#include "qapi/compat_command.h"
#include "qapi/subcommand.h"

namespace firn::qapi {
namespace {

constexpr Option kStrictOption = {"--strict", "", "warnings are breaks"};
constexpr Option kJsonOption = {"--json", "", "print the report as JSON"};
constexpr Option kOptions[] = {kStrictOption, kJsonOption, kDefineOption, kDialectOption};

int run(const Arguments& arguments, std::string& out, std::string& err) {
  const auto check = check_options(arguments);
  if (!check) return bad_usage(check.error().text(), err);
  CompatOptions options;
  options.strict = arguments.has(kStrictOption);
  return run_compat(arguments.operands[0], arguments.operands[1], *check, options,
                    arguments.has(kJsonOption) ? ReportStyle::kJson : ReportStyle::kText, out, err);
}

}  // namespace

const Subcommand kCompatCommand = {
    .name = "compat",
    .usage = "OLD NEW [options]",
    .operand_count = 2,
    .summary = "Say whether a client of one schema still works with another",
    .details =
        "Compares OLD and NEW member by member and prints what changed for a client that was\n"
        "written for OLD. Each of them is a schema, or JSON with a server's answer to\n"
        "`query-qmp-schema`.",
    .options = kOptions,
    .exit_status = "0 compatible, 1 not, 2 bad usage or a file that can't be used",
    .run = run,
};

}  // namespace firn::qapi
