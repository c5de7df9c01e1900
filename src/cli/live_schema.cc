#include "cli/live_schema.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <optional>

namespace firn::cli {

namespace json = boost::json;
using base::ErrorKind;
using base::fail;
using base::Result;

namespace {

std::string text_of(const json::object& object, std::string_view member) {
  const json::value* value = object.if_contains(member);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : std::string();
}

// The objects of a list; what is none is passed over.
std::vector<const json::object*> objects_of(const json::object& object, std::string_view member) {
  std::vector<const json::object*> found;
  const json::value* list = object.if_contains(member);
  if (list == nullptr || !list->is_array()) return found;
  for (const json::value& element : list->get_array()) {
    if (element.is_object()) found.push_back(&element.get_object());
  }
  return found;
}

std::vector<std::string> strings_of(const json::object& object, std::string_view member) {
  std::vector<std::string> found;
  const json::value* list = object.if_contains(member);
  if (list == nullptr || !list->is_array()) return found;
  for (const json::value& element : list->get_array()) {
    if (element.is_string()) found.emplace_back(element.get_string());
  }
  return found;
}

using Types = std::map<std::string, std::unique_ptr<LiveType>, std::less<>>;

// Fills types, whose places are made before, so that they can refer to each other.
class Reader {
 public:
  explicit Reader(const Types& types) : types_(types) {}

  Result<const LiveType*> find(const json::object& entry, std::string_view member) const {
    const std::string name = text_of(entry, member);
    const auto found = types_.find(name);
    if (found == types_.end()) {
      return fail(ErrorKind::kGeneric,
                  fmt::format("The server's schema is broken: '{}' refers to the type '{}', which "
                              "is not in it",
                              text_of(entry, "name"), name));
    }
    return found->second.get();
  }

  // As find(), of a command's or an event's arguments: they are an object.
  Result<const LiveType*> find_object(const json::object& entry, std::string_view member) const {
    const LiveType* type = TRY(find(entry, member));
    if (type->kind == TypeKind::kObject) return type;
    return fail(ErrorKind::kGeneric,
                fmt::format("The server's schema is broken: the arguments of '{}' are no object",
                            text_of(entry, "name")));
  }

  Result<> fill(LiveType& type, const json::object& entry) const {
    const std::string meta = text_of(entry, "meta-type");
    if (meta == "builtin") {
      type.kind = builtin_kind(text_of(entry, "json-type"));
    } else if (meta == "enum") {
      fill_enum(type, entry);
    } else if (meta == "array") {
      type.kind = TypeKind::kArray;
      type.element = TRY(find(entry, "element-type"));
    } else if (meta == "alternate") {
      type.kind = TypeKind::kAlternate;
      for (const json::object* member : objects_of(entry, "members")) {
        type.alternatives.push_back(TRY(find(*member, "type")));
      }
    } else {
      TRY(fill_object(type, entry));
    }
    return {};
  }

 private:
  static TypeKind builtin_kind(std::string_view json_type) {
    if (json_type == "string") return TypeKind::kString;
    if (json_type == "int") return TypeKind::kInteger;
    if (json_type == "number") return TypeKind::kNumber;
    if (json_type == "boolean") return TypeKind::kBoolean;
    if (json_type == "null") return TypeKind::kNull;
    return TypeKind::kAny;
  }

  static void fill_enum(LiveType& type, const json::object& entry) {
    type.kind = TypeKind::kEnum;
    for (const json::object* member : objects_of(entry, "members")) {
      type.values.push_back({text_of(*member, "name"), strings_of(*member, "features")});
    }
    if (!type.values.empty()) return;
    for (std::string& value : strings_of(entry, "values")) {  // servers before 6.2 have these alone
      type.values.push_back({std::move(value), {}});
    }
  }

  Result<> fill_object(LiveType& type, const json::object& entry) const {
    type.kind = TypeKind::kObject;
    for (const json::object* member : objects_of(entry, "members")) {
      type.members.push_back({.name = text_of(*member, "name"),
                              .type = TRY(find(*member, "type")),
                              .optional = member->contains("default"),
                              .features = strings_of(*member, "features")});
    }
    type.tag = text_of(entry, "tag");
    for (const json::object* variant : objects_of(entry, "variants")) {
      type.variants.push_back({text_of(*variant, "case"), TRY(find(*variant, "type"))});
    }
    return {};
  }

  const Types& types_;
};

bool is_type(const json::object& entry) {
  const std::string meta = text_of(entry, "meta-type");
  return meta == "builtin" || meta == "enum" || meta == "array" || meta == "alternate" ||
         meta == "object";
}

// Insertions, deletions, replacements and swaps of neighbours that make one of the other.
size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<size_t>> table(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) table[i][0] = i;
  for (size_t j = 0; j <= b.size(); ++j) table[0][j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = table[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      table[i][j] = std::min({table[i - 1][j] + 1, table[i][j - 1] + 1, replaced});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        table[i][j] = std::min(table[i][j], table[i - 2][j - 2] + 1);
      }
    }
  }
  return table[a.size()][b.size()];
}

}  // namespace

