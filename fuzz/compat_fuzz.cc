// Answers to query-qmp-schema as anybody's server may give them: two JSON texts with a byte 0
// between them. Each is refused or read; what is read compares with itself without a change, and
// with the other in both directions.
#include <boost/json/value.hpp>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "base/check.h"
#include "base/json.h"
#include "qapi/compat.h"

namespace {

using namespace firn::qapi;

std::optional<WireSchema> read(std::string_view text) {
  auto value = firn::base::parse_json(text);
  if (!value) return std::nullopt;
  auto schema = read_introspection(*value);
  if (!schema) {
    CHECK(!schema.error().text().empty());
    return std::nullopt;
  }
  CHECK(compare_schemas(*schema, *schema).changes.empty());
  return std::move(*schema);
}

void compare(const WireSchema& old, const WireSchema& now) {
  const CompatReport usual = compare_schemas(old, now);
  const CompatReport strict = compare_schemas(old, now, {.strict = true});
  CHECK(strict.changes.size() <= usual.changes.size());
  CHECK(strict.count(ChangeClass::kWarning) == 0);
  CHECK(strict.compatible() == (usual.compatible() && usual.count(ChangeClass::kWarning) == 0));
  CHECK(firn::base::parse_json(usual.print_json()).has_value());
  CHECK(usual.print().ends_with("\n"));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const size_t middle = text.find('\0');
  const std::optional<WireSchema> old = read(text.substr(0, middle));
  if (!old || middle == std::string_view::npos) return 0;
  const std::optional<WireSchema> now = read(text.substr(middle + 1));
  if (!now) return 0;
  compare(*old, *now);
  compare(*now, *old);
  return 0;
}
