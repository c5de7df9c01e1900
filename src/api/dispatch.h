// What the generated dispatch table consists of. The table itself is api/commands.h, generated.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "async/task.h"
#include "base/json.h"
#include "base/result.h"

namespace firn::api {

struct CommandHandlers;  // generated: one pointer for each module of the schema that has commands

struct CommandEntry {
  std::string_view name;
  std::string_view module;                     // the schema file, without path and extension
  std::span<const std::string_view> features;  // for instance "firn", "deprecated", "unstable"
  bool allow_oob;  // may run out of band: answers at once, whatever else is in progress
  bool allow_preconfig;
  bool coroutine;
  bool success_response;  // false: success is not answered
  uint8_t role;  // the lowest role that may run it: a value of the schema's pragma `role-type`

  // Decodes `arguments` (an object), calls the handler and encodes what it returns: an object, `{}`
  // for a command that returns nothing. Bad arguments give an error before the handler is called. A
  // module without a handler gives kCommandNotFound. `handlers` is used until the Task ends.
  async::Task<base::Result<base::JsonValue>> (*run)(const CommandHandlers& handlers,
                                                    base::JsonValue arguments);

  // What a log may hold of `arguments`: they are decoded and encoded again, members that the schema
  // marks `secret` have the value "***". Null where they can't be decoded, or where the command
  // takes raw JSON: what nobody understands may hold a secret.
  base::JsonValue (*loggable)(const base::JsonValue& arguments);
};

}  // namespace firn::api
