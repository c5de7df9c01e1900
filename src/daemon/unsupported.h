// One text for what the schema has and this program has not: named, with the reason, never ignored.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace firn::daemon {

// "Parameter 'pr-manager' is not supported by firn: REASON"
std::unexpected<base::Error> unsupported(std::string_view parameter, std::string_view reason);

}  // namespace firn::daemon
