#include "qapi/cpp_model.h"

#include <algorithm>
#include <utility>

#include "qapi/names.h"

namespace firn::qapi {

namespace {

// What src/api and the generated headers themselves declare in namespace firn::api.
constexpr const char* kTaken[] = {"AnyValue",        "AsSize",    "Boxed",      "CommandEntry",
                                  "CommandHandlers", "Decoder",   "InputMode",  "JsonKind",
                                  "JsonObject",      "JsonValue", "ListReader", "ObjectReader",
                                  "ErrorDialect"};

bool is_class(const Type& type) {
  return type.kind == TypeKind::kObject || type.kind == TypeKind::kAlternate;
}

template <typename Taken>
std::string unused(std::string wanted, Taken& taken) {
  while (!taken.insert(wanted).second) wanted += '_';
  return wanted;
}

// Tarjan's strongly connected components, without recursion: a schema may be as deep as it likes.
class Components {
 public:
  explicit Components(const std::vector<const Type*>& types) {
    for (const Type* type : types) {
      if (is_class(*type) && !index_.contains(type)) visit(type);
    }
  }
  std::map<const Type*, uint32_t> take() { return std::move(component_); }

 private:
  struct Frame {
    const Type* type;
    std::vector<const Type*> held;
    size_t next = 0;
  };

  void enter(const Type* type) {
    index_[type] = low_[type] = static_cast<uint32_t>(index_.size());
    open_.push_back(type);
    frames_.push_back({type, held_by_value(*type)});
  }

  void visit(const Type* root) {
    enter(root);
    while (!frames_.empty()) {
      Frame& frame = frames_.back();
      if (frame.next < frame.held.size()) {
        const Type* held = frame.held[frame.next++];
        if (!index_.contains(held)) {
          enter(held);
        } else if (!component_.contains(held)) {
          low_[frame.type] = std::min(low_[frame.type], index_[held]);
        }
        continue;
      }
      const Type* done = frame.type;
      if (low_[done] == index_[done]) close(done);
      frames_.pop_back();
      if (!frames_.empty()) {
        const Type* outer = frames_.back().type;
        low_[outer] = std::min(low_[outer], low_[done]);
      }
    }
  }

  void close(const Type* root) {
    const Type* type;
    do {
      type = open_.back();
      open_.pop_back();
      component_[type] = index_[root];
    } while (type != root);
  }

