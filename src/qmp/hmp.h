// Hmp: the human monitor's commands, each a line. They are carried out by the QMP commands of the
// same meaning, so that both ways give the same results and errors.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "qmp/commands.h"
#include "qmp/hmp_args.h"
#include "qmp/hmp_block.h"

namespace firn::qmp {

class Hmp final {
 public:
  // `commands` outlives this.
  explicit Hmp(Commands& commands) : commands_(commands) {}

  // Runs one line and gives what a terminal shows: lines that end in \n, errors included
  // ("Error: ...", "unknown command: 'x'"). An empty line gives nothing.
  Task<std::string> run(std::string line);

  struct Entry;

 private:
  Task<std::string> run_entry(const Entry& entry, std::string_view name, std::string_view rest);
  Task<std::string> help(const HmpArgs& args);
  Task<std::string> info_help(const HmpArgs& args);
  Task<std::string> info_block(const HmpArgs& args);
  Task<std::string> block_list(const BlockListView& view);
  Task<std::string> info_version(const HmpArgs& args);
  Task<std::string> snapshot_blkdev(const HmpArgs& args);
  Task<std::string> block_resize(const HmpArgs& args);
  Task<std::string> quit(const HmpArgs& args);

  Task<Result<JsonValue>> call(std::string_view command, boost::json::object arguments);
  // For commands that return nothing.
  Task<std::string> call_for_text(std::string_view command, boost::json::object arguments);

  static const std::vector<Entry>& commands();
  static const std::vector<Entry>& info_commands();

  Commands& commands_;
};

}  // namespace firn::qmp
