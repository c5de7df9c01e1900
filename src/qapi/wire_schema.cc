#include "qapi/wire_schema.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <optional>
#include <utility>

#include "qapi/compiler.h"
#include "qapi/introspection.h"

namespace firn::qapi {

const WireMember* WireType::member(std::string_view member_name) const {
  for (const WireMember& member : members) {
    if (member.name == member_name) return &member;
  }
  return nullptr;
}

namespace {

using base::JsonValue;
using base::Result;
using boost::json::array;
using boost::json::object;

std::unexpected<base::Error> bad(std::string text) {
  return base::fail(base::ErrorKind::kInvalidArgument, std::move(text));
}

// A member of an entry that has to be a string.
Result<std::string> string_of(const object& entry, std::string_view key) {
  const JsonValue* value = entry.if_contains(key);
  if (!value || !value->is_string()) {
    return bad(fmt::format("an entry lacks the string '{}': {}", key, base::print_json(entry)));
  }
  return std::string(value->get_string());
}

Result<const array*> list_of(const object& entry, std::string_view key) {
  const JsonValue* value = entry.if_contains(key);
  if (!value || !value->is_array()) {
    return bad(fmt::format("an entry lacks the list '{}': {}", key, base::print_json(entry)));
  }
  return &value->get_array();
}

Result<const object*> object_in(const JsonValue& value) {
  if (!value.is_object()) {
    return bad(fmt::format("expected an object, not {}", base::print_json(value)));
  }
  return &value.get_object();
}

Result<FeatureNames> features_of(const object& entry) {
  FeatureNames out;
  if (!entry.contains("features")) return out;
  for (const JsonValue& feature : *TRY(list_of(entry, "features"))) {
    if (!feature.is_string()) {
      return bad(fmt::format("a feature is no string: {}", base::print_json(entry)));
    }
    out.emplace(feature.get_string());
  }
  return out;
}

// Schemas have one or two.
constexpr int kMaxUnionDepth = 32;

class Reader {
 public:
  Result<WireSchema> run(const JsonValue& entries) {
    if (!entries.is_array()) return bad("the answer to query-qmp-schema has to be a list");
    std::vector<std::pair<const object*, WireType*>> types;
    std::vector<const object*> entities;
    for (const JsonValue& value : entries.get_array()) {
      const object* entry = TRY(object_in(value));
      const std::string name = TRY(string_of(*entry, "name"));
      const std::string meta = TRY(string_of(*entry, "meta-type"));
      if (meta == "command" || meta == "event") {
        entities.push_back(entry);
        continue;
      }
      auto type = std::make_unique<WireType>();
      type->name = name;
      if (!by_name_.emplace(name, type.get()).second) {
        return bad(fmt::format("type '{}' is there twice", name));
      }
      types.emplace_back(entry, type.get());
      schema_.types.push_back(std::move(type));
    }
    for (const auto& [entry, type] : types) TRY(describe(*entry, *type));
    for (const auto& [entry, type] : types) TRY(check(*type));
    for (const object* entry : entities) TRY(add(*entry));
    return std::move(schema_);
  }

 private:
  Result<const WireType*> type_in(const object& entry, std::string_view key) {
    const std::string name = TRY(string_of(entry, key));
    const auto found = by_name_.find(name);
    if (found == by_name_.end()) return bad(fmt::format("type '{}' is used and not there", name));
    return found->second;
  }

  Result<> add(const object& entry) {
    const std::string name = TRY(string_of(entry, "name"));
    const WireType* arguments = TRY(type_in(entry, "arg-type"));
    if (arguments->kind != WireKind::kObject) {
      return bad(fmt::format("'{}' takes something that is no object", name));
    }
    if (TRY(string_of(entry, "meta-type")) == "event") {
      schema_.events[name] = {TRY(features_of(entry)), arguments};
      return {};
    }
    WireCommand& command = schema_.commands[name];
    command.features = TRY(features_of(entry));
    command.arguments = arguments;
    command.returns = TRY(type_in(entry, "ret-type"));
    const JsonValue* oob = entry.if_contains("allow-oob");
    command.allow_oob = oob && oob->is_bool() && oob->get_bool();
    return {};
  }

  Result<> describe(const object& entry, WireType& type) {
    type.features = TRY(features_of(entry));
    const std::string meta = TRY(string_of(entry, "meta-type"));
    if (meta == "builtin") return describe_builtin(entry, type);
    if (meta == "enum") return describe_enum(entry, type);
    if (meta == "object") return describe_object(entry, type);
    if (meta == "array") {
      type.kind = WireKind::kArray;
      type.element = TRY(type_in(entry, "element-type"));
      return {};
    }
    if (meta == "alternate") {
      type.kind = WireKind::kAlternate;
      for (const JsonValue& value : *TRY(list_of(entry, "members"))) {
        type.branches.push_back(TRY(type_in(*TRY(object_in(value)), "type")));
      }
      return {};
    }
    return bad(fmt::format("unknown meta-type '{}'", meta));
  }

  static Result<> describe_builtin(const object& entry, WireType& type) {
    static const std::map<std::string_view, WireKind> kKinds = {
        {"string", WireKind::kString}, {"number", WireKind::kNumber}, {"int", WireKind::kInteger},
        {"boolean", WireKind::kBool},  {"null", WireKind::kNull},     {"value", WireKind::kAny}};
    const std::string json_type = TRY(string_of(entry, "json-type"));
    const auto found = kKinds.find(json_type);
    if (found == kKinds.end()) return bad(fmt::format("unknown json-type '{}'", json_type));
    type.kind = found->second;
    return {};
  }

