#include "qapi/resolve.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "qapi/doc_check.h"
#include "qapi/suggest.h"

namespace firn::qapi {

namespace {

// How deep types may contain each other as bases and branches.
constexpr int kMaxNesting = 500;
// Features of all names in a schema, with the two that are always there.
constexpr size_t kMaxFeatures = 64;

bool is_builtin(std::string_view name) {
  return std::find(std::begin(kBuiltinTypes), std::end(kBuiltinTypes), name) !=
         std::end(kBuiltinTypes);
}

// The built-in type that JSON Schema, C or Python would call so; empty if it is none.
std::string_view builtin_named_elsewhere(std::string_view name) {
  constexpr std::pair<std::string_view, std::string_view> kNames[] = {
      {"string", "str"},   {"String", "str"},    {"integer", "int"}, {"boolean", "bool"},
      {"float", "number"}, {"double", "number"}, {"object", "any"},
  };
  for (const auto& [elsewhere, builtin] : kNames) {
    if (name == elsewhere) return builtin;
  }
  return {};
}

std::string describe(const TypeUse& use) {
  if (use.lists > 0) {
    return fmt::format("a list of '{}'", use.declaration ? use.declaration->name : use.builtin);
  }
  if (!use.declaration) return fmt::format("built-in type '{}'", use.builtin);
  return fmt::format("{} '{}'", meta_name(use.declaration->meta), use.declaration->name);
}

class Resolver {
 public:
  Resolver(const ParsedSchema& schema, Declarations& declarations, Dialect dialect,
           Diagnostics& diagnostics)
      : schema_(schema),
        all_(declarations.all),
        lost_(declarations.lost_names),
        old_(dialect == Dialect::k2011),
        diagnostics_(diagnostics),
        docs_(schema.pragmas, diagnostics) {}

  void run() {
    names_.reserve(all_.size());
    for (Declaration& declaration : all_) enter(declaration);
    find_role_type();
    for (Declaration& declaration : all_) {
      if (declaration.anonymous()) continue;
      resolve(declaration);
      if (!old_) docs_.check_complete(declaration);
    }
    docs_.check_superfluous();
    if (!old_) count_features();
  }

 private:
  void fail(const Declaration& declaration, const Span& span, std::string text,
            std::string hint = {}) {
    diagnostics_.error_in(declaration.start, span, std::move(text), std::move(hint));
  }

  // ---- Names ----

  void enter(Declaration& declaration) {
    if (declaration.anonymous()) return;
    const std::string& name = declaration.name;
    if (is_builtin(name) || name == kQType) {
      declaration.duplicate = true;
      return fail(declaration, declaration.name_span,
                  fmt::format("'{}' is a built-in type already", name));
    }
    const auto [first, inserted] = names_.emplace(name, &declaration);
    if (inserted) return;
    declaration.duplicate = true;
    fail(declaration, declaration.name_span, fmt::format("'{}' is defined twice", name));
    diagnostics_.note(first->second->name_span, "the first definition is here");
  }

  Declaration* find_type(std::string_view name) const {
    const auto found = names_.find(name);
    return found != names_.end() && found->second->is_type() ? found->second : nullptr;
  }

  // `XList` names a list of `X` where lists of `X` occur, as the generated C code does.
  bool resolve_list_name(TypeUse& use) {
    constexpr std::string_view kEnd = "List";
    if (!use.name.ends_with(kEnd)) return false;
    const std::string_view element = use.name.substr(0, use.name.size() - kEnd.size());
    const bool builtin = is_builtin(element);
    if (!builtin && !has_list_of(element)) return false;
    if (builtin) {
      use.builtin = element;
    } else {
      use.declaration = find_type(element);
    }
    if (use.resolved()) ++use.lists;
    return use.resolved();
  }

  bool has_list_of(std::string_view name) {
    if (!lists_known_) {
      lists_known_ = true;
      for (const Declaration& declaration : all_) {
        for (const Part& part : declaration.parts) {
          if (part.type.lists > 0) lists_.insert(part.type.name);
        }
        if (declaration.returns.lists > 0) lists_.insert(declaration.returns.name);
      }
    }
    return lists_.contains(name);
  }

