// HmpCaller: how a line of the human monitor runs QMP commands.
#pragma once

#include <boost/json/object.hpp>
#include <deque>
#include <string>
#include <string_view>

#include "qmp/commands.h"
#include "qmp/hmp_args.h"

namespace firn::qmp {

// What a line needs beside the commands. All outlives who uses it; what is null is not there.
struct HmpHost {
  // chardev-add's arguments out of an option text ("socket,id=c,path=/x,server=on").
  Result<boost::json::object> (*chardev_arguments)(std::string_view text) = nullptr;
  const std::deque<std::string>* history = nullptr;  // the lines before this one, oldest first
};

class HmpCaller final {
 public:
  // `commands` outlives this.
  explicit HmpCaller(Commands& commands, HmpHost host = {}) : host(host), commands_(commands) {}

  const HmpHost host;

  bool has(std::string_view command) const { return commands_.find(command) != nullptr; }
  bool taking() const { return commands_.taking(); }
  Task<Result<JsonValue>> call(std::string_view command, boost::json::object arguments);
  // For commands that return nothing: the text to show, empty or an error.
  Task<std::string> call_for_text(std::string_view command, boost::json::object arguments);

 private:
  Commands& commands_;
};

// "Error: TEXT" and the hint, a line each.
std::string shown_error(const base::Error& error);

}  // namespace firn::qmp
