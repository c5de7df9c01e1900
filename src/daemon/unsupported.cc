#include "daemon/unsupported.h"

#include <fmt/format.h>

namespace firn::daemon {

std::unexpected<base::Error> unsupported(std::string_view parameter, std::string_view reason) {
  return base::fail(base::ErrorKind::kUnsupported,
                    fmt::format("Parameter '{}' is not supported by firn: {}", parameter, reason));
}

}  // namespace firn::daemon
