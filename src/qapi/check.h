// From parsed definitions to the schema model. Everything that is wrong is reported, not only the
// first.
#pragma once

#include "qapi/condition.h"
#include "qapi/parser.h"
#include "qapi/schema.h"

namespace firn::qapi {

struct CheckOptions {
  Dialect dialect = Dialect::kToday;
  Symbols defined;              // -D
  bool all_conditions = false;  // every `if` holds, whatever is defined: for manuals
};

// The model is empty unless Diagnostics::ok() afterwards.
Schema check_schema(ParsedSchema parsed, const CheckOptions& options, Diagnostics& diagnostics);

// The same without the model, in a fraction of the time.
void check_only(const ParsedSchema& parsed, const CheckOptions& options, Diagnostics& diagnostics);

}  // namespace firn::qapi
