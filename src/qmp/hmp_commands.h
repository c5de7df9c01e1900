// The human monitor's commands: names, parameters and help of QEMU's, and what each does.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "qmp/hmp_args.h"
#include "qmp/hmp_caller.h"

namespace firn::qmp {

struct HmpCommand {
  std::string_view names;  // "quit|q"
  std::vector<HmpParam> params;
  std::string_view usage;  // the parameters, for help
  std::string_view text;   // what it does, for help
  // What a terminal shows. Null: Hmp does it itself (help, info). `caller` and `args` outlive the
  // Task.
  Task<std::string> (*run)(HmpCaller& caller, const HmpArgs& args) = nullptr;

  bool has_name(std::string_view name) const;
  std::vector<std::string_view> all_names() const;
  std::string help_line(std::string_view prefix) const;
};

// In the order of `help`: by name.
std::span<const HmpCommand> hmp_commands();
std::span<const HmpCommand> hmp_info_commands();

// Null: no such command.
const HmpCommand* find_hmp_command(std::span<const HmpCommand> commands, std::string_view name);

}  // namespace firn::qmp
