#include "qapi/model.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "qapi/resolve.h"

namespace firn::qapi {

const Type* Schema::find_type(std::string_view name) const {
  for (const auto& type : types) {
    if (type->name == name) return type.get();
  }
  return nullptr;
}

namespace {

class ModelBuilder {
 public:
  ModelBuilder(ParsedSchema parsed, const Declarations& declarations, const CheckOptions& options)
      : parsed_(std::move(parsed)), all_(declarations.all), options_(options) {}

  Schema run() {
    schema_.files = parsed_.files;
    for (const std::string_view name : kBuiltinTypes) {
      builtins_[name] = add_type(TypeKind::kBuiltin, std::string(name), {});
    }
    take_docs();
    for (const Declaration& declaration : all_) {
      taken_names_.insert(declaration.is_type() && !declaration.anonymous()
                              ? std::string_view(declaration.name)
                              : std::string_view());
    }
    for (const Declaration& declaration : all_) {
      if (!declaration.anonymous() && declaration.is_type() && holds(declaration.condition)) {
        type_of(declaration);
      }
    }
    for (const Declaration& declaration : all_) {
      if (!declaration.anonymous()) add_entity(declaration);
    }
    add_free_docs(parsed_.definitions.size());
    // Filling one may bring more of them into use.
    for (size_t i = 0; i < pending_.size(); ++i) fill(*pending_[i]);
    const Declaration* roles = find(parsed_.pragmas.role_type);
    if (roles) schema_.role_type = type_of(*roles);
    if (roles) fill(*roles);
    add_calls();
    for (size_t i = 0; i < pending_.size(); ++i) fill(*pending_[i]);
    return std::move(schema_);
  }

 private:
  bool holds(const Node* condition) const {
    return options_.all_conditions || condition_holds(condition, options_.defined);
  }

  // ---- Documentation ----

  const Doc* keep(Doc doc) {
    schema_.docs.push_back(std::make_unique<Doc>(std::move(doc)));
    return schema_.docs.back().get();
  }

  void take_docs() {
    docs_.resize(parsed_.definitions.size());
    for (const Declaration& declaration : all_) {
      if (!declaration.doc) continue;
      docs_[declaration.index] = keep(*std::move(parsed_.definitions[declaration.index].doc));
    }
  }

  const Doc* doc_of(const Declaration& declaration) const { return docs_[declaration.index]; }

  // Enters the free text that stands before the definition with this index, once.
  void add_free_docs(size_t index) {
    for (; next_free_doc_ < parsed_.free_docs.size(); ++next_free_doc_) {
      FreeDoc& free = parsed_.free_docs[next_free_doc_];
      if (free.before > index) return;
      const Doc* doc = keep(std::move(free.doc));
      schema_.entities.push_back({.text = doc, .file = doc->span.file});
    }
  }

  // ---- Types ----

  Type* add_type(TypeKind kind, std::string name, const Span& span) {
    auto type = std::make_unique<Type>();
    type->kind = kind;
    type->name = std::move(name);
    type->span = span;
    type->file = span.file;
    schema_.types.push_back(std::move(type));
    return schema_.types.back().get();
  }

  // The name of a type that was made up, where the schema does not have it already.
  std::string free_name(std::string name) {
    while (taken_names_.contains(name)) name += '_';
    return *made_up_names_.insert(std::move(name)).first;
  }

  Type* type_of(const Declaration& declaration) {
    Type*& type = types_[&declaration];
    if (type) return type;
    const TypeKind kind = declaration.meta == MetaType::kEnum        ? TypeKind::kEnum
                          : declaration.meta == MetaType::kAlternate ? TypeKind::kAlternate
                                                                     : TypeKind::kObject;
    const std::string name =
        declaration.anonymous() ? free_name(declaration.name) : declaration.name;
    type = add_type(kind, name, declaration.name_span);
    type->implicit = declaration.anonymous();
    // A command's arguments are described where the command is.
    const Declaration* owner = declaration.owner;
    if (!owner || !owner->is_type()) type->doc = doc_of(declaration);
    if (owner && owner->returns.anonymous == &declaration) type->doc = nullptr;
    pending_.push_back(&declaration);
    return type;
  }

  const Type* type_of(const TypeUse& use) {
    const Type* type = nullptr;
    if (use.anonymous) {
      type = type_of(*use.anonymous);
    } else if (use.declaration) {
      type = type_of(*use.declaration);
    } else {
      type = use.builtin == kQType ? qtype() : builtins_.at(use.builtin);
    }
    for (int i = 0; i < use.lists; ++i) type = list_of(type, use.span);
    return type;
  }

