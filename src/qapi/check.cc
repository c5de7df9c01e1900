#include "qapi/check.h"

#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>
#include <map>
#include <optional>
#include <utility>

#include "qapi/names.h"

namespace firn::qapi {

const Type* Schema::find_type(std::string_view name) const {
  for (const auto& type : types) {
    if (type->name == name) return type.get();
  }
  return nullptr;
}

namespace {

constexpr std::string_view kBuiltins[] = {"str",    "number", "int",   "int8",   "int16",
                                          "int32",  "int64",  "uint8", "uint16", "uint32",
                                          "uint64", "size",   "bool",  "any",    "null"};

enum class MetaType : uint8_t { kEnum, kStruct, kUnion, kAlternate, kCommand, kEvent };

struct MetaName {
  std::string_view key;
  MetaType meta;
  bool in_2011_only;
};
constexpr MetaName kMetaNames[] = {
    {"enum", MetaType::kEnum, false},           {"struct", MetaType::kStruct, false},
    {"type", MetaType::kStruct, true},          {"union", MetaType::kUnion, false},
    {"alternate", MetaType::kAlternate, false}, {"command", MetaType::kCommand, false},
    {"event", MetaType::kEvent, false},
};

// A definition that takes part (its `if` holds), with its own name.
struct Declared {
  const Node* node;
  size_t index;  // in ParsedSchema::definitions
  MetaType meta;
  std::string name;
  Span name_span;
  const Doc* doc;
  Type* type = nullptr;  // of the four kinds that define one
};

class Checker {
 public:
  Checker(ParsedSchema parsed, const CheckOptions& options, Diagnostics& diagnostics)
      : parsed_(std::move(parsed)), options_(options), diagnostics_(diagnostics) {
    schema_.files = parsed_.files;
  }

  Schema run() {
    for (std::string_view name : kBuiltins) add_type(TypeKind::kBuiltin, std::string(name), {});
    for (size_t i = 0; i < parsed_.definitions.size(); ++i) {
      declare(parsed_.definitions[i], i);
    }
    for (Declared& declared : declared_) {
      if (declared.type && declared.meta != MetaType::kUnion) define(declared);
    }
    for (Declared& declared : declared_) {
      if (declared.meta == MetaType::kUnion) define(declared);
    }
    for (const auto& type : schema_.types) resolve_members(type.get());
    for (Declared& declared : declared_) {
      if (declared.meta == MetaType::kUnion) define_branches(declared);
    }
    find_role_type();
    for (Declared& declared : declared_) {
      add_free_docs(declared.index);
      finish(declared);
    }
    add_free_docs(parsed_.definitions.size());
    // Types made on the way, for anonymous objects, are the last ones.
    for (size_t i = 0; i < schema_.types.size(); ++i) resolve_members(schema_.types[i].get());
    return std::move(schema_);
  }

 private:
  bool old_dialect() const { return options_.dialect == Dialect::k2011; }
  void error(const Span& span, std::string text) { diagnostics_.error(span, std::move(text)); }

  // ---- Declaring: which definitions there are ----

  Type* add_type(TypeKind kind, std::string name, const Span& span) {
    auto type = std::make_unique<Type>();
    type->kind = kind;
    type->name = std::move(name);
    type->span = span;
    type->file = span.file;
    Type* raw = type.get();
    by_name_.emplace(raw->name, raw);
    schema_.types.push_back(std::move(type));
    return raw;
  }

  // Enters the free text that stands before the definition with this index, once.
  void add_free_docs(size_t index) {
    for (; next_free_doc_ < parsed_.free_docs.size(); ++next_free_doc_) {
      FreeDoc& free = parsed_.free_docs[next_free_doc_];
      if (free.before > index) return;
      schema_.docs.push_back(std::make_unique<Doc>(std::move(free.doc)));
      const Doc* doc = schema_.docs.back().get();
      schema_.entities.push_back({.text = doc, .file = doc->span.file});
    }
  }

