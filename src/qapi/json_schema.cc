#include "qapi/json_schema.h"

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <limits>
#include <optional>
#include <set>

#include "qapi/doc_text.h"

namespace firn::qapi {

namespace {

using boost::json::array;
using boost::json::object;
using boost::json::string;
using boost::json::value;

// Text of any length in one line for each paragraph: who shows it wraps it.
constexpr size_t kNoWrap = size_t{1} << 20;

std::string plain(std::string_view doc_text) {
  return to_plain_text(parse_doc_text(doc_text), kNoWrap);
}

value reference(std::string_view definition) {
  return object{{"$ref", "#/$defs/" + std::string(definition)}};
}

template <typename Integer>
object integer_range() {
  return {{"type", "integer"},
          {"minimum", std::numeric_limits<Integer>::min()},
          {"maximum", std::numeric_limits<Integer>::max()}};
}

value builtin(std::string_view name) {
  if (name == "str") return object{{"type", "string"}};
  if (name == "bool") return object{{"type", "boolean"}};
  if (name == "null") return object{{"type", "null"}};
  if (name == "number") return object{{"type", "number"}};
  if (name == "int8") return integer_range<int8_t>();
  if (name == "int16") return integer_range<int16_t>();
  if (name == "int32") return integer_range<int32_t>();
  if (name == "int" || name == "int64") return integer_range<int64_t>();
  if (name == "uint8") return integer_range<uint8_t>();
  if (name == "uint16") return integer_range<uint16_t>();
  if (name == "uint32") return integer_range<uint32_t>();
  if (name == "uint64" || name == "size") return integer_range<uint64_t>();
  return true;  // any
}

// {"if": `name` is there and is `constant`, "then": ...}
object when(std::string_view name, std::string_view constant, value then) {
  return {{"if", object{{"properties", object{{name, object{{"const", constant}}}}},
                        {"required", array{name}}}},
          {"then", std::move(then)}};
}

class SchemaWriter {
 public:
  explicit SchemaWriter(const Schema& schema) : schema_(schema) {}

  value run() {
    for (const auto& type : schema_.types) {
      for (const Variant& variant : type->variants) add_open(variant.type);
    }
    for (const auto& command : schema_.commands) {
      if (!command->generate) add_open(command->arguments);
    }
    add_envelope();
    for (const auto& command : schema_.commands) add(*command);
    for (const auto& event : schema_.events) add(*event);
    for (const auto& type : schema_.types) {
      const bool anonymous = type->implicit || type->kind == TypeKind::kBuiltin;
      if (!anonymous) add(*type);
    }
    const std::string name = schema_.name.empty() && !schema_.files.empty()
                                 ? schema_.files.front()->module
                                 : schema_.name;
    return object{{"$schema", "https://json-schema.org/draft/2020-12/schema"},
                  {"title", name + " QMP"},
                  {"description",
                   "What is sent over QMP, one message at a time. Each command, event and type is "
                   "in $defs too."},
                  {"$ref", "#/$defs/message"},
                  {"$defs", std::move(definitions_)}};
  }

 private:
  // ---- Types ----

  // Types that join other members, as a union's branches do, are needed without being closed.
  void add_open(const Type* type) {
    if (type && !type->implicit) open_.insert(type);
  }

  static std::string open_name(const Type& type) { return "members:" + type.name; }

  value use(const Type& type) const {
    if (type.kind == TypeKind::kBuiltin) return builtin(type.name);
    if (type.kind == TypeKind::kArray) {
      return object{{"type", "array"}, {"items", use(*type.element)}};
    }
    if (type.implicit) return content(type, type.doc, true);
    return reference(type.name);
  }

  void add(const Type& type) {
    if (open_.contains(&type)) {
      definitions_[open_name(type)] = content(type, type.doc, false);
      definitions_[type.name] =
          object{{"$ref", "#/$defs/" + open_name(type)}, {"unevaluatedProperties", false}};
    } else {
      definitions_[type.name] = content(type, type.doc, true);
    }
  }

  object content(const Type& type, const Doc* doc, bool closed) const {
    object out;
    const std::string description = describe(type, doc);
    if (!description.empty()) out["description"] = description;
    annotate(out, type.features);
    switch (type.kind) {
      case TypeKind::kEnum: {
        array values;
        for (const EnumValue& each : type.values) values.push_back(string(each.name));
        out["type"] = "string";
        out["enum"] = std::move(values);
        break;
      }
      case TypeKind::kAlternate: {
        array branches;
        for (const Member& branch : type.own_members) branches.push_back(use_member(branch, doc));
        out["anyOf"] = std::move(branches);
        break;
      }
      default:
        add_members(out, type, doc, closed);
    }
    return out;
  }