  const Type* qtype() {
    if (qtype_) return qtype_;
    qtype_ = add_type(TypeKind::kEnum, std::string(kQType), {});
    for (const std::string_view value : kQTypeValues) {
      qtype_->values.push_back({std::string(value), {}, {}, {}});
    }
    return qtype_;
  }

  const Type* list_of(const Type* element, const Span& span) {
    Type*& list = lists_[element];
    if (list) return list;
    Type* made = add_type(TypeKind::kArray, element->name + "List", span);
    made->file = element->file;
    made->element = element;
    made->implicit = true;
    return list = made;
  }

  Features features_of(const std::vector<FeatureUse>& features) const {
    Features out;
    for (const FeatureUse& feature : features) {
      if (!holds(feature.condition)) continue;
      out.push_back({std::string(feature.name), feature.span, condition_text(feature.condition)});
    }
    return out;
  }

  Member member_of(const Part& part) {
    Member member;
    member.name = part.name;
    member.span = part.span;
    member.type = type_of(part.type);
    member.optional = part.optional;
    member.features = features_of(part.features);
    member.secret = part.secret;
    member.condition = condition_text(part.condition);
    return member;
  }

  // Fills the type of a declaration, its base's first.
  void fill(const Declaration& declaration) {
    if (!filled_.insert(&declaration).second) return;
    Type& type = *type_of(declaration);
    type.features = features_of(declaration.features);
    if (!declaration.anonymous()) type.condition = condition_text(declaration.condition);
    switch (declaration.meta) {
      case MetaType::kEnum:
        for (const Part& part : declaration.parts) {
          if (!holds(part.condition)) continue;
          type.values.push_back({std::string(part.name), part.span, features_of(part.features),
                                 condition_text(part.condition)});
        }
        break;
      case MetaType::kStruct:
        add_base(declaration, type);
        add_members(declaration.parts, type);
        break;
      case MetaType::kUnion:
        fill_union(declaration, type);
        break;
      default:
        add_members(declaration.parts, type);
    }
  }

  void add_base(const Declaration& declaration, Type& type) {
    const TypeUse& base = declaration.base;
    if (!base.resolved()) return;
    if (base.anonymous) return add_members(base.anonymous->parts, type);
    type.base = type_of(base);
    fill(*base.declaration);
    type.members = type.base->members;
  }

  void add_members(const std::vector<Part>& parts, Type& type) {
    for (const Part& part : parts) {
      if (holds(part.condition)) add_member(member_of(part), type);
    }
  }

  static void add_member(Member member, Type& type) {
    const DocPart* doc = type.doc ? type.doc->member(member.name) : nullptr;
    if (doc) member.doc = doc->text;
    if (type.kind == TypeKind::kObject) type.members.push_back(member);
    type.own_members.push_back(std::move(member));
  }

  // ---- Unions ----

  void fill_union(const Declaration& declaration, Type& type) {
    const bool simple = declaration.discriminator.empty();
    add_base(declaration, type);
    if (simple) {
      add_simple_tag(declaration, type);
    } else {
      for (Member& member : type.members) {
        if (member.name != declaration.discriminator) continue;
        type.tag = &member;
        if (member.type->kind == TypeKind::kBuiltin) member.type = kind_of(declaration, type);
      }
      const Declaration* values = tag_declaration(declaration);
      if (values) fill(*values);
    }
    std::unordered_map<std::string_view, Variant> branches;
    for (const Part& part : declaration.parts) {
      if (!holds(part.condition)) continue;
      const Type* branch = type_of(part.type);
      branches.emplace(part.name, Variant{.type = simple ? wrapper_of(branch, part.span) : branch,
                                          .condition = condition_text(part.condition)});
    }
    for (const EnumValue& value : type.tag->type->values) {
      Variant& variant = type.variants.emplace_back();
      if (const auto branch = branches.find(value.name); branch != branches.end()) {
        variant = branch->second;
      }
      variant.name = value.name;
      variant.span = value.span;
    }
  }

  // The enumeration of a union's tag.
  static const Declaration* tag_declaration(const Declaration& declaration) {
    for (const Declaration* at = declaration.base.declaration; at; at = at->base.declaration) {
      for (const Part& part : at->parts) {
        if (part.name == declaration.discriminator) return part.type.declaration;
      }
    }
    return nullptr;
  }

  // An enumeration of the branches' names.
  const Type* kind_of(const Declaration& declaration, const Type& type) {
    Type* kind = add_type(TypeKind::kEnum, free_name(type.name + "Kind"), declaration.name_span);
    kind->implicit = true;
    for (const Part& part : declaration.parts) {
      if (holds(part.condition))
        kind->values.push_back({std::string(part.name), part.span, {}, {}});
    }
    return kind;
  }

