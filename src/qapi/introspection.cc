#include "qapi/introspection.h"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <map>
#include <string>
#include <vector>

namespace firn::qapi {

namespace {

using boost::json::array;
using boost::json::object;

class Introspection {
 public:
  explicit Introspection(IntegerNames integers) : integers_(integers) {}

  base::JsonValue run(const Schema& schema) {
    for (const Entity& entity : schema.entities) {
      if (entity.command) add(*entity.command);
      if (entity.event) add(*entity.event);
    }
    // Describing a type may bring more types into use.
    for (size_t i = 0; i < used_.size(); ++i) add(*used_[i]);
    return std::move(out_);
  }

 private:
  static bool is_integer(const Type& type) {
    return type.kind == TypeKind::kBuiltin &&
           (type.name.starts_with("int") || type.name.starts_with("uint") || type.name == "size");
  }

  // The name by which clients know a type. Null stands for the object without members.
  std::string use(const Type* type) {
    static const Type kEmpty{.kind = TypeKind::kObject};
    static const Type kInteger{.kind = TypeKind::kBuiltin, .name = "int"};
    static const Type kInt64{.kind = TypeKind::kBuiltin, .name = "int64"};
    static const Type kUint64{.kind = TypeKind::kBuiltin, .name = "uint64"};
    if (!type) type = &kEmpty;
    if (is_integer(*type)) {
      if (integers_ == IntegerNames::kMasked) {
        type = &kInteger;
      } else if (type->name == "int" || type->name == "size") {
        type = type->name == "int" ? &kInt64 : &kUint64;
      }
    }
    auto [place, inserted] = names_.try_emplace(type);
    if (!inserted) return place->second;
    std::string name;
    if (type->kind == TypeKind::kBuiltin) {
      name = type->name;
      if (!shared_names_.insert({name, type}).second) return names_[type] = name;
    } else if (type->kind == TypeKind::kArray) {
      name = "[" + use(type->element) + "]";
      if (!shared_names_.insert({name, type}).second) return names_[type] = name;
    } else {
      name = std::to_string(next_++);
    }
    used_.push_back(type);
    return names_[type] = name;
  }

  static void add_features(object& entry, const Features& features) {
    if (features.empty()) return;
    array list;
    for (const Feature& feature : features) list.emplace_back(feature.name);
    entry["features"] = std::move(list);
  }

  void add(const Command& command) {
    object entry{{"name", command.name}, {"meta-type", "command"}};
    entry["arg-type"] = use(command.arguments);
    entry["ret-type"] = use(command.returns);
    if (command.allow_oob) entry["allow-oob"] = true;
    add_features(entry, command.features);
    out_.push_back(std::move(entry));
  }

  void add(const Event& event) {
    object entry{{"name", event.name}, {"meta-type", "event"}};
    entry["arg-type"] = use(event.data);
    add_features(entry, event.features);
    out_.push_back(std::move(entry));
  }

  void add(const Type& type) {
    object entry;
    entry["name"] = names_.at(&type);
    switch (type.kind) {
      case TypeKind::kBuiltin:
        entry["meta-type"] = "builtin";
        entry["json-type"] = json_type(type);
        break;
      case TypeKind::kEnum:
        entry["meta-type"] = "enum";
        add_values(entry, type);
        break;
      case TypeKind::kArray:
        entry["meta-type"] = "array";
        entry["element-type"] = use(type.element);
        break;
      case TypeKind::kObject:
        entry["meta-type"] = "object";
        add_members(entry, type);
        break;
      case TypeKind::kAlternate: {
        entry["meta-type"] = "alternate";
        array members;
        for (const Member& branch : type.own_members) {
          members.push_back(object{{"type", use(branch.type)}});
        }
        entry["members"] = std::move(members);
        break;
      }
    }
    add_features(entry, type.features);
    out_.push_back(std::move(entry));
  }

  static std::string_view json_type(const Type& type) {
    static const std::map<std::string_view, std::string_view> kJsonTypes = {{"str", "string"},
                                                                            {"number", "number"},
                                                                            {"bool", "boolean"},
                                                                            {"any", "value"},
                                                                            {"null", "null"}};
    return is_integer(type) ? "int" : kJsonTypes.at(type.name);
  }

  static void add_values(object& entry, const Type& type) {
    array members;
    array values;
    for (const EnumValue& value : type.values) {
      object member{{"name", value.name}};
      add_features(member, value.features);
      members.push_back(std::move(member));
      values.emplace_back(value.name);
    }
    entry["members"] = std::move(members);
    entry["values"] = std::move(values);
  }

  void add_members(object& entry, const Type& type) {
    array members;
    for (const Member& member : type.members) {
      object described{{"name", member.name}, {"type", use(member.type)}};
      if (member.optional) described["default"] = nullptr;
      add_features(described, member.features);
      members.push_back(std::move(described));
    }
    entry["members"] = std::move(members);
    if (!type.is_union()) return;
    entry["tag"] = type.tag->name;
    array variants;
    for (const Variant& variant : type.variants) {
      variants.push_back(object{{"case", variant.name}, {"type", use(variant.type)}});
    }
    entry["variants"] = std::move(variants);
  }

  const IntegerNames integers_;
  array out_;
  std::vector<const Type*> used_;
  std::map<const Type*, std::string> names_;
  std::map<std::string, const Type*> shared_names_;  // built-in types and lists
  size_t next_ = 0;
};

}  // namespace

base::JsonValue introspect(const Schema& schema, IntegerNames integers) {
  return Introspection(integers).run(schema);
}

}  // namespace firn::qapi