  void declare(Definition& definition, size_t index) {
    const Node& node = definition.node;
    const MetaName* found = nullptr;
    for (const Node::Member& member : node.members) {
      for (const MetaName& meta : kMetaNames) {
        if (member.name == meta.key && (!meta.in_2011_only || old_dialect()) && !found)
          found = &meta;
      }
    }
    if (!found) {
      std::string hint;
      if (node.member("type")) hint = " ('type' is the dialect of 2011: use 'struct')";
      return error(node.span,
                   "a definition needs one of 'enum', 'struct', 'union', 'alternate', 'command', "
                   "'event', 'include' and 'pragma'" +
                       hint);
    }
    const Node& name = node.member(found->key)->value;
    if (name.kind != Node::Kind::kString) {
      return error(name.span, fmt::format("'{}' needs a name", found->key));
    }
    check_keys(node, found->meta, found->key);
    if (!condition_holds(node)) return;
    Declared declared{&node, index, found->meta, name.text, name.span, nullptr};
    check_definition_name(declared, found->key);
    if (definition.doc) {
      schema_.docs.push_back(std::make_unique<Doc>(*std::move(definition.doc)));
      declared.doc = schema_.docs.back().get();
      if (!old_dialect()) {
        check_doc_symbol(declared);
      } else if (declared.doc->symbol != declared.name) {
        declared.doc = nullptr;
      }
    } else if (parsed_.pragmas.doc_required && !old_dialect()) {
      error(declared.name_span,
            fmt::format("'{}' has no documentation, which this schema requires", declared.name));
    }
    if (const Span* first = first_definition(declared)) {
      error(declared.name_span, fmt::format("'{}' is defined twice", declared.name));
      if (first->file) diagnostics_.note(*first, "the first definition is here");
      return;
    }
    switch (declared.meta) {
      case MetaType::kEnum:
        declared.type = add_type(TypeKind::kEnum, declared.name, declared.name_span);
        break;
      case MetaType::kStruct:
      case MetaType::kUnion:
        declared.type = add_type(TypeKind::kObject, declared.name, declared.name_span);
        break;
      case MetaType::kAlternate:
        declared.type = add_type(TypeKind::kAlternate, declared.name, declared.name_span);
        break;
      case MetaType::kCommand:
      case MetaType::kEvent:
        break;
    }
    declared_.push_back(std::move(declared));
  }

  const Span* first_definition(const Declared& declared) const {
    if (const auto type = by_name_.find(declared.name); type != by_name_.end()) {
      return &type->second->span;
    }
    for (const Declared& other : declared_) {
      if (other.name == declared.name) return &other.name_span;
    }
    return nullptr;
  }

  void check_keys(const Node& node, MetaType meta, std::string_view key) {
    static const std::map<MetaType, std::vector<std::string_view>> kKnown = {
        {MetaType::kEnum, {"data", "prefix"}},
        {MetaType::kStruct, {"data", "base"}},
        {MetaType::kUnion, {"data", "base", "discriminator"}},
        {MetaType::kAlternate, {"data"}},
        {MetaType::kCommand,
         {"data", "returns", "boxed", "gen", "success-response", "allow-oob", "allow-preconfig",
          "coroutine"}},
        {MetaType::kEvent, {"data", "boxed"}},
    };
    const auto& known = kKnown.at(meta);
    for (const Node::Member& member : node.members) {
      if (member.name == key || member.name == "if" || member.name == "features") continue;
      if (member.name == "role" && meta == MetaType::kCommand && has_roles()) continue;
      if (std::find(known.begin(), known.end(), member.name) != known.end()) continue;
      error(member.name_span, fmt::format("'{}' has no key '{}'", key, member.name));
    }
  }

