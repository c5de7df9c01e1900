#include "qapi/compiler.h"

#include <optional>

namespace firn::qapi {

namespace {

std::optional<ParsedSchema> parse(SourceManager& sources, const std::string& path,
                                  const CheckOptions& options, Diagnostics& diagnostics) {
  auto file = sources.load(path);
  if (file) return parse_schema(sources, **file, options.dialect, diagnostics);
  diagnostics.error({}, file.error().text());
  return std::nullopt;
}

}  // namespace

Schema compile(SourceManager& sources, const std::string& path, const CheckOptions& options,
               Diagnostics& diagnostics) {
  auto parsed = parse(sources, path, options, diagnostics);
  if (!parsed) return {};
  return check_schema(*std::move(parsed), options, diagnostics);
}

void check_file(SourceManager& sources, const std::string& path, const CheckOptions& options,
                Diagnostics& diagnostics) {
  const auto parsed = parse(sources, path, options, diagnostics);
  if (parsed) check_only(*parsed, options, diagnostics);
}

}  // namespace firn::qapi
