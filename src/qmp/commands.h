// Commands: what a session can run. The daemon puts the generated dispatch table behind it; tests
// put what they like.
#pragma once

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

#include "api/dispatch.h"
#include "async/task.h"
#include "base/json.h"
#include "base/result.h"

namespace firn::qmp {

using async::Task;
using base::JsonValue;
using base::Result;

// What a request says beside its command and arguments.
struct RequestInfo {
  std::optional<JsonValue> id;
  bool out_of_band = false;
  uint64_t end = UINT64_MAX;  // it was complete when the client had sent so many bytes
};

class Commands {
 public:
  virtual ~Commands() = default;
  // Null: no such command.
  virtual const api::CommandEntry* find(std::string_view name) const = 0;
  // False once the program is about to end: no command is begun any more.
  virtual bool taking() const { return true; }
  // Decodes `arguments`, runs the command and encodes what it gives. On the control loop; commands
  // of several sessions run beside each other.
  virtual Task<Result<JsonValue>> run(const api::CommandEntry& command,
                                      boost::json::object arguments) = 0;
  // The same for a request of QMP; for those who keep a record of requests.
  virtual Task<Result<JsonValue>> run_request(const api::CommandEntry& command,
                                              boost::json::object arguments, RequestInfo) {
    return run(command, std::move(arguments));
  }
};

}  // namespace firn::qmp