  void check_definition_name(const Declared& declared, std::string_view key) {
    bool good = false;
    std::string_view rule;
    switch (declared.meta) {
      case MetaType::kCommand:
        good = is_lower_name(declared.name) ||
               (is_name(declared.name) &&
                (old_dialect() || parsed_.pragmas.command_name_exceptions.contains(declared.name)));
        rule = "lower-case letters, digits and '-' (or see pragma 'command-name-exceptions')";
        break;
      case MetaType::kEvent:
        good = is_event_name(declared.name);
        rule = "upper-case letters, digits and '_'";
        break;
      default:
        good = is_type_name(declared.name);
        rule = "letters and digits, starting with an upper-case letter";
    }
    if (!good) {
      error(declared.name_span,
            fmt::format("the name of {} '{}' has to be made of {}", key, declared.name, rule));
    }
  }

  bool condition_holds(const Node& node) {
    const Node::Member* condition = node.member("if");
    return !condition || evaluate_condition(condition->value, options_.defined, diagnostics_);
  }

  // ---- Pieces that several kinds of definitions share ----

  Features features_of(const Node& node) {
    Features out;
    const Node::Member* member = node.member("features");
    if (!member) return out;
    if (member->value.kind != Node::Kind::kList) {
      error(member->value.span, "'features' needs a list");
      return out;
    }
    for (const Node& element : member->value.elements) {
      const Node* name = &element;
      if (element.kind == Node::Kind::kObject) {
        const Node::Member* inner = element.member("name");
        if (!inner) {
          error(element.span, "a feature needs a 'name'");
          continue;
        }
        only_keys(element, "a feature", {"name", "if"});
        if (!condition_holds(element)) continue;
        name = &inner->value;
      }
      if (name->kind != Node::Kind::kString || !is_name(name->text)) {
        error(name->span, "a feature needs a name");
        continue;
      }
      out.push_back({name->text, name->span});
    }
    return out;
  }

  void only_keys(const Node& node, std::string_view what,
                 std::initializer_list<std::string_view> known) {
    for (const Node::Member& member : node.members) {
      if (std::find(known.begin(), known.end(), member.name) == known.end()) {
        error(member.name_span, fmt::format("{} has no key '{}'", what, member.name));
      }
    }
  }

  // The type that `node` names: 'Name' or ['Name']. Null, with an error reported, if there is none.
  const Type* type_of(const Node& node, const std::string& implicit_name) {
    if (node.kind == Node::Kind::kList) {
      if (node.elements.size() != 1) {
        error(node.span, "a list's type needs exactly one element, the type of its elements");
        return nullptr;
      }
      const Type* element = type_of(node.elements.front(), implicit_name);
      return element ? array_of(element, node.span) : nullptr;
    }
    if (node.kind == Node::Kind::kObject && old_dialect()) return anonymous(node, implicit_name);
    if (node.kind != Node::Kind::kString) {
      error(node.span, fmt::format("expected the name of a type, not {}", node.kind_name()));
      return nullptr;
    }
    const bool untyped = old_dialect() && (node.text == "visitor" || node.text == "dict" ||
                                           node.text == "**");  // 2011's names for `any`
    const auto found = by_name_.find(untyped ? "any" : node.text);
    if (found == by_name_.end()) {
      error(node.span, fmt::format("unknown type '{}'", node.text));
      return nullptr;
    }
    return found->second;
  }

  const Type* array_of(const Type* element, const Span& span) {
    const std::string name = element->name + "List";
    if (const auto found = arrays_.find(name); found != arrays_.end()) return found->second;
    auto type = std::make_unique<Type>();
    type->kind = TypeKind::kArray;
    type->name = name;
    type->span = span;
    type->file = element->file;
    type->element = element;
    type->implicit = true;
    arrays_.emplace(name, type.get());
    schema_.types.push_back(std::move(type));
    return schema_.types.back().get();
  }

  // The object that stands in place of a name.
  const Type* anonymous(const Node& node, const std::string& name) {
    if (by_name_.contains(name)) {
      error(node.span, fmt::format("the name '{}', made for this object, is taken", name));
      return nullptr;
    }
    Type* type = add_type(TypeKind::kObject, name, node.span);
    type->implicit = true;
    members_of(node, *type);
    return type;
  }