  void resolve_name(TypeUse& use, const Declaration& where, std::string_view what) {
    if (!use.given() || use.anonymous || use.resolved()) return;
    use.declaration = find_type(use.name);
    if (use.declaration) return;
    if (is_builtin(use.name) || use.name == kQType) {
      use.builtin = use.name;
      return;
    }
    if (resolve_list_name(use)) return;
    if (schema_.lost_files || lost_.contains(use.name) || schema_.lost_names.contains(use.name)) {
      return;
    }
    if (diagnostics_.full()) return diagnostics_.error(where.start, "unknown type");
    std::string hint;
    if (names_.contains(use.name)) {
      hint = fmt::format("'{}' is {} {}", use.name,
                         names_.at(use.name)->meta == MetaType::kEvent ? "an" : "a",
                         meta_name(names_.at(use.name)->meta));
    } else {
      Suggestion suggestion(use.name);
      for (const std::string_view builtin : kBuiltinTypes) suggestion.offer(builtin);
      for (const Declaration& other : all_) {
        if (other.is_type() && !other.anonymous()) suggestion.offer(other.name);
      }
      const std::string_view known = builtin_named_elsewhere(use.name);
      hint = known.empty() ? suggestion.hint() : fmt::format("did you mean '{}'?", known);
    }
    fail(where, use.span, fmt::format("{}: unknown type '{}'", what, use.name), std::move(hint));
  }

  // ---- One declaration ----

  void resolve(Declaration& declaration) {
    resolve_lists(declaration);
    for (TypeUse* use : {&declaration.base, &declaration.data, &declaration.returns}) {
      if (use->anonymous) resolve(*use->anonymous);
    }
    switch (declaration.meta) {
      case MetaType::kEnum:
        check_type_features(declaration);
        return check_values(declaration);
      case MetaType::kStruct:
      case MetaType::kUnion:
        return check_object(declaration, 0);
      case MetaType::kAlternate:
        check_type_features(declaration);
        return check_alternate(declaration);
      case MetaType::kCommand:
      case MetaType::kEvent:
        return check_call(declaration);
    }
  }

  // The elements of lists come first.
  void resolve_lists(Declaration& declaration) {
    for (Part& part : declaration.parts) {
      if (part.type.lists > 0) resolve_part(part, declaration);
    }
    if (declaration.returns.lists > 0) resolve_name(declaration.returns, declaration, "'returns'");
  }

  void resolve_part(Part& part, Declaration& owner) {
    if (part.type.anonymous) return resolve(*part.type.anonymous);
    const bool branch = owner.meta == MetaType::kUnion || owner.meta == MetaType::kAlternate;
    resolve_name(part.type, owner, fmt::format("{} '{}'", branch ? "branch" : "member", part.name));
  }

  void check_features(const Declaration& where, const std::vector<FeatureUse>& features) {
    if (old_) return;
    for (size_t i = 0; i < features.size(); ++i) {
      for (size_t k = 0; k < i; ++k) {
        if (!same_in_c(features[i].name, features[k].name)) continue;
        fail(where, features[i].span,
             fmt::format("feature '{}' stands here twice", features[i].name));
        diagnostics_.note(features[k].span, "the first time is here");
        break;
      }
    }
  }

  void check_type_features(const Declaration& declaration) {
    check_features(declaration, declaration.features);
    if (old_) return;
    for (const FeatureUse& feature : declaration.features) {
      if (feature.name != "deprecated" && feature.name != "unstable") continue;
      fail(declaration, feature.span, fmt::format("a type can't be '{}'", feature.name),
           "mark the commands, events and members that use it");
    }
  }

  void collide(const Declaration& where, const Part& part, const Part& other,
               std::string_view what) {
    fail(where, part.span, fmt::format("{} '{}' collides with '{}'", what, part.name, other.name));
    diagnostics_.note(other.span, "which stands here");
  }

  void check_values(Declaration& declaration) {
    for (Part& value : declaration.parts) {
      if (const Part* other = declaration.members.find(value.name)) {
        collide(declaration, value, *other, "value");
      } else {
        declaration.members.add(value);
      }
    }
  }

  // ---- Objects ----

  // Null if there is none, or none that is an object.
  static Declaration* base_of(const Declaration& declaration) {
    const TypeUse& base = declaration.base;
    const bool object =
        base.declaration && base.lists == 0 && base.declaration->meta == MetaType::kStruct;
    return object ? const_cast<Declaration*>(base.declaration) : nullptr;
  }

  const Part* find_member(const Declaration* declaration, std::string_view name) const {
    for (; declaration; declaration = base_of(*declaration)) {
      if (const Part* part = declaration->members.find(name)) return part;
    }
    return nullptr;
  }

