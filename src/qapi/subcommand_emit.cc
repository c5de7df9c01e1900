// qapic emit
#include <fmt/format.h>

#include <algorithm>

#include "qapi/backend.h"
#include "qapi/compiler.h"
#include "qapi/subcommand.h"

namespace firn::qapi {
namespace {

constexpr Option kFolderOption = {"-o", "FOLDER", "where the files go; it is made if need be"};
constexpr Option kNameOption = {
    "--name", "NAME",
    "what manuals call the program, and their files; the default is\nFILE's name"};
constexpr Option kAllConditionsOption = {
    "--all-conditions", "",
    "every `if` holds, whatever -D says: for a manual of all that there\ncan be"};
constexpr Option kOptions[] = {kFolderOption, kNameOption, kDefineOption, kAllConditionsOption,
                               kDialectOption};

// Takes names with commas between them, of which `all` is one.
base::Result<> choose(std::string_view names, std::vector<const Backend*>& chosen) {
  while (true) {
    const size_t comma = names.find(',');
    const std::string_view name = names.substr(0, comma);
    const auto found = std::ranges::find(backends(), name, &Backend::name);
    if (name == "all") {
      chosen.assign(backends().begin(), backends().end());
    } else if (found != backends().end()) {
      if (std::ranges::find(chosen, *found) == chosen.end()) chosen.push_back(*found);
    } else {
      std::string known;
      for (const Backend* backend : backends()) known += fmt::format("'{}', ", backend->name());
      return base::fail(base::ErrorKind::kInvalidArgument,
                        fmt::format("unknown back end '{}': known are {}'all'", name, known));
    }
    if (comma == std::string_view::npos) return {};
    names.remove_prefix(comma + 1);
  }
}

int run(const Arguments& arguments, std::string&, std::string& err) {
  auto options = check_options(arguments);
  if (!options) return bad_usage(options.error().text(), err);
  options->all_conditions = arguments.has(kAllConditionsOption);
  const auto folder = arguments.value(kFolderOption);
  if (!folder) return bad_usage("'emit' needs -o FOLDER", err);
  const std::string name = arguments.value(kNameOption).value_or("");
  if (name.contains('/')) return bad_usage("--name needs a name without '/'", err);
  std::vector<const Backend*> chosen;
  if (auto known = choose(arguments.operands[0], chosen); !known) {
    return bad_usage(known.error().text(), err);
  }
  SourceManager sources;
  Diagnostics diagnostics;
  Schema schema = compile(sources, arguments.operands[1], *options, diagnostics);
  err += diagnostics.render();
  if (!diagnostics.ok()) return kFailed;
  schema.name = name;
  Output output;
  for (const Backend* backend : chosen) backend->emit(schema, output);
  if (auto written = output.write(*folder); !written) {
    err += fmt::format("qapic: error: {}\n", written.error().text());
    return kFailed;
  }
  return kDone;
}

}  // namespace

const Subcommand kEmitCommand = {
    .name = "emit",
    .usage = "BACKEND FILE -o FOLDER [options]",
    .operand_count = 2,
    .summary = "Write what a back end makes of a schema",
    .details =
        "Checks FILE as `check` does, then writes the back end's files into FOLDER. A file\n"
        "that would not change is not touched, so that little is built again.\n"
        "\n"
        "BACKEND is `all`, or one or more names with commas between them.",
    .options = kOptions,
    .exit_status = "",
    .run = run,
};

}  // namespace firn::qapi