  // Fills own_members from {'name': type, '*name': type, 'name': {'type': ..., 'if': ...}}.
  void members_of(const Node& data, Type& owner) {
    if (data.kind != Node::Kind::kObject) {
      return error(data.span,
                   fmt::format("expected an object of members, not {}", data.kind_name()));
    }
    for (const Node::Member& given : data.members) {
      Member member;
      member.name = given.name;
      member.span = given.name_span;
      if (member.name.starts_with('*')) {
        member.optional = true;
        member.name.erase(0, 1);
      }
      check_member_name(member, owner);
      const Node* type = &given.value;
      if (type->kind == Node::Kind::kObject && !old_dialect()) {
        const Node::Member* inner = type->member("type");
        if (!inner) {
          error(type->span, fmt::format("member '{}' needs a 'type'", member.name));
          continue;
        }
        if (parsed_.pragmas.secret_members) {
          only_keys(*type, "a member", {"type", "if", "features", "secret"});
          member.secret = flag(*type, "secret", false);
        } else {
          only_keys(*type, "a member", {"type", "if", "features"});
        }
        if (!condition_holds(*type)) continue;
        member.features = features_of(*type);
        type = &inner->value;
      }
      member.type = type_of(*type, owner.name + cpp_pascal(member.name));
      if (!member.type) continue;
      if (member.secret && member.type->name != "str") {
        error(member.span,
              fmt::format("member '{}' is secret, so it has to be a 'str'", member.name));
      }
      owner.own_members.push_back(std::move(member));
    }
  }

  void check_member_name(const Member& member, const Type& owner) {
    const auto& exceptions = parsed_.pragmas.member_name_exceptions;
    if (!is_name(member.name)) {
      return error(member.span, fmt::format("'{}' is no name for a member", member.name));
    }
    if (!is_lower_name(member.name) && !old_dialect() && !exceptions.contains(owner.name)) {
      error(member.span, fmt::format("member '{}' has upper-case letters or '_': use '-' (or see "
                                     "pragma 'member-name-exceptions')",
                                     member.name));
    }
    if (member.name == "u") error(member.span, "the name 'u' is reserved");
  }

  // ---- Defining types ----

  void define(Declared& declared) {
    Type& type = *declared.type;
    type.doc = declared.doc;
    type.features = features_of(*declared.node);
    const Node::Member* data = declared.node->member("data");
    if (!data) return error(declared.name_span, fmt::format("'{}' needs 'data'", declared.name));
    switch (declared.meta) {
      case MetaType::kEnum:
        return define_enum(data->value, type);
      case MetaType::kStruct:
        define_base(*declared.node, type, false);
        return members_of(data->value, type);
      case MetaType::kUnion:
        return define_base(*declared.node, type, true);
      case MetaType::kAlternate:
        return define_alternate(data->value, type);
      default:
        return;
    }
  }

  void define_enum(const Node& data, Type& type) {
    if (data.kind != Node::Kind::kList) return error(data.span, "an enum's 'data' is a list");
    for (const Node& element : data.elements) {
      EnumValue value;
      const Node* name = &element;
      if (element.kind == Node::Kind::kObject) {
        const Node::Member* inner = element.member("name");
        if (!inner) {
          error(element.span, "an enum's value needs a 'name'");
          continue;
        }
        only_keys(element, "an enum's value", {"name", "if", "features"});
        if (!condition_holds(element)) continue;
        value.features = features_of(element);
        name = &inner->value;
      }
      if (name->kind != Node::Kind::kString || !is_enum_value_name(name->text)) {
        error(name->span, "an enum's value is a name");
        continue;
      }
      value.name = name->text;
      value.span = name->span;
      for (const EnumValue& other : type.values) {
        if (cpp_member(other.name) != cpp_member(value.name)) continue;
        error(value.span, fmt::format("value '{}' collides with '{}'", value.name, other.name));
        diagnostics_.note(other.span, "which stands here");
      }
      type.values.push_back(std::move(value));
    }
  }