  void check_object(Declaration& declaration, int depth) {
    if (declaration.state == Declaration::State::kDone) return;
    if (declaration.state == Declaration::State::kOpen) {
      fail(declaration, declaration.name_span,
           fmt::format("'{}' contains itself", declaration.name));
      return;
    }
    if (depth > kMaxNesting) {
      return fail(declaration, declaration.name_span,
                  fmt::format("more than {} types contain each other", kMaxNesting));
    }
    declaration.state = Declaration::State::kOpen;
    if (!declaration.anonymous()) check_type_features(declaration);
    check_base(declaration, depth);
    if (declaration.meta == MetaType::kUnion) {
      check_union(declaration, depth);
    } else {
      check_members(declaration);
    }
    declaration.state = Declaration::State::kDone;
  }

  void check_base(Declaration& declaration, int depth) {
    TypeUse& base = declaration.base;
    if (!base.given()) return;
    if (base.anonymous) return check_object(*base.anonymous, depth + 1);
    resolve_name(base, declaration, "'base'");
    if (!base.resolved()) return;
    Declaration* object = base_of(declaration);
    if (!object) {
      return fail(declaration, base.span,
                  fmt::format("'base' needs a struct, and this is {}", describe(base)));
    }
    const bool loops = object->state == Declaration::State::kOpen;
    check_object(*object, depth + 1);
    if (loops || object->state != Declaration::State::kDone) base.declaration = nullptr;
  }

  void check_members(Declaration& declaration) {
    const Declaration* base = base_of(declaration);
    for (Part& member : declaration.parts) {
      // Those of lists are resolved when it is the declaration's own turn.
      if (member.type.lists == 0) resolve_part(member, declaration);
      check_features(declaration, member.features);
      const Part* other = declaration.members.find(member.name);
      if (!other) other = find_member(base, member.name);
      if (other) {
        collide(declaration, member, *other, "member");
      } else {
        declaration.members.add(member);
      }
      check_secret(declaration, member);
    }
  }

  void check_secret(const Declaration& declaration, const Part& member) {
    if (!member.secret) return;
    if (member.type.lists == 0 && (!member.type.resolved() || member.type.builtin == "str")) return;
    fail(declaration, member.span,
         fmt::format("member '{}' is secret, so it has to be a 'str'", member.name));
  }

  // ---- Unions ----

  void check_union(Declaration& declaration, int depth) {
    if (declaration.discriminator.empty() && !declaration.discriminator_span.file && old_) {
      for (Part& branch : declaration.parts) resolve_part(branch, declaration);
      return;
    }
    const Part* tag = declaration.broken ? nullptr : check_tag(declaration);
    const Declaration* values = tag ? tag->type.declaration : nullptr;
    if (values && values->parts.empty() && declaration.parts.empty()) {
      fail(declaration, declaration.name_span,
           fmt::format("union '{}' has no branches", declaration.name));
    }
    std::unordered_set<const Declaration*> checked;
    for (Part& branch : declaration.parts) {
      resolve_part(branch, declaration);
      if (values) check_branch_name(declaration, branch, *tag);
      if (!branch.type.resolved()) continue;
      const Declaration* type = branch.type.declaration;
      if (!type || branch.type.lists > 0 || !type->is_object()) {
        fail(declaration, branch.type.span,
             fmt::format("branch '{}' needs a struct or a union, and this is {}", branch.name,
                         describe(branch.type)));
        continue;
      }
      check_object(*const_cast<Declaration*>(type), depth + 1);
      if (type->state != Declaration::State::kDone) branch.type.declaration = nullptr;
    }
    for (const Part& branch : declaration.parts) {
      const Declaration* type = branch.type.declaration;
      if (type && branch.type.lists == 0 && type->is_object()) {
        check_branch_members(declaration, branch, *type, checked);
      }
    }
  }

  const Part* check_tag(Declaration& declaration) {
    const std::string_view name = declaration.discriminator;
    const Span& span = declaration.discriminator_span;
    if (!declaration.base.resolved()) return nullptr;
    const Declaration* base = base_of(declaration);
    if (!base) return nullptr;
    const Part* tag = find_member(base, name);
    const auto refuse = [&](std::string text, std::string hint = {}) {
      fail(declaration, span, std::move(text), std::move(hint));
      if (tag) diagnostics_.note(tag->span, "it is defined here");
      return nullptr;
    };
    if (!tag || tag->name != name) {
      Suggestion suggestion(name);
      for (const Declaration* at = base; at; at = base_of(*at)) {
        for (const Part& part : at->parts) suggestion.offer(part.name);
      }
      tag = nullptr;
      return refuse(fmt::format("the discriminator '{}' is no member of the base", name),
                    suggestion.hint());
    }
    const TypeUse& type = tag->type;
    if (!type.resolved() && !type.anonymous) return nullptr;
    if (type.builtin == kQType) return nullptr;
    // In QEMU 1.7 a string would do; its values are the branches.
    if (old_ && type.builtin == "str" && type.lists == 0) return nullptr;
    if (!type.declaration || type.lists > 0 || type.declaration->meta != MetaType::kEnum) {
      return refuse(
          fmt::format("the discriminator '{}' needs an enum, and is {}", name, describe(type)));
    }
    if (tag->optional) return refuse(fmt::format("the discriminator '{}' is optional", name));
    if (tag->condition) {
      return refuse(fmt::format("the discriminator '{}' is there only if a condition holds", name));
    }
    return tag;
  }

