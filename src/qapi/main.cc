// qapic: the compiler of QAPI schemas.
#include <fmt/format.h>

#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "qapi/backend.h"
#include "qapi/compiler.h"
#include "qapi/names.h"

namespace firn::qapi {
namespace {

constexpr int kBadSchema = 1;
constexpr int kBadUsage = 2;

constexpr std::string_view kVersion = "qapic 0.1.0\n";

std::string help() {
  std::string out =
      "Usage: qapic check FILE [options]\n"
      "       qapic emit BACKEND FILE -o FOLDER [options]\n"
      "\n"
      "Compiles a schema in QEMU's QAPI schema language. `check` only says what is wrong with\n"
      "it; `emit` writes what a back end makes of it. A file that would not change is not "
      "touched.\n"
      "\n"
      "Back ends:\n";
  for (const Backend* backend : backends()) {
    out += fmt::format("  {:<15}{}\n", backend->name(), backend->summary());
  }
  return out +
         "  all            every one of them\n"
         "\n"
         "Options:\n"
         "  -o FOLDER      where the files go; it is made if need be\n"
         "  -D SYMBOL      this symbol is true in `if` conditions; all others are false\n"
         "  --dialect D    `today` (the default) or `2011`, the language of December 2011\n"
         "  --help         this text\n"
         "  --version      the version\n"
         "\n"
         "Exit status: 0 done, 1 something is wrong with the schema or a file, 2 bad usage.\n"
         "\n"
         "Example: qapic emit types schema/firn.json -o build/generated/api -D CONFIG_FUSE\n";
}

int bad_usage(std::string_view text) {
  fmt::print(stderr, "qapic: error: {}\nTry 'qapic --help'.\n", text);
  return kBadUsage;
}

struct Arguments {
  std::vector<std::string> words;
  std::string folder;
  CheckOptions options;
};

// Returns an exit status, or -1 to go on.
int parse_arguments(int argc, char** argv, Arguments& out) {
  for (int i = 1; i < argc; ++i) {
    std::string argument = argv[i];
    const auto value = [&](std::string_view option) -> const char* {
      if (argument.size() > option.size()) {
        return argv[i] + option.size() + (argument[option.size()] == '=' ? 1 : 0);
      }
      return i + 1 < argc ? argv[++i] : nullptr;
    };
    if (argument == "--help" || argument == "-h") {
      fmt::print("{}", help());
      return 0;
    }
    if (argument == "--version") {
      fmt::print("{}", kVersion);
      return 0;
    }
    if (argument == "--dialect" || argument.starts_with("--dialect=")) {
      const char* dialect = value("--dialect");
      if (!dialect) return bad_usage("--dialect needs `today` or `2011`");
      if (std::string_view(dialect) == "2011") {
        out.options.dialect = Dialect::k2011;
      } else if (std::string_view(dialect) != "today") {
        return bad_usage(
            fmt::format("unknown dialect '{}': known are `today` and `2011`", dialect));
      }
    } else if (argument.starts_with("-o")) {
      const char* folder = value("-o");
      if (!folder || !*folder) return bad_usage("-o needs a folder");
      out.folder = folder;
    } else if (argument.starts_with("-D")) {
      const char* symbol = value("-D");
      if (!symbol || !is_name(symbol)) return bad_usage("-D needs a symbol");
      out.options.defined.insert(symbol);
    } else if (argument.starts_with('-')) {
      return bad_usage(fmt::format("unknown option '{}'", argument));
    } else {
      out.words.push_back(std::move(argument));
    }
  }
  return -1;
}

int run_check(const Arguments& arguments) {
  if (arguments.words.size() != 2) return bad_usage("'check' needs exactly one FILE");
  if (!arguments.folder.empty()) return bad_usage("'check' writes nothing: -o is for 'emit'");
  SourceManager sources;
  Diagnostics diagnostics;
  compile(sources, arguments.words[1], arguments.options, diagnostics);
  fmt::print(stderr, "{}", diagnostics.print());
  return diagnostics.ok() ? 0 : kBadSchema;
}

int run_emit(const Arguments& arguments) {
  if (arguments.words.size() != 3) return bad_usage("'emit' needs a BACKEND and exactly one FILE");
  if (arguments.folder.empty()) return bad_usage("'emit' needs -o FOLDER");
  std::vector<const Backend*> chosen;
  for (const Backend* backend : backends()) {
    if (arguments.words[1] == "all" || backend->name() == arguments.words[1]) {
      chosen.push_back(backend);
    }
  }
  if (chosen.empty()) return bad_usage(fmt::format("unknown back end '{}'", arguments.words[1]));
  SourceManager sources;
  Diagnostics diagnostics;
  const Schema schema = compile(sources, arguments.words[2], arguments.options, diagnostics);
  fmt::print(stderr, "{}", diagnostics.print());
  if (!diagnostics.ok()) return kBadSchema;
  Output output;
  for (const Backend* backend : chosen) backend->emit(schema, output);
  if (auto written = output.write(arguments.folder); !written) {
    fmt::print(stderr, "qapic: error: {}\n", written.error().text());
    return kBadSchema;
  }
  return 0;
}

int run(int argc, char** argv) {
  Arguments arguments;
  if (int status = parse_arguments(argc, argv, arguments); status >= 0) return status;
  if (arguments.words.empty()) return bad_usage("nothing to do: use 'check' or 'emit'");
  if (arguments.words[0] == "check") return run_check(arguments);
  if (arguments.words[0] == "emit") return run_emit(arguments);
  return bad_usage(fmt::format("unknown command '{}'", arguments.words[0]));
}

}  // namespace
}  // namespace firn::qapi

int main(int argc, char** argv) { return firn::qapi::run(argc, argv); }
