// From parsed definitions to the schema model. Everything that is wrong is reported, not only the
// first; the model is whole only if Diagnostics::ok() afterwards.
#pragma once

#include "qapi/condition.h"
#include "qapi/parser.h"
#include "qapi/schema.h"

namespace firn::qapi {

struct CheckOptions {
  Dialect dialect = Dialect::kToday;
  Symbols defined;  // -D
};

Schema check_schema(ParsedSchema parsed, const CheckOptions& options, Diagnostics& diagnostics);

}  // namespace firn::qapi