Result<LiveSchema> LiveSchema::read(const base::JsonValue& entries) {
  if (!entries.is_array()) {
    return fail(ErrorKind::kGeneric, "The server's schema is broken: it is no list");
  }
  LiveSchema schema;
  std::vector<const json::object*> objects;
  for (const json::value& entry : entries.get_array()) {
    if (!entry.is_object()) continue;
    objects.push_back(&entry.get_object());
    if (is_type(*objects.back())) {
      schema.types_.emplace(text_of(*objects.back(), "name"), std::make_unique<LiveType>());
    }
  }
  const Reader reader(schema.types_);
  for (const json::object* entry : objects) {
    if (is_type(*entry)) {
      TRY(reader.fill(*schema.types_.find(text_of(*entry, "name"))->second, *entry));
    }
  }
  for (const auto& [name, type] : schema.types_) {  // the language has none within another
    std::erase_if(type->alternatives,
                  [](const LiveType* each) { return each->kind == TypeKind::kAlternate; });
  }
  for (const json::object* entry : objects) {
    const std::string name = text_of(*entry, "name");
    const std::string meta = text_of(*entry, "meta-type");
    if (meta == "command") {
      const json::value* oob = entry->if_contains("allow-oob");
      schema.commands_[name] = {.name = name,
                                .arguments = TRY(reader.find_object(*entry, "arg-type")),
                                .returns = TRY(reader.find(*entry, "ret-type")),
                                .features = strings_of(*entry, "features"),
                                .allow_oob = oob != nullptr && *oob == json::value(true),
                                .takes_more = name == "device_add"};
    } else if (meta == "event") {
      schema.events_[name] = {.name = name,
                              .data = TRY(reader.find_object(*entry, "arg-type")),
                              .features = strings_of(*entry, "features")};
    }
  }
  return schema;
}

const LiveCommand* LiveSchema::command(std::string_view name) const {
  const auto found = commands_.find(name);
  return found == commands_.end() ? nullptr : &found->second;
}

const LiveEvent* LiveSchema::event(std::string_view name) const {
  const auto found = events_.find(name);
  return found == events_.end() ? nullptr : &found->second;
}

std::vector<const LiveMember*> members_of(const LiveType& object, std::string_view tag) {
  std::vector<const LiveMember*> found;
  for (const LiveMember& member : object.members) found.push_back(&member);
  for (const LiveVariant& variant : object.variants) {
    if (variant.value != tag) continue;
    for (const LiveMember& member : variant.members->members) found.push_back(&member);
  }
  return found;
}

std::vector<const LiveMember*> members_of_all_branches(const LiveType& object) {
  std::vector<const LiveMember*> found = members_of(object, {});
  for (const LiveVariant& variant : object.variants) {
    for (const LiveMember& member : variant.members->members) found.push_back(&member);
  }
  return found;
}

const LiveType* as_object(const LiveType& type) {
  if (type.kind == TypeKind::kObject) return &type;
  for (const LiveType* alternative : type.alternatives) {
    if (alternative->kind == TypeKind::kObject) return alternative;
  }
  return nullptr;
}

const LiveType* as_array(const LiveType& type) {
  if (type.kind == TypeKind::kArray) return &type;
  for (const LiveType* alternative : type.alternatives) {
    if (alternative->kind == TypeKind::kArray) return alternative;
  }
  return nullptr;
}

bool has_feature(const std::vector<std::string>& features, std::string_view name) {
  return std::ranges::find(features, name) != features.end();
}

std::vector<std::string> similar_names(std::string_view wrong,
                                       const std::vector<std::string>& names) {
  constexpr size_t kMaxLength = 64;
  constexpr size_t kMost = 3;
  std::vector<std::pair<size_t, std::string>> near;
  if (wrong.empty() || wrong.size() > kMaxLength) return {};
  for (const std::string& name : names) {
    if (name.size() > kMaxLength) continue;
    size_t apart = distance(wrong, name);
    // What was typed may be a part of the name.
    constexpr size_t kMinPart = 3;
    const bool part = wrong.size() >= kMinPart && name.find(wrong) != std::string::npos;
    if (part) apart = std::min<size_t>(apart, 2);
    if (apart <= std::max<size_t>(1, std::min(wrong.size(), name.size()) / 3)) {
      near.emplace_back(apart, name);
    }
  }
  std::ranges::sort(near);
  std::vector<std::string> found;
  for (auto& [apart, name] : near) {
    if (found.size() < kMost && std::ranges::find(found, name) == found.end()) {
      found.push_back(std::move(name));
    }
  }
  return found;
}

std::string did_you_mean(std::string_view wrong, const std::vector<std::string>& names) {
  const std::vector<std::string> similar = similar_names(wrong, names);
  if (similar.empty()) return {};
  std::string text = "Did you mean ";
  for (size_t i = 0; i < similar.size(); ++i) {
    if (i != 0) text += i + 1 == similar.size() ? " or " : ", ";
    text += fmt::format("'{}'", similar[i]);
  }
  return text + "?";
}

}  // namespace firn::cli
