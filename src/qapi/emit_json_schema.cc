#include <boost/json/value.hpp>

#include "qapi/emit.h"
#include "qapi/json_schema.h"

namespace firn::qapi {

namespace {

class JsonSchemaBackend final : public Backend {
 public:
  std::string_view name() const override { return "json-schema"; }
  std::string_view summary() const override {
    return "messages in JSON Schema, draft 2020-12: NAME.schema.json";
  }

  void emit(const Schema& schema, Output& output) const override {
    std::string name = schema.name;
    if (name.empty()) name = schema.files.empty() ? "schema" : schema.files.front()->module;
    output.add(name + ".schema.json",
               base::print_json(json_schema(schema), base::JsonStyle::kPretty) + "\n");
  }
};

}  // namespace

const Backend* json_schema_backend() {
  static const JsonSchemaBackend kBackend;
  return &kBackend;
}

}  // namespace firn::qapi
