#include "api/command_support.h"

#include <fmt/format.h>

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>

namespace firn::api {

std::unexpected<base::Error> unserved_command(std::string_view name) {
  return base::fail(base::ErrorKind::kCommandNotFound,
                    fmt::format("The command {} has not been found", name));
}

base::Result<> decode_no_arguments(const JsonValue& arguments) {
  Decoder decoder(InputMode::kJson);
  ObjectReader reader(decoder, arguments);
  if (!reader.ok() || !reader.finish()) return base::fail(decoder.take_error());
  return {};
}

JsonValue log_no_arguments(const JsonValue& arguments) {
  return decode_no_arguments(arguments) ? JsonValue(boost::json::object()) : JsonValue();
}

JsonValue log_raw_arguments(const JsonValue&) { return {}; }

}  // namespace firn::api