  // 2011's unions have no tag: one is made as member `type`.
  void add_simple_tag(const Declaration& declaration, Type& type) {
    const Type* kind = kind_of(declaration, type);
    Member tag;
    tag.name = "type";
    tag.span = declaration.name_span;
    tag.type = kind;
    type.own_members.insert(type.own_members.begin(), tag);
    type.members.insert(type.members.begin(), tag);
    type.tag = &type.members.front();
  }

  const Type* wrapper_of(const Type* content, const Span& span) {
    Type*& wrapper = wrappers_[content];
    if (wrapper) return wrapper;
    Type* made = add_type(TypeKind::kObject, free_name(content->name + "Wrapper"), span);
    made->implicit = true;
    Member data;
    data.name = "data";
    data.span = span;
    data.type = content;
    made->own_members.push_back(data);
    made->members.push_back(data);
    return wrapper = made;
  }

  // ---- Commands, events and the order of all ----

  void add_entity(const Declaration& declaration) {
    add_free_docs(declaration.index);
    if (!holds(declaration.condition)) return;
    const SourceFile* file = declaration.name_span.file;
    if (declaration.meta == MetaType::kCommand) {
      auto& command = schema_.commands.emplace_back(std::make_unique<Command>());
      calls_.emplace_back(&declaration, command.get(), nullptr);
      schema_.entities.push_back({.file = file, .command = command.get()});
    } else if (declaration.meta == MetaType::kEvent) {
      auto& event = schema_.events.emplace_back(std::make_unique<Event>());
      calls_.emplace_back(&declaration, nullptr, event.get());
      schema_.entities.push_back({.file = file, .event = event.get()});
    } else {
      schema_.entities.push_back({.file = file, .type = type_of(declaration)});
    }
  }

  void add_calls() {
    for (const Call& call : calls_) {
      if (call.command) {
        fill_command(*call.declaration, *call.command);
      } else {
        fill_event(*call.declaration, *call.event);
      }
    }
  }

  const Type* data_of(const Declaration& declaration) {
    return declaration.data.given() ? type_of(declaration.data) : nullptr;
  }

  void fill_command(const Declaration& declaration, Command& command) {
    command.name = declaration.name;
    command.span = declaration.name_span;
    command.file = declaration.name_span.file;
    command.doc = doc_of(declaration);
    command.features = features_of(declaration.features);
    command.condition = condition_text(declaration.condition);
    command.boxed = declaration.boxed;
    command.generate = declaration.generate;
    command.allow_oob = declaration.allow_oob;
    command.allow_preconfig = declaration.allow_preconfig;
    command.coroutine = declaration.coroutine;
    command.success_response = declaration.success_response;
    command.arguments = data_of(declaration);
    if (declaration.returns.given()) command.returns = type_of(declaration.returns);
    if (!schema_.role_type) return;
    const auto& roles = schema_.role_type->values;
    const auto given = [&](const EnumValue& value) {
      return declaration.role && value.name == declaration.role->text;
    };
    const auto found = std::find_if(roles.begin(), roles.end(), given);
    command.role =
        found == roles.end() ? roles.size() - 1 : static_cast<size_t>(found - roles.begin());
  }

  void fill_event(const Declaration& declaration, Event& event) {
    event.name = declaration.name;
    event.span = declaration.name_span;
    event.file = declaration.name_span.file;
    event.doc = doc_of(declaration);
    event.features = features_of(declaration.features);
    event.condition = condition_text(declaration.condition);
    event.boxed = declaration.boxed;
    event.data = data_of(declaration);
  }

  const Declaration* find(std::string_view name) const {
    for (const Declaration& declaration : all_) {
      if (!name.empty() && !declaration.anonymous() && declaration.name == name)
        return &declaration;
    }
    return nullptr;
  }

  struct Call {
    const Declaration* declaration;
    Command* command;
    Event* event;
  };

  ParsedSchema parsed_;
  const std::deque<Declaration>& all_;
  const CheckOptions& options_;
  Schema schema_;
  std::vector<const Doc*> docs_;  // by index of the definition
  size_t next_free_doc_ = 0;
  std::vector<Call> calls_;
  std::unordered_map<std::string_view, const Type*> builtins_;
  std::unordered_map<const Declaration*, Type*> types_;
  std::unordered_map<const Type*, Type*> lists_;
  std::unordered_map<const Type*, Type*> wrappers_;
  std::vector<const Declaration*> pending_;  // have a type, in the order in which it was made
  std::unordered_set<const Declaration*> filled_;
  NameSet taken_names_;
  std::unordered_set<std::string> made_up_names_;
  Type* qtype_ = nullptr;
};

}  // namespace

Schema build_schema(ParsedSchema parsed, const Declarations& declarations,
                    const CheckOptions& options) {
  return ModelBuilder(std::move(parsed), declarations, options).run();
}

}  // namespace firn::qapi
