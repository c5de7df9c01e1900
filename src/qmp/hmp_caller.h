// HmpCaller: how a line of the human monitor runs QMP commands.
#pragma once

#include <boost/json/object.hpp>
#include <functional>
#include <string>
#include <string_view>

#include "qmp/commands.h"
#include "qmp/hmp_args.h"

namespace firn::qmp {

class HmpCaller final {
 public:
  // `commands` outlives this.
  explicit HmpCaller(Commands& commands) : commands_(commands) {}

  bool has(std::string_view command) const { return commands_.find(command) != nullptr; }
  Task<Result<JsonValue>> call(std::string_view command, boost::json::object arguments);
  // For commands that return nothing: the text to show, empty or an error.
  Task<std::string> call_for_text(std::string_view command, boost::json::object arguments);

 private:
  Commands& commands_;
};

// "Error: TEXT" and the hint, a line each.
std::string shown_error(const base::Error& error);

}  // namespace firn::qmp