  void add_members(object& out, const Type& type, const Doc* doc, bool closed) const {
    out["type"] = "object";
    object properties;
    for (const Member& member : type.members) properties[member.name] = use_member(member, doc);
    if (!properties.empty()) out["properties"] = std::move(properties);
    if (array required = required_of(type); !required.empty()) {
      out["required"] = std::move(required);
    }
    array branches;
    for (const Variant& variant : type.variants) {
      if (!variant.type) continue;
      value then = variant.type->implicit ? value(content(*variant.type, nullptr, false))
                                          : reference(open_name(*variant.type));
      branches.push_back(when(type.tag->name, variant.name, std::move(then)));
    }
    // What a branch adds is known to the keyword "unevaluatedProperties" only.
    const bool plain_object = branches.empty();
    if (!branches.empty()) out["allOf"] = std::move(branches);
    if (closed) out[plain_object ? "additionalProperties" : "unevaluatedProperties"] = false;
  }

  static array required_of(const Type& type) {
    array out;
    for (const Member& member : type.members) {
      if (!member.optional) out.push_back(string(member.name));
    }
    return out;
  }

  value use_member(const Member& member, const Doc* doc) const {
    value used = use(*member.type);
    const DocPart* part = doc ? doc->member(member.name) : nullptr;
    const std::string text = plain(part ? part->text : member.doc);
    if (text.empty() && member.features.empty() && !member.secret) return used;
    if (used.is_bool()) used = object();
    object& out = used.as_object();
    if (!text.empty()) out["description"] = text;
    annotate(out, member.features);
    if (member.secret) out["writeOnly"] = true;
    return used;
  }

  static void annotate(object& out, const Features& features) {
    if (features.empty()) return;
    array names;
    for (const Feature& feature : features) {
      names.push_back(string(feature.name));
      if (feature.name == "deprecated") out["deprecated"] = true;
    }
    out["x-features"] = std::move(names);
  }

  // The body of the documentation; an enumeration's values follow it.
  static std::string describe(const Type& type, const Doc* doc) {
    if (!doc) return {};
    if (type.implicit) return {};
    std::string out = plain(doc->body);
    if (type.kind != TypeKind::kEnum) return out;
    std::string values;
    for (const EnumValue& each : type.values) {
      const DocPart* part = doc->member(each.name);
      if (part && !part->text.empty()) values += "\n- " + each.name + ": " + plain(part->text);
    }
    return values.empty() ? out : out + (out.empty() ? "" : "\n") + values;
  }

  // ---- Messages ----

  void add_envelope() {
    definitions_["message"] =
        choose("QMP", reference("greeting"),
               choose("event", reference("event"),
                      choose("return", reference("reply"),
                             choose("error", reference("reply"), reference("request")))));
    definitions_["greeting"] = object{
        {"type", "object"},
        {"description", "What a server sends first."},
        {"properties",
         object{{"QMP",
                 object{{"type", "object"},
                        {"properties",
                         object{{"version", object{{"type", "object"}}},
                                {"capabilities", object{{"type", "array"},
                                                        {"items", object{{"type", "string"}}}}}}},
                        {"required", array{"version", "capabilities"}}}}}},
        {"required", array{"QMP"}},
        {"additionalProperties", false}};
    definitions_["request"] = request();
    definitions_["event"] = event();
    definitions_["reply"] =
        choose("error", reference("error"), reply(value(true), "What answers a request."));
    definitions_["error"] = object{
        {"type", "object"},
        {"description", "The answer to a request that failed."},
        {"properties",
         object{{"error", object{{"type", "object"},
                                 {"properties", object{{"class", object{{"type", "string"}}},
                                                       {"desc", object{{"type", "string"}}}}},
                                 {"required", array{"class", "desc"}}}},
                {"id", true}}},
        {"required", array{"error"}},
        {"additionalProperties", false}};
    definitions_["timestamp"] = object{
        {"type", "object"},
        {"description", "When it happened, since 1970; -1 where that is not known."},
        {"properties", object{{"seconds", object{{"type", "integer"}, {"minimum", -1}}},
                              {"microseconds", object{{"type", "integer"}, {"minimum", -1}}}}},
        {"required", array{"seconds", "microseconds"}},
        {"additionalProperties", false}};
  }

  static value choose(std::string_view member, value then, value otherwise) {
    return object{{"if", object{{"required", array{member}}}},
                  {"then", std::move(then)},
                  {"else", std::move(otherwise)}};
  }