  void check_branch_name(const Declaration& declaration, const Part& branch, const Part& tag) {
    const Declaration& values = *tag.type.declaration;
    // A value that collides with another one is in the enum all the same.
    const auto named = [&](const Part& value) { return value.name == branch.name; };
    const Part* found = values.members.find(branch.name);
    if ((found && found->name == branch.name) ||
        std::any_of(values.parts.begin(), values.parts.end(), named)) {
      return;
    }
    Suggestion suggestion(branch.name);
    for (const Part& value : values.parts) suggestion.offer(value.name);
    fail(declaration, branch.span,
         fmt::format("branch '{}' is no value of enum '{}'", branch.name, values.name),
         suggestion.hint());
  }

  // A branch's members stand beside those of the base.
  void check_branch_members(const Declaration& owner, const Part& branch, const Declaration& type,
                            std::unordered_set<const Declaration*>& checked) {
    if (!checked.insert(&type).second) return;
    const Declaration* base = base_of(owner);
    for (const Declaration* at = &type; at; at = base_of(*at)) {
      for (const Part& member : at->meta == MetaType::kStruct ? at->parts : kNoParts) {
        const Part* other = find_member(base, member.name);
        if (!other) continue;
        fail(owner, branch.span,
             fmt::format("member '{}' of branch '{}' collides with '{}' of the base", member.name,
                         branch.name, other->name));
        diagnostics_.note(member.span, "the branch has it here");
        diagnostics_.note(other->span, "the base has it here");
      }
    }
    if (type.meta != MetaType::kUnion) return;
    for (const Part& inner : type.parts) {
      const Declaration* inner_type = inner.type.declaration;
      if (inner_type && inner.type.lists == 0 && inner_type->is_object()) {
        check_branch_members(owner, branch, *inner_type, checked);
      }
    }
  }

  // ---- Alternates ----

  // What a value is by its first character. Those of a branch must be no other branch's.
  enum Look : unsigned {
    kString = 1,
    kNumber = 2,
    kBool = 4,
    kNull = 8,
    kObject = 16,
    kList = 32,
  };

  // With what a keyval parser may take for a string: 0 for what can be anything.
  static unsigned looks_of(const TypeUse& use) {
    if (use.lists > 0) return kList;
    if (use.builtin == "str") return kString | kNumber | kBool;
    if (use.builtin == "bool") return kBool;
    if (use.builtin == "null") return kNull;
    if (use.builtin == "any") return 0;
    if (use.builtin == kQType) return kString;
    if (!use.builtin.empty()) return kNumber;
    if (use.declaration->is_object()) return kObject;
    if (use.declaration->meta != MetaType::kEnum) return 0;
    unsigned looks = kString;
    for (const Part& value : use.declaration->parts) {
      if (value.name == "on" || value.name == "off") looks |= kBool;
      if (value.name.find_first_of("-+0123456789.") == 0) looks |= kNumber;
    }
    return looks;
  }

  void check_alternate(Declaration& declaration) {
    for (Part& branch : declaration.parts) resolve_part(branch, declaration);
    std::map<unsigned, const Part*> seen;  // by single look
    for (const Part& branch : declaration.parts) {
      if (const Part* other = declaration.members.find(branch.name)) {
        collide(declaration, branch, *other, "branch");
        continue;
      }
      declaration.members.add(branch);
      if (!branch.type.resolved()) continue;
      const unsigned looks = looks_of(branch.type);
      if (looks == 0) {
        fail(declaration, branch.type.span,
             fmt::format("{} can't be a branch of an alternate", describe(branch.type)),
             "its values can't be told from those of other branches");
      }
      const Part* clash = nullptr;
      for (unsigned look = kString; look <= kList; look <<= 1) {
        if (!(looks & look)) continue;
        const auto [first, inserted] = seen.emplace(look, &branch);
        if (!inserted && !clash && !(old_ && look != kString)) clash = first->second;
      }
      if (!clash) continue;
      fail(declaration, branch.span,
           fmt::format("branch '{}' can't be told from branch '{}'", branch.name, clash->name));
      diagnostics_.note(clash->span, "which stands here");
    }
  }

