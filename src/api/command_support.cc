#include "api/command_support.h"

#include <fmt/format.h>

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

}  // namespace firn::api