  value request() const {
    array names;
    array names_oob;
    array rules;
    for (const auto& command : schema_.commands) {
      names.push_back(string(command->name));
      rules.push_back(when("execute", command->name, reference("command:" + command->name)));
      if (!command->allow_oob) continue;
      names_oob.push_back(string(command->name));
      rules.push_back(when("exec-oob", command->name, reference("command:" + command->name)));
    }
    object properties{{"execute", object{{"enum", std::move(names)}}}};
    array one_of{object{{"required", array{"execute"}}}};
    if (!names_oob.empty()) {
      properties["exec-oob"] = object{{"enum", std::move(names_oob)}};
      one_of.push_back(object{{"required", array{"exec-oob"}}});
    }
    object out{{"type", "object"},
               {"description", "What a client sends."},
               {"properties", std::move(properties)},
               {"oneOf", std::move(one_of)}};
    if (!rules.empty()) out["allOf"] = std::move(rules);
    return out;
  }

  value event() const {
    array names;
    array rules;
    for (const auto& event : schema_.events) {
      names.push_back(string(event->name));
      rules.push_back(when("event", event->name, reference("event:" + event->name)));
    }
    object out{{"type", "object"},
               {"description", "What a server sends unasked."},
               {"properties", object{{"event", object{{"enum", std::move(names)}}}}},
               {"required", array{"event", "timestamp"}}};
    if (!rules.empty()) out["allOf"] = std::move(rules);
    return out;
  }

  static object reply(value returned, std::string_view description) {
    return {{"type", "object"},
            {"description", description},
            {"properties", object{{"return", std::move(returned)}, {"id", true}}},
            {"required", array{"return"}},
            {"additionalProperties", false}};
  }

  // An object that a message carries: a named type, one of its own, or none.
  value carried(const Type* type, const Doc* doc, bool closed) const {
    if (!type) return object{{"type", "object"}, {"additionalProperties", false}};
    if (type->implicit) return content(*type, doc, closed);
    return reference(closed ? type->name : open_name(*type));
  }

  void add(const Command& command) {
    // A command that is not generated looks at its arguments itself; it may take more of them.
    definitions_["arguments:" + command.name] =
        carried(command.arguments, command.doc, command.generate || !command.arguments);
    object execute{{"const", command.name}};
    object properties{{"execute", execute}};
    if (command.allow_oob) properties["exec-oob"] = std::move(execute);
    properties["arguments"] = reference("arguments:" + command.name);
    properties["id"] = true;
    object request{{"type", "object"}, {"properties", std::move(properties)}};
    if (command.doc) request["description"] = plain(command.doc->body);
    annotate(request, command.features);
    array required;
    if (!command.allow_oob) required.push_back("execute");
    if (command.arguments && !required_of(*command.arguments).empty()) {
      required.push_back("arguments");
    }
    if (!required.empty()) request["required"] = std::move(required);
    request["additionalProperties"] = false;
    definitions_["command:" + command.name] = std::move(request);

    value returned = object{{"type", "object"}, {"additionalProperties", false}};
    if (command.returns) returned = use(*command.returns);
    if (const DocPart* part = command.doc ? command.doc->section("Returns") : nullptr) {
      if (returned.is_object()) returned.as_object()["description"] = plain(part->text);
    }
    definitions_["return:" + command.name] = std::move(returned);
    definitions_["reply:" + command.name] =
        command.success_response
            ? choose("error", reference("error"),
                     reply(reference("return:" + command.name), "Answers " + command.name + "."))
            : reference("error");
  }

  void add(const Event& event) {
    object properties{{"event", object{{"const", event.name}}},
                      {"timestamp", reference("timestamp")}};
    array required{"event", "timestamp"};
    if (event.data) {
      definitions_["data:" + event.name] = carried(event.data, event.doc, true);
      properties["data"] = reference("data:" + event.name);
      if (!required_of(*event.data).empty()) required.push_back("data");
    }
    object out{{"type", "object"}};
    if (event.doc) out["description"] = plain(event.doc->body);
    annotate(out, event.features);
    out["properties"] = std::move(properties);
    out["required"] = std::move(required);
    out["additionalProperties"] = false;
    definitions_["event:" + event.name] = std::move(out);
  }

  const Schema& schema_;
  std::set<const Type*> open_;
  object definitions_;
};

}  // namespace

base::JsonValue json_schema(const Schema& schema) { return SchemaWriter(schema).run(); }

}  // namespace firn::qapi