  // ---- Commands and events ----

  void check_call(Declaration& declaration) {
    check_features(declaration, declaration.features);
    check_data(declaration);
    if (declaration.meta != MetaType::kCommand) return;
    check_returns(declaration);
    check_role(declaration);
  }

  void check_data(Declaration& declaration) {
    TypeUse& data = declaration.data;
    if (!data.given()) return;
    resolve_name(data, declaration, "'data'");
    if (!data.resolved()) return;
    Declaration* type = const_cast<Declaration*>(data.declaration);
    if (!type || data.lists > 0 || !type->is_object()) {
      return fail(declaration, data.span,
                  fmt::format("'data' needs a struct or a union, and this is {}", describe(data)));
    }
    if (type->meta == MetaType::kUnion && !declaration.boxed && !old_) {
      return fail(
          declaration, data.span,
          fmt::format("'{}' is a union: 'data' takes it with 'boxed': true only", type->name));
    }
    check_object(*type, 0);
    if (type->state != Declaration::State::kDone || declaration.boxed || old_) return;
    for (const Declaration* at = type; at; at = base_of(*at)) {
      const auto conditional = [](const Part& part) { return part.condition != nullptr; };
      const auto found = std::find_if(at->parts.begin(), at->parts.end(), conditional);
      if (found == at->parts.end()) continue;
      return fail(declaration, found->span,
                  fmt::format("member '{}' has an 'if', which 'data' takes with 'boxed': true only",
                              found->name),
                  "make a struct of the members and name it in 'data'");
    }
  }

  void check_returns(Declaration& declaration) {
    TypeUse& returns = declaration.returns;
    if (!returns.given()) return;
    resolve_name(returns, declaration, "'returns'");
    if (!returns.resolved() || old_) return;
    const Declaration* type = returns.declaration;
    if (type && type->is_object() && returns.lists <= 1) return;
    if (schema_.pragmas.command_returns_exceptions.contains(declaration.name)) return;
    fail(declaration, returns.span,
         fmt::format("command '{}' can't return {}, which can't grow", declaration.name,
                     describe(returns)),
         "return an object, or name the command in the pragma 'command-returns-exceptions'");
  }

  void find_role_type() {
    const Pragmas& pragmas = schema_.pragmas;
    if (pragmas.role_type.empty()) return;
    roles_ = find_type(pragmas.role_type);
    if (roles_ && roles_->meta == MetaType::kEnum && !roles_->parts.empty()) return;
    roles_ = nullptr;
    diagnostics_.error(
        pragmas.role_type_span,
        fmt::format("pragma 'role-type' needs an enum with values, which '{}' is not",
                    pragmas.role_type));
  }

  void check_role(const Declaration& declaration) {
    if (!declaration.role || !roles_) return;
    Suggestion suggestion(declaration.role->text);
    for (const Part& role : roles_->parts) {
      if (role.name == declaration.role->text) return;
      suggestion.offer(role.name);
    }
    fail(declaration, declaration.role->span,
         fmt::format("'role' needs a value of '{}'", roles_->name), suggestion.hint());
  }

  // ---- All of them ----

  void count_features() {
    std::unordered_set<std::string_view> names = {"deprecated", "unstable"};
    const auto count = [&](const Declaration& where, const std::vector<FeatureUse>& features) {
      for (const FeatureUse& feature : features) {
        if (!names.insert(feature.name).second || names.size() != kMaxFeatures + 1) continue;
        fail(where, feature.span,
             fmt::format("feature '{}' is one too many: a schema has {} at most", feature.name,
                         kMaxFeatures));
      }
    };
    for (const Declaration& declaration : all_) {
      const Declaration& where = declaration.owner ? *declaration.owner : declaration;
      count(where, declaration.features);
      for (const Part& part : declaration.parts) count(where, part.features);
    }
  }

  static inline const std::vector<Part> kNoParts;

  const ParsedSchema& schema_;
  std::deque<Declaration>& all_;
  const NameSet& lost_;
  const bool old_;
  Diagnostics& diagnostics_;
  DocCheck docs_;
  std::unordered_map<std::string_view, Declaration*> names_;
  bool lists_known_ = false;
  NameSet lists_;  // names of types that lists are made of
  const Declaration* roles_ = nullptr;
};

}  // namespace

void resolve(const ParsedSchema& schema, Declarations& declarations, Dialect dialect,
             Diagnostics& diagnostics) {
  Resolver(schema, declarations, dialect, diagnostics).run();
}

}  // namespace firn::qapi