  void define_base(const Node& node, Type& type, bool is_union) {
    const Node::Member* base = node.member("base");
    if (!base) {
      if (is_union && !old_dialect()) {
        error(type.span, fmt::format("union '{}' needs a 'base'", type.name));
      }
      return;
    }
    if (is_union && base->value.kind == Node::Kind::kObject) {
      members_of(base->value, type);
      return;
    }
    type.base = type_of(base->value, type.name + "Base");
    if (type.base && (type.base->kind != TypeKind::kObject || type.base->is_union())) {
      error(base->value.span, fmt::format("'{}' is no struct", type.base->name));
      type.base = nullptr;
    }
  }

  void define_alternate(const Node& data, Type& type) {
    members_of(data, type);
    if (data.kind == Node::Kind::kObject && data.members.empty()) {
      error(data.span, "an alternate needs at least one branch");
    }
    std::map<int, const Member*> by_kind;
    for (const Member& branch : type.own_members) {
      if (branch.optional) error(branch.span, "a branch of an alternate can't be optional");
      const int kind = json_kind_of(*branch.type);
      if (kind < 0) {
        error(branch.span,
              fmt::format("type '{}' can't be a branch of an alternate", branch.type->name));
      } else if (auto [first, inserted] = by_kind.emplace(kind, &branch); !inserted) {
        error(branch.span, fmt::format("branch '{}' can't be told from branch '{}'", branch.name,
                                       first->second->name));
        diagnostics_.note(first->second->span, "which stands here");
      }
    }
  }

  // Branches of an alternate with the same number look the same on the wire.
  static int json_kind_of(const Type& type) {
    switch (type.kind) {
      case TypeKind::kEnum:
        return 0;
      case TypeKind::kObject:
        return 1;
      case TypeKind::kArray:
        return 2;
      case TypeKind::kAlternate:
        return -1;
      case TypeKind::kBuiltin:
        if (type.name == "str") return 0;
        if (type.name == "bool") return 3;
        if (type.name == "null") return 4;
        return type.name == "any" ? -1 : 5;
    }
    return -1;
  }

  // Sets `members` of an object: the base's first.
  void resolve_members(Type* type) {
    if (type->kind != TypeKind::kObject || resolved_[type] == 2) return;
    if (resolved_[type] == 1) {
      error(type->span, fmt::format("'{}' has itself as its base", type->name));
      type->base = nullptr;
      return;
    }
    resolved_[type] = 1;
    if (type->base) {
      resolve_members(const_cast<Type*>(type->base));
      if (type->base) type->members = type->base->members;
    }
    for (Member& own : type->own_members) {
      if (const DocPart* doc = type->doc ? type->doc->member(own.name) : nullptr)
        own.doc = doc->text;
      for (const Member& other : type->members) {
        if (cpp_member(other.name) != cpp_member(own.name)) continue;
        error(own.span, fmt::format("member '{}' of '{}' collides with '{}'", own.name, type->name,
                                    other.name));
        diagnostics_.note(other.span, "which stands here");
      }
      type->members.push_back(own);
    }
    resolved_[type] = 2;
  }

  // ---- Unions ----

  void define_branches(Declared& declared) {
    Type& type = *declared.type;
    const Node::Member* data = declared.node->member("data");
    if (!data) return;
    if (data->value.kind != Node::Kind::kObject) {
      return error(data->value.span, "a union's 'data' is an object of branches");
    }
    const Node::Member* discriminator = declared.node->member("discriminator");
    const bool simple = !discriminator && old_dialect();
    if (simple) {
      add_simple_tag(declared, data->value);
    } else if (!find_tag(declared, discriminator)) {
      return;
    }
    std::map<std::string, const Type*, std::less<>> branches;
    for (const Node::Member& branch : data->value.members) {
      add_branch(branch, type, simple, branches);
    }
    for (const EnumValue& value : type.tag->type->values) {
      const auto branch = branches.find(value.name);
      type.variants.push_back(
          {value.name, value.span, branch == branches.end() ? nullptr : branch->second});
    }
  }

