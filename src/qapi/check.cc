#include "qapi/check.h"

#include <utility>

#include "qapi/declaration.h"
#include "qapi/model.h"
#include "qapi/resolve.h"

namespace firn::qapi {

namespace {

Declarations resolved(const ParsedSchema& parsed, const CheckOptions& options,
                      Diagnostics& diagnostics) {
  Declarations declarations = declare(parsed, options.dialect, diagnostics);
  resolve(parsed, declarations, options.dialect, diagnostics);
  return declarations;
}

}  // namespace

Schema check_schema(ParsedSchema parsed, const CheckOptions& options, Diagnostics& diagnostics) {
  const Declarations declarations = resolved(parsed, options, diagnostics);
  if (!diagnostics.ok()) return {};
  return build_schema(std::move(parsed), declarations, options);
}

void check_only(const ParsedSchema& parsed, const CheckOptions& options, Diagnostics& diagnostics) {
  resolved(parsed, options, diagnostics);
}

}  // namespace firn::qapi
