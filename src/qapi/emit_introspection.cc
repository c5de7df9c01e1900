#include <fmt/format.h>

#include <boost/json/array.hpp>
#include <boost/json/value.hpp>

#include "qapi/emit.h"
#include "qapi/introspection.h"

namespace firn::qapi {

namespace {

class IntrospectionBackend final : public Backend {
 public:
  std::string_view name() const override { return "introspection"; }
  std::string_view summary() const override {
    return "query-qmp-schema's answer: introspection.h, introspection.cc";
  }

  void emit(const Schema& schema, Output& output) const override {
    std::string header = file_head(schema, {"<string_view>", "", "\"base/json.h\""}, true);
    header +=
        "// What query-qmp-schema returns: as text, and as a value (parsed once).\n"
        "std::string_view introspection_text();\n"
        "const base::JsonValue& introspection();\n\n";
    output.add("introspection.h", header + file_tail());

    std::string source =
        file_head(schema, {"\"api/introspection.h\"", "", "<boost/json/value.hpp>"}, false);
    source += "std::string_view introspection_text() {\n  return\n      \"[\"";
    bool first = true;
    const base::JsonValue whole = introspect(schema);
    for (const base::JsonValue& entry : whole.get_array()) {
      source += fmt::format("\n      R\"({}{})\"", first ? "" : ", ", base::print_json(entry));
      first = false;
    }
    source += "\n      \"]\";\n}\n\n";
    source +=
        "const base::JsonValue& introspection() {\n"
        "  static const base::JsonValue kValue = base::parse_json(introspection_text()).value();\n"
        "  return kValue;\n}\n\n";
    output.add("introspection.cc", source + file_tail());
  }
};

// The list as JSON, one entry a line, so that a difference between two of them reads well.
class JsonBackend final : public Backend {
 public:
  JsonBackend(std::string_view name, std::string_view summary, std::string_view file,
              IntegerNames integers)
      : name_(name), summary_(summary), file_(file), integers_(integers) {}

  std::string_view name() const override { return name_; }
  std::string_view summary() const override { return summary_; }

  void emit(const Schema& schema, Output& output) const override {
    std::string text;
    const base::JsonValue whole = introspect(schema, integers_);
    for (const base::JsonValue& entry : whole.get_array()) {
      text += text.empty() ? "[" : ",\n ";
      base::append_json(text, entry);
    }
    output.add(std::string(file_), (text.empty() ? "[" : text) + "]\n");
  }

 private:
  std::string_view name_;
  std::string_view summary_;
  std::string_view file_;
  IntegerNames integers_;
};

}  // namespace

const Backend* introspection_backend() {
  static const IntrospectionBackend kBackend;
  return &kBackend;
}

const Backend* introspection_json_backend() {
  static const JsonBackend kBackend("introspection-json",
                                    "query-qmp-schema's answer as JSON: introspection.json",
                                    "introspection.json", IntegerNames::kMasked);
  return &kBackend;
}

const Backend* released_backend() {
  static const JsonBackend kBackend("released",
                                    "what `compat` holds later schemas to: released.json",
                                    "released.json", IntegerNames::kExact);
  return &kBackend;
}

}  // namespace firn::qapi
