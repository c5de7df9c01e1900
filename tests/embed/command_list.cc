// qapic's compiler as a library, in a program of its own: a back end that writes a list of
// commands, and a question about compatibility. Only public headers are included.
//
//   command_list SCHEMA FOLDER        writes FOLDER/commands.txt
//   command_list SCHEMA --since FILE  tells in words whether clients of FILE still work
#include <cstdio>
#include <string>
#include <string_view>

#include "qapi/backend.h"
#include "qapi/compat.h"
#include "qapi/compiler.h"
#include "qapi/schema.h"
#include "qapi/source.h"

namespace {

using namespace firn::qapi;

class CommandList final : public Backend {
 public:
  std::string_view name() const override { return "command-list"; }
  std::string_view summary() const override { return "one command a line: commands.txt"; }

  void emit(const Schema& schema, Output& output) const override {
    std::string text;
    for (const auto& command : schema.commands) {
      const LineColumn place = locate(command->span);
      text += command->name + "(";
      if (command->arguments) {
        for (const Member& member : command->arguments->members) {
          if (!text.ends_with('(')) text += ", ";
          text += member.name + (member.optional ? "?" : "");
        }
      }
      text += ") " + command->file->module + ":" + std::to_string(place.line) + "\n";
    }
    output.add("commands.txt", text);
  }
};

int fail(const std::string& text) {
  std::fprintf(stderr, "command_list: %s\n", text.c_str());
  return 1;
}

int emit(const std::string& path, const std::string& folder) {
  SourceManager sources;  // holds the text that the schema points into
  Diagnostics diagnostics;
  const Schema schema = compile(sources, path, CheckOptions{}, diagnostics);
  std::fputs(diagnostics.print().c_str(), stderr);
  if (!diagnostics.ok()) return 1;
  Output output;
  CommandList().emit(schema, output);
  const auto written = output.write(folder);
  return written ? 0 : fail(written.error().text());
}

int compare(const std::string& path, const std::string& since) {
  SourceManager sources;
  Diagnostics diagnostics;
  const auto old = load_wire_schema(since, CheckOptions{}, diagnostics, sources);
  const auto now = load_wire_schema(path, CheckOptions{}, diagnostics, sources);
  if (!old || !now) return fail((old ? now : old).error().text() + "\n" + diagnostics.print());
  const CompatReport report = compare_schemas(*old, *now);
  std::printf("%s: clients of %s %s\n", path.c_str(), since.c_str(),
              report.compatible() ? "still work" : "may break");
  return report.compatible() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 3) return emit(argv[1], argv[2]);
  if (argc == 4 && std::string_view(argv[2]) == "--since") return compare(argv[1], argv[3]);
  return fail("usage: command_list SCHEMA FOLDER | SCHEMA --since FILE");
}
