// `if` conditions: 'SYMBOL', {'all': [...]}, {'any': [...]}, {'not': ...}.
#pragma once

#include <set>
#include <string>

#include "qapi/parser.h"

namespace firn::qapi {

using Symbols = std::set<std::string, std::less<>>;

// Whether the condition holds where `defined` are the symbols given with -D. A malformed condition
// is reported and holds.
bool evaluate_condition(const Node& condition, const Symbols& defined, Diagnostics& diagnostics);

}  // namespace firn::qapi
