#include "qapi/declaration.h"

#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>
#include <span>

#include "qapi/condition.h"
#include "qapi/suggest.h"

namespace firn::qapi {

const Part* PartIndex::find(std::string_view name) const {
  if (!table_.empty()) {
    const auto found = table_.find(name);
    return found == table_.end() ? nullptr : found->second;
  }
  for (const Part* part : parts_) {
    if (same_in_c(part->name, name)) return part;
  }
  return nullptr;
}

void PartIndex::add(const Part& part) {
  constexpr size_t kFew = 12;
  parts_.push_back(&part);
  if (parts_.size() < kFew) return;
  if (parts_.size() == kFew) {
    for (const Part* other : parts_) table_.emplace(other->name, other);
  } else {
    table_.emplace(part.name, &part);
  }
}

namespace {

using Keys = std::span<const std::string_view>;

// What each kind of definition is made of.
struct Form {
  std::string_view key;
  MetaType meta;
  std::span<const std::string_view> required;
  std::span<const std::string_view> optional;
  bool in_2011_only = false;
};

constexpr std::string_view kData[] = {"data"};
constexpr std::string_view kUnionKeys[] = {"base", "discriminator", "data"};
constexpr std::string_view kEnumOptions[] = {"prefix", "if", "features"};
constexpr std::string_view kStructOptions[] = {"base", "if", "features"};
constexpr std::string_view kPlainOptions[] = {"if", "features"};
constexpr std::string_view kCommandOptions[] = {
    "data",      "returns",         "boxed",     "gen", "success-response",
    "allow-oob", "allow-preconfig", "coroutine", "if",  "features"};
constexpr std::string_view kEventOptions[] = {"data", "boxed", "if", "features"};

constexpr Form kForms[] = {
    {"enum", MetaType::kEnum, kData, kEnumOptions},
    {"struct", MetaType::kStruct, kData, kStructOptions},
    {"union", MetaType::kUnion, kUnionKeys, kPlainOptions},
    {"alternate", MetaType::kAlternate, kData, kPlainOptions},
    {"command", MetaType::kCommand, {}, kCommandOptions},
    {"event", MetaType::kEvent, {}, kEventOptions},
    {"type", MetaType::kStruct, kData, kStructOptions, true},
};

constexpr std::string_view kName[] = {"name"};
constexpr std::string_view kType[] = {"type"};
constexpr std::string_view kIf[] = {"if"};
constexpr std::string_view kIfFeatures[] = {"if", "features"};
constexpr std::string_view kSecretMember[] = {"if", "features", "secret"};

bool contains(Keys keys, std::string_view key) {
  return std::find(keys.begin(), keys.end(), key) != keys.end();
}

std::string list_of(Keys keys) {
  std::string out;
  for (size_t i = 0; i < keys.size(); ++i) {
    out += fmt::format("{}'{}'", i == 0 ? "" : i + 1 == keys.size() ? " and " : ", ", keys[i]);
  }
  return out;
}

class DeclarationReader {
 public:
  DeclarationReader(const ParsedSchema& schema, Dialect dialect, Diagnostics& diagnostics)
      : pragmas_(schema.pragmas),
        old_(dialect == Dialect::k2011),
        dialect_(dialect),
        diagnostics_(diagnostics) {}

  void read(const Definition& definition, size_t index);
  Declarations take() { return {std::move(out_), std::move(lost_names_)}; }

 private:
  // Forgets the definition at hand; whatever may have been its name is known to be missing.
  void drop() {
    for (const Node::Member& member : here_->node->members) lost_names_.insert(member.value.text);
    out_.pop_back();
  }

  // ---- What several kinds share ----

  void fail(const Span& span, std::string text, std::string hint = {}) {
    diagnostics_.error_in(here_->start, span, std::move(text), std::move(hint));
    here_->broken = true;
  }
  const Form* form_of(const Node& node);
  void check_documentation(const Definition& definition);
  void check_name(const Form& form);
  bool check_keys(const Node& node, std::string_view what, Keys required, Keys optional);
  const Node* condition_of(const Node& node);
  std::vector<FeatureUse> features_of(const Node& node);
  bool check_part_name(std::string_view name, const Span& span, std::string_view what,
                       NameKind kind, NameLeave leave = {});
  bool flag(std::string_view key, bool only);

  // ---- Types ----