  // `values` is what servers had before they had `members`, and still have beside it.
  static Result<> describe_enum(const object& entry, WireType& type) {
    type.kind = WireKind::kEnum;
    if (!entry.contains("members")) {
      for (const JsonValue& value : *TRY(list_of(entry, "values"))) {
        if (!value.is_string()) return bad("an enumeration's value is no string");
        type.values.push_back({std::string(value.get_string()), {}});
      }
      return {};
    }
    for (const JsonValue& value : *TRY(list_of(entry, "members"))) {
      const object* member = TRY(object_in(value));
      type.values.push_back({TRY(string_of(*member, "name")), TRY(features_of(*member))});
    }
    return {};
  }

  Result<> describe_object(const object& entry, WireType& type) {
    type.kind = WireKind::kObject;
    for (const JsonValue& value : *TRY(list_of(entry, "members"))) {
      const object* given = TRY(object_in(value));
      WireMember member;
      member.name = TRY(string_of(*given, "name"));
      member.type = TRY(type_in(*given, "type"));
      member.optional = given->contains("default");
      member.features = TRY(features_of(*given));
      type.members.push_back(std::move(member));
    }
    if (!entry.contains("tag")) return {};
    type.tag = TRY(string_of(entry, "tag"));
    for (const JsonValue& value : *TRY(list_of(entry, "variants"))) {
      const object* variant = TRY(object_in(value));
      type.variants[TRY(string_of(*variant, "case"))] = TRY(type_in(*variant, "type"));
    }
    if (!type.member(type.tag)) {
      return bad(fmt::format("the tag '{}' is no member of its union", type.tag));
    }
    return {};
  }

  static std::unexpected<base::Error> bad_twice(const std::string& name, const WireType& type) {
    return bad(fmt::format("type '{}' has '{}' twice", type.name, name));
  }

  // What comparing relies on, and a sane server always gives.
  Result<> check(const WireType& type) {
    std::set<std::string_view> names;
    for (const WireValue& value : type.values) {
      if (!names.insert(value.name).second) return bad_twice(value.name, type);
    }
    for (const WireMember& member : type.members) {
      if (!names.insert(member.name).second) return bad_twice(member.name, type);
    }
    for (const WireType* branch : type.branches) {
      if (branch->kind == WireKind::kAlternate || branch->kind == WireKind::kAny) {
        return bad(fmt::format("alternate '{}' has a branch that is none", type.name));
      }
    }
    return check_variants(type, 0);
  }

  // A branch may be a union in turn, but none is inside itself.
  Result<> check_variants(const WireType& type, int depth) {
    if (type.variants.empty() || checked_.contains(&type)) return {};
    if (depth == kMaxUnionDepth) {
      return bad(fmt::format("union '{}' is a branch of itself, or of too many others", type.name));
    }
    for (const auto& [value, branch] : type.variants) {
      if (branch->kind != WireKind::kObject) {
        return bad(fmt::format("branch '{}' of '{}' is no object", value, type.name));
      }
      TRY(check_variants(*branch, depth + 1));
    }
    checked_.insert(&type);
    return {};
  }

  WireSchema schema_;
  std::set<const WireType*> checked_;  // by check_variants()
  std::map<std::string, WireType*, std::less<>> by_name_;
};

// Whether the text is a server's, and no schema: a list, or messages of QMP.
bool looks_like_answer(std::string_view text) {
  const auto skip = [&] {
    text.remove_prefix(std::min(text.find_first_not_of(" \t\r\n"), text.size()));
  };
  skip();
  if (text.starts_with('[')) return true;
  if (!text.starts_with('{')) return false;
  text.remove_prefix(1);
  skip();
  return text.starts_with("\"return\"") || text.starts_with("\"QMP\"") ||
         text.starts_with("\"id\"") || text.starts_with("\"error\"") ||
         text.starts_with("\"timestamp\"");
}

// The list in a message, if it is the one that is looked for.
const JsonValue* answer_in(const JsonValue& message) {
  const JsonValue* list = &message;
  if (message.is_object()) list = message.get_object().if_contains("return");
  if (!list || !list->is_array()) return nullptr;
  const array& entries = list->get_array();
  const bool entry = !entries.empty() && entries.front().is_object() &&
                     entries.front().get_object().contains("meta-type");
  return entry || !message.is_object() ? list : nullptr;
}

Result<WireSchema> read_answer(std::string_view text) {
  base::JsonParser parser;
  while (true) {
    std::optional<Result<JsonValue>> message = parser.next(text);
    if (!message) message = parser.finish();
    if (!message) break;
    const JsonValue value = TRY(std::move(*message));
    if (const JsonValue* entries = answer_in(value)) return read_introspection(*entries);
  }
  return bad(
      "there is no answer to query-qmp-schema in it: expected the list, or {\"return\": "
      "[...]}");
}

}  // namespace

Result<WireSchema> read_introspection(const JsonValue& entries) { return Reader().run(entries); }

Result<WireSchema> load_wire_schema(const std::string& path, const CheckOptions& options,
                                    Diagnostics& diagnostics, SourceManager& sources) {
  const SourceFile* file = TRY(sources.load(path));
  if (looks_like_answer(file->text)) {
    Result<WireSchema> schema = read_answer(file->text);
    if (!schema) return bad(fmt::format("'{}': {}", path, schema.error().text()));
    return schema;
  }
  const Schema schema = compile(sources, path, options, diagnostics);
  if (!diagnostics.ok()) return bad(fmt::format("'{}' is no schema that compiles", path));
  WireSchema out = TRY(read_introspection(introspect(schema, IntegerNames::kExact)));
  for (const auto& command : schema.commands) {
    const auto found = out.commands.find(command->name);
    if (found != out.commands.end()) found->second.replies = command->success_response;
  }
  return out;
}

}  // namespace firn::qapi
