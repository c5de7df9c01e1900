#include "qapi/compat_command.h"

#include <fmt/format.h>

#include <optional>
#include <utility>

namespace firn::qapi {

namespace {

constexpr int kNotCompatible = 1;
constexpr int kUnusable = 2;

std::optional<WireSchema> load(const std::string& path, const CheckOptions& options,
                               std::string& err) {
  SourceManager sources;
  Diagnostics diagnostics;
  auto schema = load_wire_schema(path, options, diagnostics, sources);
  err += diagnostics.render();
  if (schema) return std::move(*schema);
  err += fmt::format("qapic: error: {}\n", schema.error().text());
  return std::nullopt;
}

}  // namespace

int run_compat(const std::string& old_path, const std::string& new_path,
               const CheckOptions& check_options, const CompatOptions& options, ReportStyle style,
               std::string& out, std::string& err) {
  const std::optional<WireSchema> old = load(old_path, check_options, err);
  const std::optional<WireSchema> now = load(new_path, check_options, err);
  if (!old || !now) return kUnusable;
  const CompatReport report = compare_schemas(*old, *now, options);
  out += style == ReportStyle::kJson ? report.print_json() : report.print();
  return report.compatible() ? 0 : kNotCompatible;
}

}  // namespace firn::qapi