  bool find_tag(const Declared& declared, const Node::Member* discriminator) {
    Type& type = *declared.type;
    if (!discriminator || discriminator->value.kind != Node::Kind::kString) {
      error(declared.name_span, fmt::format("union '{}' needs a 'discriminator'", type.name));
      return false;
    }
    const Node& name = discriminator->value;
    for (const Member& member : type.members) {
      if (member.name == name.text) type.tag = &member;
    }
    if (!type.tag) {
      error(name.span, fmt::format("'{}' is no member of the base", name.text));
    } else if (type.tag->type->kind != TypeKind::kEnum) {
      error(name.span, fmt::format("the discriminator '{}' is no enum", name.text));
      type.tag = nullptr;
    } else if (type.tag->optional) {
      error(name.span, fmt::format("the discriminator '{}' is optional", name.text));
      type.tag = nullptr;
    }
    return type.tag != nullptr;
  }

  // 2011's unions have no base: an enumeration of the branches' names is made as member `type`.
  void add_simple_tag(const Declared& declared, const Node& data) {
    Type& type = *declared.type;
    Type* kind = add_type(TypeKind::kEnum, type.name + "Kind", declared.name_span);
    kind->implicit = true;
    for (const Node::Member& branch : data.members) {
      kind->values.push_back({branch.name, branch.name_span, {}});
    }
    Member tag;
    tag.name = "type";
    tag.span = declared.name_span;
    tag.type = kind;
    type.own_members.insert(type.own_members.begin(), tag);
    type.members.insert(type.members.begin(), tag);
    type.tag = &type.members.front();
  }

  void add_branch(const Node::Member& branch, const Type& owner, bool simple,
                  std::map<std::string, const Type*, std::less<>>& branches) {
    const Node* node = &branch.value;
    if (node->kind == Node::Kind::kObject && !old_dialect()) {
      const Node::Member* inner = node->member("type");
      if (!inner) return error(node->span, fmt::format("branch '{}' needs a 'type'", branch.name));
      only_keys(*node, "a branch", {"type", "if"});
      if (!condition_holds(*node)) return;
      node = &inner->value;
    }
    const Type* type = type_of(*node, owner.name + cpp_pascal(branch.name));
    if (!type) return;
    if (simple) type = wrapper_of(type, branch.name_span);
    const auto& values = owner.tag->type->values;
    const auto is_value = [&](const EnumValue& v) { return v.name == branch.name; };
    if (std::none_of(values.begin(), values.end(), is_value)) {
      return error(branch.name_span, fmt::format("branch '{}' is no value of '{}'", branch.name,
                                                 owner.tag->type->name));
    }
    if (type->kind != TypeKind::kObject) {
      return error(node->span, fmt::format("branch '{}' needs an object, which '{}' is not",
                                           branch.name, type->name));
    }
    for (const Member& member : type->members) {
      for (const Member& base : owner.members) {
        if (base.name != member.name) continue;
        error(branch.name_span, fmt::format("member '{}' of branch '{}' is in the base already",
                                            member.name, branch.name));
      }
    }
    branches.emplace(branch.name, type);
  }

  const Type* wrapper_of(const Type* content, const Span& span) {
    const std::string name = content->name + "Wrapper";
    if (const auto found = by_name_.find(name); found != by_name_.end()) return found->second;
    Type* wrapper = add_type(TypeKind::kObject, name, span);
    wrapper->implicit = true;
    Member data;
    data.name = "data";
    data.span = span;
    data.type = content;
    wrapper->own_members.push_back(data);
    wrapper->members.push_back(data);
    resolved_[wrapper] = 2;
    return wrapper;
  }

  // ---- Roles ----

  bool has_roles() const { return !parsed_.pragmas.role_type.empty(); }

  void find_role_type() {
    if (!has_roles()) return;
    const Pragmas& pragmas = parsed_.pragmas;
    const Type* type = schema_.find_type(pragmas.role_type);
    if (!type || type->kind != TypeKind::kEnum || type->values.empty()) {
      return error(pragmas.role_type_span,
                   fmt::format("pragma 'role-type' needs an enum with values, which '{}' is not",
                               pragmas.role_type));
    }
    schema_.role_type = type;
  }