  std::map<const Type*, uint32_t> index_;
  std::map<const Type*, uint32_t> low_;
  std::map<const Type*, uint32_t> component_;
  std::vector<const Type*> open_;
  std::vector<Frame> frames_;
};

}  // namespace

std::vector<const Type*> held_by_value(const Type& type) {
  std::vector<const Type*> out;
  if (type.kind != TypeKind::kObject) return out;
  for (const Member& member : type.members) {
    if (member.type && is_class(*member.type)) out.push_back(member.type);
  }
  for (const Variant& variant : type.variants) {
    if (variant.type) out.push_back(variant.type);
  }
  return out;
}

CppModel::CppModel(const Schema& schema) : taken_(std::begin(kTaken), std::end(kTaken)) {
  name_types(schema);
  name_modules(schema);
  name_commands_and_events(schema);
  find_cycles();
  sort_definitions();
  find_secrets(schema);
}

std::string CppModel::unique(std::string wanted) { return unused(std::move(wanted), taken_); }

void CppModel::name_types(const Schema& schema) {
  for (const auto& type : schema.types) {
    if (type->kind == TypeKind::kBuiltin || type->kind == TypeKind::kArray) continue;
    types_.push_back(type.get());
  }
  // What the schema names keeps its name before what is made on the way.
  for (const bool implicit : {false, true}) {
    for (const Type* type : types_) {
      if (type->implicit == implicit) names_[type] = unique(cpp_identifier(type->name));
    }
  }
  for (const Type* type : types_) {
    std::set<std::string> taken;
    for (const EnumValue& value : type->values) {
      enumerators_[type][value.name] = unused(cpp_enumerator(value.name), taken);
    }
  }
}

void CppModel::name_modules(const Schema& schema) {
  static const std::string kNone;
  modules_[nullptr] = kNone;
  std::set<std::string> taken;
  for (const SourceFile* file : schema.files) {
    modules_[file] = unused(cpp_member(file->module), taken);
    classes_[file] = unique(cpp_identifier(cpp_pascal(file->module) + "Commands"));
  }
}

void CppModel::name_commands_and_events(const Schema& schema) {
  std::set<std::string> taken;
  for (const auto& command : schema.commands) {
    methods_[command.get()] = unused(cpp_member(command->name), taken);
  }
  for (const auto& event : schema.events) {
    const bool own = !event->data || !event->data->implicit;
    events_[event.get()] =
        own ? unique(cpp_identifier(cpp_pascal(event->name) + "Event")) : names_.at(event->data);
  }
}

void CppModel::find_cycles() { cycles_ = Components(types_).take(); }

bool CppModel::needs_box(const Type& owner, const Type& held) const {
  const auto outer = cycles_.find(&owner);
  const auto inner = cycles_.find(&held);
  return outer != cycles_.end() && inner != cycles_.end() && outer->second == inner->second;
}

void CppModel::sort_definitions() {
  struct Frame {
    const Type* type;
    std::vector<const Type*> held;
    size_t next = 0;
  };
  std::set<const Type*> begun;
  for (const Type* root : types_) {
    if (!is_class(*root) || !begun.insert(root).second) continue;
    std::vector<Frame> frames = {{root, held_by_value(*root)}};
    while (!frames.empty()) {
      Frame& frame = frames.back();
      if (frame.next == frame.held.size()) {
        order_.push_back(frame.type);
        frames.pop_back();
        continue;
      }
      const Type* held = frame.held[frame.next++];
      if (needs_box(*frame.type, *held) || !begun.insert(held).second) continue;
      frames.push_back({held, held_by_value(*held)});
    }
  }
}

// From the members that are marked, outward to whatever may hold them.
void CppModel::find_secrets(const Schema& schema) {
  std::map<const Type*, std::vector<const Type*>> holders;
  std::vector<const Type*> found;
  for (const auto& type : schema.types) {
    if (type->element) holders[type->element].push_back(type.get());
    const bool alternate = type->kind == TypeKind::kAlternate;
    for (const Member& member : alternate ? type->own_members : type->members) {
      if (member.secret) found.push_back(type.get());
      holders[member.type].push_back(type.get());
    }
    for (const Variant& variant : type->variants) {
      if (variant.type) holders[variant.type].push_back(type.get());
    }
  }
  while (!found.empty()) {
    const Type* type = found.back();
    found.pop_back();
    if (!secret_.insert(type).second) continue;
    const auto around = holders.find(type);
    if (around == holders.end()) continue;
    found.insert(found.end(), around->second.begin(), around->second.end());
  }
}

const std::string& CppModel::enumerator(const Type& type, std::string_view value) const {
  return enumerators_.at(&type).find(value)->second;
}

std::string CppModel::type(const Type& type) const {
  static const std::map<std::string_view, std::string_view> kBuiltins = {
      {"str", "std::string"}, {"number", "double"},   {"int", "int64_t"},
      {"int8", "int8_t"},     {"int16", "int16_t"},   {"int32", "int32_t"},
      {"int64", "int64_t"},   {"uint8", "uint8_t"},   {"uint16", "uint16_t"},
      {"uint32", "uint32_t"}, {"uint64", "uint64_t"}, {"size", "uint64_t"},
      {"bool", "bool"},       {"any", "AnyValue"},    {"null", "std::nullptr_t"},
  };
  switch (type.kind) {
    case TypeKind::kBuiltin:
      return std::string(kBuiltins.at(type.name));
    case TypeKind::kArray:
      return "std::vector<" + this->type(*type.element) + ">";
    default:
      return name(type);
  }
}

}  // namespace firn::qapi