  static constexpr unsigned kListAllowed = 1;
  static constexpr unsigned kObjectAllowed = 2;
  TypeUse type_use(const Node& node, std::string_view what, unsigned allowed,
                   const std::string& anonymous_name);
  TypeUse anonymous(const Node& node, const std::string& name, bool leave);
  NameLeave leave_of(std::string_view name) const;

  // ---- The kinds ----

  void read_enum(const Node& data);
  void read_value(const Node& element, NameLeave leave);
  void read_members(const Node& data, NameLeave leave);
  void read_member(const Node::Member& given, NameLeave leave);
  void read_union(const Node& data);
  void read_old_union(const Node& data);
  void read_branches(const Node& data, bool alternate);
  void read_alternate(const Node& data);
  void read_call(bool command);

  const Pragmas& pragmas_;
  const bool old_;
  const Dialect dialect_;
  Diagnostics& diagnostics_;
  std::deque<Declaration> out_;
  NameSet lost_names_;
  Declaration* here_ = nullptr;  // the one being read
};

const Form* DeclarationReader::form_of(const Node& node) {
  const Form* found = nullptr;
  const Node::Member* second = nullptr;
  for (const Form& form : kForms) {
    if (form.in_2011_only && (!old_ || found)) continue;
    const Node::Member* member = node.member(form.key);
    if (!member) continue;
    if (found) second = member;
    if (!found) found = &form;
  }
  if (second) {
    fail(second->name_span,
         fmt::format("a definition can't be '{}' and '{}' at once", found->key, second->name));
    return nullptr;
  }
  if (found) return found;
  std::string hint;
  if (node.member("type")) {
    hint = "write 'struct' for 'type', or compile old schemas with --dialect 2011";
  } else if (!node.members.empty()) {
    Suggestion suggestion(node.members.front().name);
    for (const Form& form : kForms) suggestion.offer(form.key);
    suggestion.offer("include");
    suggestion.offer("pragma");
    hint = suggestion.hint();
  }
  fail(node.span,
       "a definition needs one of 'enum', 'struct', 'union', 'alternate', 'command', 'event', "
       "'include' and 'pragma'",
       std::move(hint));
  return nullptr;
}

void DeclarationReader::read(const Definition& definition, size_t index) {
  const Node& node = definition.node;
  Declaration& declaration = out_.emplace_back();
  here_ = &declaration;
  declaration.node = &node;
  declaration.index = index;
  declaration.start = {node.span.file, node.span.begin, node.span.begin + 1};
  const Form* form = form_of(node);
  if (!form) return drop();
  const Node& name = node.member(form->key)->value;
  if (name.kind != Node::Kind::kString) {
    fail(name.span, fmt::format("'{}' needs a name, not {}", form->key, name.kind_name()));
    return drop();
  }
  declaration.meta = form->meta;
  declaration.name = name.text;
  declaration.name_span = name.span;
  if (line_of(name.span) == line_of(declaration.start)) declaration.start = name.span;
  check_name(*form);
  check_documentation(definition);
  const bool role = form->meta == MetaType::kCommand && !pragmas_.role_type.empty();
  Keys required = form->required;
  if (old_ && form->meta == MetaType::kUnion) required = kData;
  std::vector<std::string_view> optional(form->optional.begin(), form->optional.end());
  optional.push_back(form->key);
  if (role) optional.push_back("role");
  if (old_) optional.insert(optional.end(), {"base", "discriminator", "gen"});
  check_keys(node, form->key, required, optional);
  const Node::Member* data = node.member("data");
  switch (form->meta) {
    case MetaType::kEnum:
      if (data) read_enum(data->value);
      break;
    case MetaType::kStruct:
      if (data) read_members(data->value, leave_of(declaration.name));
      here_ = &declaration;
      if (const Node::Member* base = node.member("base")) {
        declaration.base = type_use(base->value, "'base'", 0, "");
      }
      break;
    case MetaType::kUnion:
      if (data) old_ ? read_old_union(data->value) : read_union(data->value);
      break;
    case MetaType::kAlternate:
      if (data) read_alternate(data->value);
      break;
    case MetaType::kCommand:
    case MetaType::kEvent:
      read_call(form->meta == MetaType::kCommand);
      break;
  }
  here_ = &declaration;
  declaration.condition = condition_of(node);
  declaration.features = features_of(node);
}

void DeclarationReader::check_name(const Form& form) {
  const std::string& name = here_->name;
  if (old_) {
    if (!is_name_2011(name)) {
      fail(here_->name_span, fmt::format("the name of {} '{}' may have letters, digits, '-', '_' "
                                         "and '.' only",
                                         form.key, name));
    }
    return;
  }
  NameKind kind = NameKind::kType;
  NameLeave leave;
  if (form.meta == MetaType::kCommand) {
    kind = NameKind::kLower;
    leave.underscore = pragmas_.command_name_exceptions.contains(name);
  } else if (form.meta == MetaType::kEvent) {
    kind = NameKind::kEvent;
  }
  std::string error = name_error(name, kind, leave);
  std::string hint;
  if (!error.empty()) {
    const std::string better = suggest_name(name, kind);
    if (better != name && name_error(better, kind).empty()) {
      hint = fmt::format("write '{}'{}", better,
                         form.meta == MetaType::kCommand
                             ? ", or name it in the pragma 'command-name-exceptions'"
                             : "");
    }
  } else if (kind == NameKind::kType && name.ends_with("List")) {
    error = "must not end with 'List', which is the C type of its lists";
  }
  if (error.empty()) return;
  diagnostics_.error_in(here_->start, here_->name_span,
                        fmt::format("the name of {} '{}' {}", form.key, name, error),
                        std::move(hint));
}

void DeclarationReader::check_documentation(const Definition& definition) {
  if (!definition.doc) {
    if (pragmas_.doc_required && !definition.doc_broken && !old_) {
      diagnostics_.error_in(
          here_->start, here_->name_span,
          fmt::format("'{}' has no documentation, which this schema requires", here_->name),
          fmt::format("write a block that starts with '# @{}:' above it", here_->name));
    }
    return;
  }
  const Doc& doc = *definition.doc;
  const bool same = doc.symbol == here_->name;
  if (same || !old_) here_->doc = &doc;
  if (old_) return;
  if (!same) {
    diagnostics_.error_in(
        here_->start, here_->name_span,
        fmt::format("the documentation above is of '{}', not of '{}'", doc.symbol, here_->name));
    diagnostics_.note(doc.symbol_span, "it says so here");
    here_->doc = nullptr;
  }
  const bool command = here_->node->member("command") != nullptr;
  if (const DocPart* part = doc.section("Returns")) {
    if (!command) {
      diagnostics_.error(part->span, "only commands have a section 'Returns:'");
    } else if (!here_->node->member("returns")) {
      diagnostics_.error(part->span, fmt::format("command '{}' returns nothing", here_->name),
                         "leave this section out, or add the key 'returns'");
    }
  }
  const DocPart* errors = doc.section("Errors");
  if (errors && !command) {
    diagnostics_.error(errors->span, "only commands have a section 'Errors:'");
  }
}

bool DeclarationReader::check_keys(const Node& node, std::string_view what, Keys required,
                                   Keys optional) {
  bool good = true;
  for (const std::string_view key : required) {
    if (node.member(key)) continue;
    const Span& where = &node == here_->node ? here_->start : node.span;
    fail(where, fmt::format("{} needs the key '{}'", what, key));
    good = false;
  }
  for (const Node::Member& member : node.members) {
    if (contains(required, member.name) || contains(optional, member.name)) continue;
    Suggestion suggestion(member.name);
    for (const std::string_view key : required) suggestion.offer(key);
    for (const std::string_view key : optional) suggestion.offer(key);
    std::string hint = suggestion.hint();
    if (hint.empty() && member.name == "role") hint = "the pragma 'role-type' allows it";
    if (hint.empty() && member.name == "secret") hint = "the pragma 'secret-members' allows it";
    if (hint.empty()) {
      std::vector<std::string_view> known(required.begin(), required.end());
      known.insert(known.end(), optional.begin(), optional.end());
      hint = "it has " + list_of(known);
    }
    fail(member.name_span, fmt::format("{} has no key '{}'", what, member.name), std::move(hint));
    good = false;
  }
  return good;
}

const Node* DeclarationReader::condition_of(const Node& node) {
  const Node::Member* member = node.member("if");
  if (!member) return nullptr;
  ConditionError error = check_condition(member->value, dialect_);
  if (error.text.empty()) return &member->value;
  fail(error.span, std::move(error.text), std::move(error.hint));
  return nullptr;
}

std::vector<FeatureUse> DeclarationReader::features_of(const Node& node) {
  std::vector<FeatureUse> out;
  const Node::Member* member = node.member("features");
  if (!member) return out;
  if (member->value.kind != Node::Kind::kList) {
    fail(member->value.span,
         fmt::format("'features' needs a list, not {}", member->value.kind_name()));
    return out;
  }
  for (const Node& element : member->value.elements) {
    FeatureUse feature;
    const Node* name = &element;
    if (element.kind == Node::Kind::kObject) {
      if (!check_keys(element, "a feature", kName, kIf)) continue;
      feature.condition = condition_of(element);
      name = &element.member("name")->value;
    }
    if (name->kind != Node::Kind::kString) {
      fail(name->span, fmt::format("a feature needs a name, not {}", name->kind_name()));
      continue;
    }
    feature.name = name->text;
    feature.span = name->span;
    if (check_part_name(feature.name, feature.span, "feature", NameKind::kLower)) {
      out.push_back(feature);
    }
  }
  return out;
}

bool DeclarationReader::check_part_name(std::string_view name, const Span& span,
                                        std::string_view what, NameKind kind, NameLeave leave) {
  if (old_) {
    if (is_name_2011(name)) return true;
    fail(span, fmt::format("'{}' is no name for a {}", name, what));
    return false;
  }
  const std::string error = name_error(name, kind, leave);
  if (error.empty()) return true;
  const std::string better = suggest_name(name, kind);
  std::string hint;
  if (better != name && name_error(better, kind).empty()) {
    hint =
        fmt::format("write '{}', or name the type in the pragma 'member-name-exceptions'", better);
  }
  diagnostics_.error_in(here_->start, span,
                        fmt::format("the name of {} '{}' {}", what, name, error), std::move(hint));
  return !name.empty();
}

// `only` is the value that makes a difference, and today the only one that may be given.
bool DeclarationReader::flag(std::string_view key, bool only) {
  const Node::Member* member = here_->node->member(key);
  if (!member) return !only;
  const Node& value = member->value;
  if (value.kind == Node::Kind::kBool && (old_ || value.boolean == only)) return value.boolean;
  if (old_ && (value.text == "no" || value.text == "yes")) return value.text == "yes";
  if (value.kind == Node::Kind::kBool) {
    fail(value.span, fmt::format("'{}' can only be {}", key, only),
         "leave it out for the other value");
  } else {
    fail(value.span, fmt::format("'{}' needs {}, not {}", key, only, value.kind_name()));
  }
  return only;
}

// ---- Types ----

NameLeave DeclarationReader::leave_of(std::string_view name) const {
  const bool leave = pragmas_.member_name_exceptions.contains(name);
  return {leave, leave};
}

TypeUse DeclarationReader::type_use(const Node& node, std::string_view what, unsigned allowed,
                                    const std::string& anonymous_name) {
  TypeUse use;
  if (node.kind == Node::Kind::kString) {
    use.name = node.text;
    use.span = node.span;
    if (old_ && (node.text == "visitor" || node.text == "dict" || node.text == "**")) {
      use.name = "any";  // 2011 had no name for it
    }
    return use;
  }
  if (node.kind == Node::Kind::kList && allowed & kListAllowed) {
    const bool single = node.elements.size() == 1;
    if (single && (node.elements.front().kind == Node::Kind::kString ||
                   (old_ && node.elements.front().kind == Node::Kind::kObject))) {
      use = type_use(node.elements.front(), what, allowed & ~kListAllowed, anonymous_name);
      ++use.lists;
      return use;
    }
    fail(node.span, fmt::format("{}: the brackets of a list hold the name of one type", what));
    return use;
  }
  if (node.kind == Node::Kind::kObject && (old_ || allowed & kObjectAllowed)) {
    return anonymous(node, anonymous_name, false);
  }
  fail(node.span,
       fmt::format("{} needs the name of a type{}{}, not {}", what,
                   allowed & kListAllowed ? " or a list" : "",
                   allowed & kObjectAllowed ? " or an object of members" : "", node.kind_name()));
  return use;
}

// The object that stands in place of a name.
TypeUse DeclarationReader::anonymous(const Node& node, const std::string& name, bool leave) {
  Declaration* const outer = here_;
  Declaration& inner = out_.emplace_back();
  inner.meta = MetaType::kStruct;
  inner.node = &node;
  inner.start = outer->start;
  inner.name = name;
  inner.name_span = node.span;
  inner.owner = outer;
  inner.index = outer->index;
  inner.condition = outer->condition;
  here_ = &inner;
  read_members(node, {leave, leave});
  here_ = outer;
  outer->broken |= inner.broken;
  TypeUse use;
  use.span = node.span;
  use.anonymous = &inner;
  use.declaration = &inner;
  return use;
}

// ---- The kinds ----

void DeclarationReader::read_enum(const Node& data) {
  if (data.kind != Node::Kind::kList) {
    return fail(data.span, fmt::format("an enum's 'data' is a list, not {}", data.kind_name()));
  }
  const Node::Member* prefix = here_->node->member("prefix");
  if (prefix && prefix->value.kind != Node::Kind::kString) {
    fail(prefix->value.span,
         fmt::format("'prefix' needs a string, not {}", prefix->value.kind_name()));
  }
  const NameLeave leave = leave_of(here_->name);
  here_->parts.reserve(data.elements.size());
  for (const Node& element : data.elements) read_value(element, leave);
}

void DeclarationReader::read_value(const Node& element, NameLeave leave) {
  Part value;
  const Node* name = &element;
  if (element.kind == Node::Kind::kObject) {
    if (!check_keys(element, "an enum's value", kName, kIfFeatures)) return;
    value.condition = condition_of(element);
    value.features = features_of(element);
    name = &element.member("name")->value;
  }
  if (name->kind != Node::Kind::kString) {
    return fail(name->span, fmt::format("an enum's value needs a name, not {}", name->kind_name()));
  }
  value.name = name->text;
  value.span = name->span;
  if (check_part_name(value.name, value.span, "value", NameKind::kEnumValue, leave)) {
    here_->parts.push_back(std::move(value));
  }
}

// {'name': type, '*name': type, 'name': {'type': ..., 'if': ..., 'features': [...]}}
void DeclarationReader::read_members(const Node& data, NameLeave leave) {
  if (data.kind != Node::Kind::kObject) {
    return fail(data.span,
                fmt::format("'data' needs an object of members, not {}", data.kind_name()));
  }
  here_->parts.reserve(data.members.size());
  for (const Node::Member& given : data.members) read_member(given, leave);
}

void DeclarationReader::read_member(const Node::Member& given, NameLeave leave) {
  Part member;
  member.name = given.name;
  member.span = given.name_span;
  if (member.name.starts_with('*')) {
    member.optional = true;
    member.name.remove_prefix(1);
  }
  if (!check_part_name(member.name, member.span, "member", NameKind::kLower, leave)) return;
  if (!old_ && (same_in_c(member.name, "u") ||
                (member.name.size() >= 4 && same_in_c(member.name.substr(0, 4), "has_")))) {
    fail(member.span, fmt::format("the name of member '{}' is reserved", member.name),
         "no member can be 'u' or start with 'has-'");
  }
  const Node* type = &given.value;
  const std::string what = fmt::format("member '{}'", member.name);
  const Node::Member* inner = type->member("type");
  const auto known_key = [](const Node::Member& m) {
    return m.name == "type" || contains(kSecretMember, m.name);
  };
  const bool spelled_out =
      type->kind == Node::Kind::kObject &&
      (!old_ || (inner && std::all_of(type->members.begin(), type->members.end(), known_key)));
  if (spelled_out) {
    const Keys optional = pragmas_.secret_members ? Keys(kSecretMember) : Keys(kIfFeatures);
    if (!check_keys(*type, what, kType, optional)) return;
    member.condition = condition_of(*type);
    member.features = features_of(*type);
    if (const Node::Member* secret = type->member("secret")) {
      member.secret = secret->value.boolean;
      if (secret->value.kind != Node::Kind::kBool) {
        fail(secret->value.span, "'secret' needs true or false");
      }
    }
    type = &inner->value;
  }
  member.type = type_use(*type, what, kListAllowed, here_->name + cpp_pascal(member.name));
  here_->parts.push_back(std::move(member));
}

void DeclarationReader::read_union(const Node& data) {
  Declaration& declaration = *here_;
  if (const Node::Member* base = declaration.node->member("base")) {
    if (base->value.kind == Node::Kind::kObject) {
      declaration.base =
          anonymous(base->value, declaration.name + "Base", leave_of(declaration.name).underscore);
    } else {
      declaration.base = type_use(base->value, "'base'", kObjectAllowed, "");
    }
  }
  if (const Node::Member* tag = declaration.node->member("discriminator")) {
    declaration.discriminator = tag->value.text;
    declaration.discriminator_span = tag->value.span;
    if (tag->value.kind != Node::Kind::kString) {
      fail(tag->value.span, fmt::format("'discriminator' needs the name of a member, not {}",
                                        tag->value.kind_name()));
    }
  }
  read_branches(data, false);
}

// Until QEMU 6.1 a union might have no discriminator: then one is made of its branches. One that is
// an empty object made it what an alternate is today.
void DeclarationReader::read_old_union(const Node& data) {
  const Node::Member* tag = here_->node->member("discriminator");
  if (tag && tag->value.kind == Node::Kind::kObject && tag->value.members.empty()) {
    here_->meta = MetaType::kAlternate;
    return read_branches(data, true);
  }
  read_union(data);
}

void DeclarationReader::read_branches(const Node& data, bool alternate) {
  if (data.kind != Node::Kind::kObject) {
    return fail(data.span,
                fmt::format("'data' needs an object of branches, not {}", data.kind_name()));
  }
  here_->parts.reserve(data.members.size());
  for (const Node::Member& given : data.members) {
    Part branch;
    branch.name = given.name;
    branch.span = given.name_span;
    if (alternate && !check_part_name(branch.name, branch.span, "branch", NameKind::kLower))
      continue;
    const std::string what = fmt::format("branch '{}'", branch.name);
    const Node* type = &given.value;
    if (type->kind == Node::Kind::kObject && (!old_ || type->member("type"))) {
      if (!check_keys(*type, what, kType, kIf)) continue;
      branch.condition = condition_of(*type);
      type = &type->member("type")->value;
    }
    branch.type = type_use(*type, what, alternate || old_ ? kListAllowed : 0,
                           here_->name + cpp_pascal(branch.name));
    here_->parts.push_back(std::move(branch));
  }
}

void DeclarationReader::read_alternate(const Node& data) {
  if (data.kind == Node::Kind::kObject && data.members.empty()) {
    return fail(data.span, "an alternate needs at least one branch");
  }
  read_branches(data, true);
}

void DeclarationReader::read_call(bool command) {
  Declaration& declaration = *here_;
  const Node& node = *declaration.node;
  declaration.boxed = flag("boxed", true);
  if (const Node::Member* data = node.member("data")) {
    const bool object = data->value.kind == Node::Kind::kObject;
    if (object && declaration.boxed && !old_) {
      fail(data->value.span, "'boxed' needs the name of a type in 'data', not an object");
    }
    declaration.data = type_use(data->value, "'data'", kObjectAllowed,
                                cpp_pascal(declaration.name) + (command ? "Args" : "Event"));
  } else if (declaration.boxed) {
    fail(node.member("boxed")->name_span, "'boxed' needs 'data'");
  }
  if (!command) return;
  if (const Node::Member* returns = node.member("returns")) {
    declaration.returns = type_use(returns->value, "'returns'", kListAllowed,
                                   cpp_pascal(declaration.name) + "Result");
  }
  declaration.generate = flag("gen", false);
  declaration.success_response = flag("success-response", false);
  declaration.allow_oob = flag("allow-oob", true);
  declaration.allow_preconfig = flag("allow-preconfig", true);
  declaration.coroutine = flag("coroutine", true);
  const Node::Member* role = node.member("role");
  if (role) declaration.role = &role->value;
  if (!old_ && node.member("allow-oob") && node.member("coroutine")) {
    fail(node.member("coroutine")->name_span, "'allow-oob' and 'coroutine' exclude each other");
  }
}

}  // namespace

std::string_view meta_name(MetaType meta) {
  for (const Form& form : kForms) {
    if (form.meta == meta) return form.key;
  }
  return {};
}

Declarations declare(const ParsedSchema& schema, Dialect dialect, Diagnostics& diagnostics) {
  DeclarationReader reader(schema, dialect, diagnostics);
  for (size_t i = 0; i < schema.definitions.size(); ++i) reader.read(schema.definitions[i], i);
  return reader.take();
}

}  // namespace firn::qapi
