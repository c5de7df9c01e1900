// What the generated command runners call.
#pragma once

#include <string_view>

#include "api/decoder.h"
#include "api/encoder.h"
#include "base/result.h"

namespace firn::api {

// "The command NAME has not been found", of kind kCommandNotFound.
std::unexpected<base::Error> unserved_command(std::string_view name);

// An error that names the first member, if `arguments` has any.
base::Result<> decode_no_arguments(const JsonValue& arguments);

// CommandEntry::loggable of commands without arguments, and of those that take raw JSON.
JsonValue log_no_arguments(const JsonValue& arguments);
JsonValue log_raw_arguments(const JsonValue& arguments);

}  // namespace firn::api
