// From resolved declarations to the model that back ends read.
#pragma once

#include "qapi/check.h"
#include "qapi/declaration.h"

namespace firn::qapi {

// `parsed` and `declarations` have to be free of errors.
Schema build_schema(ParsedSchema parsed, const Declarations& declarations,
                    const CheckOptions& options);

}  // namespace firn::qapi
