// The schema compiler, from bytes to every back end, in both dialects: whatever stands in the
// files, it answers with diagnostics or with a model that all back ends take. A model is compatible
// with itself, seen as a schema and as a server would tell it.
//
// The first byte chooses: bit 0 the dialect, bit 1 whether A and B are defined. The rest is the
// schema; behind each byte 0 another file starts, and they are named 0.json, 1.json, ...
#include <algorithm>
#include <boost/json/value.hpp>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "qapi/backend.h"
#include "qapi/compat.h"
#include "qapi/compiler.h"
#include "qapi/introspection.h"

namespace {

using namespace firn::qapi;

// Files that don't exist are fine; those of this machine are nobody's business, and may never end.
bool leads_outside(std::string_view text) {
  return text.find("include") != std::string_view::npos && text.find('/') != std::string_view::npos;
}

void add_files(SourceManager& sources, std::string_view text) {
  for (int number = 0;; ++number) {
    const size_t end = std::min(text.find('\0'), text.size());
    sources.add(std::to_string(number) + ".json", std::string(text.substr(0, end)));
    if (end == text.size()) return;
    text.remove_prefix(end + 1);
  }
}

void check_positions(const Diagnostics& diagnostics) {
  for (const Diagnostic& diagnostic : diagnostics.all()) {
    const Span& span = diagnostic.span;
    CHECK(!span.file || (span.begin <= span.end && span.end <= span.file->text.size()));
    CHECK(!diagnostic.text.empty());
  }
  CHECK(diagnostics.print().empty() == diagnostics.all().empty());
}

WireSchema as_client(const Schema& schema, IntegerNames integers) {
  auto wire = read_introspection(introspect(schema, integers));
  CHECK(wire.has_value());
  return std::move(*wire);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (leads_outside(text)) return 0;
  CheckOptions options;
  if (data[0] & 1) options.dialect = Dialect::k2011;
  if (data[0] & 2) options.defined = {"A", "B"};

  SourceManager sources;
  add_files(sources, text);
  Diagnostics diagnostics;
  const Schema schema = compile(sources, "0.json", options, diagnostics);
  check_positions(diagnostics);
  if (!diagnostics.ok()) return 0;

  Output output;
  for (const Backend* backend : backends()) backend->emit(schema, output);
  CHECK(!output.files().empty());
  const WireSchema exact = as_client(schema, IntegerNames::kExact);
  const WireSchema masked = as_client(schema, IntegerNames::kMasked);
  CHECK(compare_schemas(exact, exact).changes.empty());
  CHECK(compare_schemas(masked, exact).changes.empty());
  return 0;
}
