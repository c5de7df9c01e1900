#include "qapi/compiler.h"

namespace firn::qapi {

Schema compile(SourceManager& sources, const std::string& path, const CheckOptions& options,
               Diagnostics& diagnostics) {
  auto file = sources.load(path);
  if (!file) {
    diagnostics.error({}, file.error().text());
    return {};
  }
  return check_schema(parse_schema(sources, **file, options.dialect, diagnostics), options,
                      diagnostics);
}

}  // namespace firn::qapi
