#include "qapi/command_line.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "base/version.h"
#include "qapi/backend.h"
#include "qapi/compat_command.h"
#include "qapi/compiler.h"
#include "qapi/names.h"

namespace firn::qapi {
namespace {

constexpr int kFailed = 1;
constexpr int kBadUsage = 2;

std::string help() {
  std::string out =
      "Usage: qapic check FILE [options]\n"
      "       qapic emit BACKEND FILE -o FOLDER [options]\n"
      "       qapic compat OLD NEW [--strict] [--json] [options]\n"
      "\n"
      "Compiles a schema in QEMU's QAPI schema language. `check` only says what is wrong with\n"
      "it; `emit` writes what a back end makes of it. A file that would not change is not "
      "touched.\n"
      "`compat` says whether a client of the schema OLD still works with NEW; each is a schema, "
      "or\n"
      "JSON with a server's answer to query-qmp-schema.\n"
      "\n"
      "Back ends:\n";
  for (const Backend* backend : backends()) {
    out += fmt::format("  {:<15}{}\n", backend->name(), backend->summary());
  }
  return out +
         "  all            every one of them; A,B makes A's and B's files\n"
         "\n"
         "Options:\n"
         "  -o FOLDER      where the files go; it is made if need be\n"
         "  -D SYMBOL      this symbol is true in `if` conditions; all others are false\n"
         "  --dialect D    `today` (the default) or `2011`, the language of December 2011\n"
         "  --strict       compat: warnings are breaks\n"
         "  --json         compat: the report as JSON\n"
         "  --help         this text\n"
         "  --version      the version\n"
         "\n"
         "Exit status: 0 done, 1 something is wrong with the schema or a file, 2 bad usage.\n"
         "Of compat: 0 compatible, 1 not, 2 bad usage or a file that can't be used.\n"
         "\n"
         "Example: qapic emit types schema/firn.json -o build/generated/api -D CONFIG_FUSE\n";
}

struct Arguments {
  std::vector<std::string> words;
  std::string folder;
  CheckOptions options;
  CompatOptions compat;
  bool json = false;
};

class Program {
 public:
  Program(std::string& out, std::string& err) : out_(out), err_(err) {}

  int run(const std::vector<std::string>& words) {
    if (int status = parse(words); status >= 0) return status;
    const std::vector<std::string>& given = arguments_.words;
    if (given.empty()) return bad_usage("nothing to do: use 'check', 'emit' or 'compat'");
    if (given[0] == "check") return check();
    if (given[0] == "emit") return emit();
    if (given[0] == "compat") return compat();
    return bad_usage(fmt::format("unknown command '{}'", given[0]));
  }

 private:
  static constexpr int kGoOn = -1;

  int bad_usage(std::string_view text) {
    err_ += fmt::format("qapic: error: {}\nTry 'qapic --help'.\n", text);
    return kBadUsage;
  }

  // Returns an exit status, or kGoOn.
  int parse(const std::vector<std::string>& words) {
    for (size_t i = 0; i < words.size(); ++i) {
      const std::string& word = words[i];
      // The value of an option: in the same word, or the next one.
      const auto value = [&](std::string_view option) {
        std::string_view rest = std::string_view(word).substr(option.size());
        if (rest.starts_with('=')) rest.remove_prefix(1);
        if (!rest.empty() || word.size() > option.size()) return std::string(rest);
        return i + 1 < words.size() ? words[++i] : std::string();
      };
      if (word == "--help" || word == "-h") {
        out_ += help();
        return 0;
      }
      if (word == "--version") {
        out_ += fmt::format("qapic {}\n", base::kVersion);
        return 0;
      }
      if (word == "--dialect" || word.starts_with("--dialect=")) {
        const std::string dialect = value("--dialect");
        if (dialect != "2011" && dialect != "today") {
          return bad_usage(
              fmt::format("unknown dialect '{}': known are 'today' and '2011'", dialect));
        }
        arguments_.options.dialect = dialect == "2011" ? Dialect::k2011 : Dialect::kToday;
      } else if (word == "--strict") {
        arguments_.compat.strict = true;
      } else if (word == "--json") {
        arguments_.json = true;
      } else if (word.starts_with("-o")) {
        arguments_.folder = value("-o");
        if (arguments_.folder.empty()) return bad_usage("-o needs a folder");
      } else if (word.starts_with("-D")) {
        const std::string symbol = value("-D");
        if (!is_name(symbol)) return bad_usage(fmt::format("-D needs a symbol, not '{}'", symbol));
        arguments_.options.defined.insert(symbol);
      } else if (word.starts_with('-')) {
        return bad_usage(fmt::format("unknown option '{}'", word));
      } else {
        arguments_.words.push_back(word);
      }
    }
    return kGoOn;
  }

  int check() {
    if (arguments_.words.size() != 2) return bad_usage("'check' needs exactly one FILE");
    if (!arguments_.folder.empty()) return bad_usage("'check' writes nothing: -o is for 'emit'");
    SourceManager sources;
    Diagnostics diagnostics;
    compile(sources, arguments_.words[1], arguments_.options, diagnostics);
    err_ += diagnostics.print();
    return diagnostics.ok() ? 0 : kFailed;
  }

  // Takes `all`, or names with commas between them. Returns an exit status, or kGoOn.
  int choose(std::string_view names, std::vector<const Backend*>& chosen) {
    if (names == "all") {
      chosen.assign(backends().begin(), backends().end());
      return kGoOn;
    }
    while (true) {
      const size_t comma = names.find(',');
      const std::string_view name = names.substr(0, comma);
      const auto found = std::ranges::find(backends(), name, &Backend::name);
      if (found == backends().end()) {
        return bad_usage(fmt::format("unknown back end '{}'", name));
      }
      chosen.push_back(*found);
      if (comma == std::string_view::npos) return kGoOn;
      names.remove_prefix(comma + 1);
    }
  }

  int compat() {
    if (arguments_.words.size() != 3) return bad_usage("'compat' needs OLD and NEW, two files");
    if (!arguments_.folder.empty()) return bad_usage("'compat' writes nothing: -o is for 'emit'");
    return run_compat(arguments_.words[1], arguments_.words[2], arguments_.options,
                      arguments_.compat, arguments_.json ? ReportStyle::kJson : ReportStyle::kText,
                      out_, err_);
  }

  int emit() {
    if (arguments_.words.size() != 3) {
      return bad_usage("'emit' needs a BACKEND and exactly one FILE");
    }
    if (arguments_.folder.empty()) return bad_usage("'emit' needs -o FOLDER");
    std::vector<const Backend*> chosen;
    if (int status = choose(arguments_.words[1], chosen); status >= 0) return status;
    SourceManager sources;
    Diagnostics diagnostics;
    const Schema schema = compile(sources, arguments_.words[2], arguments_.options, diagnostics);
    err_ += diagnostics.print();
    if (!diagnostics.ok()) return kFailed;
    Output output;
    for (const Backend* backend : chosen) backend->emit(schema, output);
    if (auto written = output.write(arguments_.folder); !written) {
      err_ += fmt::format("qapic: error: {}\n", written.error().text());
      return kFailed;
    }
    return 0;
  }

  std::string& out_;
  std::string& err_;
  Arguments arguments_;
};

}  // namespace

int run_command_line(const std::vector<std::string>& arguments, std::string& out,
                     std::string& err) {
  return Program(out, err).run(arguments);
}

}  // namespace firn::qapi