  size_t role_of(const Node& node) {
    if (!schema_.role_type) return 0;
    const auto& roles = schema_.role_type->values;
    const Node::Member* role = node.member("role");
    if (!role) return roles.size() - 1;
    const auto found = std::find_if(roles.begin(), roles.end(), [&](const EnumValue& value) {
      return value.name == role->value.text;
    });
    if (found == roles.end()) {
      error(role->value.span, fmt::format("'role' needs a value of '{}'", schema_.role_type->name));
      return 0;
    }
    return static_cast<size_t>(found - roles.begin());
  }

  // ---- Commands and events, and what needs whole types ----

  void finish(Declared& declared) {
    switch (declared.meta) {
      case MetaType::kCommand:
        add_command(declared);
        break;
      case MetaType::kEvent:
        add_event(declared);
        break;
      default:
        schema_.entities.push_back({.file = declared.type->file, .type = declared.type});
        check_doc_members(declared, *declared.type, declared.type->features);
    }
  }

  bool flag(const Node& node, std::string_view key, bool otherwise) {
    const Node::Member* member = node.member(key);
    if (!member) return otherwise;
    if (member->value.kind == Node::Kind::kBool) return member->value.boolean;
    const std::string& text = member->value.text;
    if (old_dialect() && (text == "no" || text == "yes")) return text == "yes";
    error(member->value.span, fmt::format("'{}' needs true or false", key));
    return otherwise;
  }

  // The object in `data` of a command or an event; null without one.
  const Type* data_of(const Declared& declared, const std::string& implicit_name, bool boxed) {
    const Node::Member* data = declared.node->member("data");
    if (!data) {
      if (boxed) error(declared.name_span, "'boxed' needs 'data'");
      return nullptr;
    }
    if (data->value.kind == Node::Kind::kObject) {
      if (boxed) error(data->value.span, "'boxed' needs a named type in 'data'");
      Type* type = const_cast<Type*>(anonymous(data->value, implicit_name));
      if (type) {
        type->doc = declared.doc;
        resolve_members(type);
      }
      return type;
    }
    const Type* type = type_of(data->value, implicit_name);
    if (type && type->kind != TypeKind::kObject) {
      error(data->value.span,
            fmt::format("'data' needs a struct or a union, which '{}' is not", type->name));
      return nullptr;
    }
    if (type && type->is_union() && !boxed) {
      error(data->value.span,
            fmt::format("'{}' is a union: 'data' takes it with 'boxed': true only", type->name));
    }
    return type;
  }

  void add_command(const Declared& declared) {
    const Node& node = *declared.node;
    auto command = std::make_unique<Command>();
    command->name = declared.name;
    command->span = declared.name_span;
    command->file = declared.name_span.file;
    command->doc = declared.doc;
    command->features = features_of(node);
    command->boxed = flag(node, "boxed", false);
    command->generate = flag(node, "gen", true);
    command->allow_oob = flag(node, "allow-oob", false);
    command->allow_preconfig = flag(node, "allow-preconfig", false);
    command->coroutine = flag(node, "coroutine", false);
    command->success_response = flag(node, "success-response", true);
    command->role = role_of(node);
    if (command->allow_oob && command->coroutine) {
      error(declared.name_span, "'allow-oob' and 'coroutine' exclude each other");
    }
    command->arguments = data_of(declared, cpp_pascal(declared.name) + "Args", command->boxed);
    if (const Node::Member* returns = node.member("returns")) {
      command->returns = type_of(returns->value, cpp_pascal(declared.name) + "Result");
      if (command->returns && command->returns->implicit) {
        resolve_members(const_cast<Type*>(command->returns));
      }
      check_returns(*command, returns->value);
    }
    if (command->arguments) check_doc_members(declared, *command->arguments, command->features);
    schema_.entities.push_back({.file = command->file, .command = command.get()});
    schema_.commands.push_back(std::move(command));
  }

  void check_returns(const Command& command, const Node& node) {
    const Type* type = command.returns;
    if (!type || old_dialect()) return;
    if (type->kind == TypeKind::kArray) type = type->element;
    if (type->kind == TypeKind::kObject ||
        parsed_.pragmas.command_returns_exceptions.contains(command.name)) {
      return;
    }
    error(node.span,
          fmt::format("command '{}' can't return '{}', which can't grow: return an object (or see "
                      "pragma 'command-returns-exceptions')",
                      command.name, type->name));
  }

  void add_event(const Declared& declared) {
    auto event = std::make_unique<Event>();
    event->name = declared.name;
    event->span = declared.name_span;
    event->file = declared.name_span.file;
    event->doc = declared.doc;
    event->features = features_of(*declared.node);
    event->boxed = flag(*declared.node, "boxed", false);
    event->data = data_of(declared, cpp_pascal(declared.name) + "Event", event->boxed);
    if (event->data) check_doc_members(declared, *event->data, event->features);
    schema_.entities.push_back({.file = event->file, .event = event.get()});
    schema_.events.push_back(std::move(event));
  }

  // ---- Documentation ----

  void check_doc_symbol(const Declared& declared) {
    if (declared.doc->symbol == declared.name) return;
    error(declared.doc->symbol_span, fmt::format("this documents '{}', but '{}' follows",
                                                 declared.doc->symbol, declared.name));
  }

  // Whatever the documentation describes has to be there; 2011's manual was laxer.
  void check_doc_members(const Declared& declared, const Type& type, const Features& features) {
    if (!declared.doc || old_dialect()) return;
    for (const DocPart& part : declared.doc->members) {
      const auto is_member = [&](const auto& m) { return m.name == part.name; };
      if (std::any_of(type.own_members.begin(), type.own_members.end(), is_member) ||
          std::any_of(type.values.begin(), type.values.end(), is_member)) {
        continue;
      }
      if (!written(*declared.node, part.name)) {
        error(part.span, fmt::format("'{}' has no member '{}'", declared.name, part.name));
      }
    }
    for (const DocPart& part : declared.doc->features) {
      const auto is_feature = [&](const Feature& f) { return f.name == part.name; };
      const auto in_member = [&](const auto& m) {
        return std::any_of(m.features.begin(), m.features.end(), is_feature);
      };
      if (std::any_of(features.begin(), features.end(), is_feature) ||
          std::any_of(type.own_members.begin(), type.own_members.end(), in_member) ||
          std::any_of(type.values.begin(), type.values.end(), in_member)) {
        continue;
      }
      if (written(*declared.node, part.name)) continue;
      error(part.span, fmt::format("'{}' has no feature '{}'", declared.name, part.name));
    }
  }

  // Whether the definition's text has the name, even where an `if` leaves it out.
  static bool written(const Node& node, std::string_view name) {
    if (node.kind == Node::Kind::kString) return node.text == name;
    for (const Node& element : node.elements) {
      if (written(element, name)) return true;
    }
    for (const Node::Member& member : node.members) {
      std::string_view own = member.name;
      if (own.starts_with('*')) own.remove_prefix(1);
      if (own == name || written(member.value, name)) return true;
    }
    return false;
  }

  ParsedSchema parsed_;
  const CheckOptions& options_;
  Diagnostics& diagnostics_;
  Schema schema_;
  size_t next_free_doc_ = 0;
  std::vector<Declared> declared_;
  std::map<std::string, Type*, std::less<>> by_name_;
  std::map<std::string, const Type*, std::less<>> arrays_;
  std::map<const Type*, int> resolved_;  // 1: in progress, 2: done
};

}  // namespace

Schema check_schema(ParsedSchema parsed, const CheckOptions& options, Diagnostics& diagnostics) {
  return Checker(std::move(parsed), options, diagnostics).run();
}

}  // namespace firn::qapi
