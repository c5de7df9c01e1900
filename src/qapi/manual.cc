#include "qapi/manual.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace firn::qapi {

namespace {

struct Builtin {
  std::string_view name;
  std::string_view summary;
};
constexpr std::array<Builtin, 15> kBuiltins = {{
    {"str", "a string, UTF-8"},
    {"bool", "true or false"},
    {"number", "a number, with or without a fraction"},
    {"int", "an integer of 64 bits, signed"},
    {"int8", "an integer of 8 bits, signed"},
    {"int16", "an integer of 16 bits, signed"},
    {"int32", "an integer of 32 bits, signed"},
    {"int64", "an integer of 64 bits, signed"},
    {"uint8", "an integer of 8 bits, unsigned"},
    {"uint16", "an integer of 16 bits, unsigned"},
    {"uint32", "an integer of 32 bits, unsigned"},
    {"uint64", "an integer of 64 bits, unsigned"},
    {"size", "a number of bytes, an integer of 64 bits, unsigned"},
    {"null", "JSON's null"},
    {"any", "any JSON value"},
}};

const Type* innermost(const Type* type) {
  while (type && type->kind == TypeKind::kArray) type = type->element;
  return type;
}

EntryKind kind_of(const Type& type) {
  switch (type.kind) {
    case TypeKind::kEnum:
      return EntryKind::kEnum;
    case TypeKind::kAlternate:
      return EntryKind::kAlternate;
    default:
      return type.is_union() ? EntryKind::kUnion : EntryKind::kStruct;
  }
}

std::string anchor_of(EntryKind kind, std::string_view name) {
  const std::string_view prefix = kind == EntryKind::kCommand ? "command"
                                  : kind == EntryKind::kEvent ? "event"
                                                              : "type";
  return fmt::format("{}-{}", prefix, name);
}

// "Block devices" -> "block-devices".
std::string slug(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    const bool word = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    if (word) {
      out += c;
    } else if (!out.empty() && out.back() != '-') {
      out += '-';
    }
  }
  while (out.ends_with('-')) out.pop_back();
  return out.empty() ? "section" : out;
}

class ManualBuilder {
 public:
  explicit ManualBuilder(const Schema& schema) : schema_(schema) {}

  Manual run() {
    manual_.name = schema_.name;
    if (manual_.name.empty()) {
      manual_.name = schema_.files.empty() ? "schema" : schema_.files.front()->module;
    }
    manual_.title = manual_.name + " QMP reference";
    find_headings();
    for (const Entity& entity : schema_.entities) add(entity);
    for (ManualItem& item : manual_.items) {
      if (item.entry) manual_.entries.emplace(item.entry->name, &*item.entry);
    }
    find_uses();
    return std::move(manual_);
  }

 private:
  // Modules without a heading of their own get their name as one.
  void find_headings() {
    for (const Entity& entity : schema_.entities) {
      if (!entity.text) continue;
      HeadingStyles styles;
      for (const Block& block : parse_doc_text(entity.text->body, &styles)) {
        if (block.kind == BlockKind::kHeading) with_heading_.insert(entity.file);
      }
    }
  }

  void add(const Entity& entity) {
    if (entity.text) return add_text(entity);
    if (entity.file && !with_heading_.contains(entity.file)) {
      with_heading_.insert(entity.file);
      add_heading(entity.file, {{InlineKind::kText, entity.file->module, {}}}, 1);
    }
    ManualItem item{.file = entity.file, .level = level_};
    if (entity.command) item.entry = entry_of(*entity.command);
    if (entity.event) item.entry = entry_of(*entity.event);
    if (entity.type) item.entry = entry_of(*entity.type);
    manual_.items.push_back(std::move(item));
  }

  void add_text(const Entity& entity) {
    Blocks text;
    const auto flush = [&] {
      if (text.empty()) return;
      manual_.items.push_back(
          {.file = entity.file, .level = level_, .text = std::exchange(text, {})});
    };
    for (Block& block : parse_doc_text(entity.text->body, &styles_)) {
      if (block.kind == BlockKind::kHeading) {
        flush();
        add_heading(entity.file, std::move(block.text), block.level);
      } else {
        text.push_back(std::move(block));
      }
    }
    flush();
  }

  void add_heading(const SourceFile* file, Inlines text, int level) {
    level_ = std::clamp(level, 1, level_ + 1);
    std::string anchor = "section-" + slug(to_plain_text(text));
    for (int n = 2; !anchors_.insert(anchor).second; ++n) {
      anchor = fmt::format("section-{}-{}", slug(to_plain_text(text)), n);
    }
    manual_.items.push_back(
        {.file = file, .level = level_, .anchor = anchor, .heading = std::move(text)});
  }

  // ---- Entries ----

  ManualEntry entry_of(const Command& command) {
    ManualEntry entry = head(EntryKind::kCommand, command, command.features);
    add_data(entry, command.arguments, command.doc);
    entry.returns = command.returns;
    add_doc(entry, command.doc);
    if (schema_.role_type && command.role < schema_.role_type->values.size()) {
      entry.remarks.push_back(
          fmt::format("Needs the role {}.", schema_.role_type->values[command.role].name));
    }
    if (command.allow_oob) entry.remarks.emplace_back("May be sent out of band, with exec-oob.");
    if (!command.success_response) entry.remarks.emplace_back("Gives no reply where it succeeds.");
    return entry;
  }

  ManualEntry entry_of(const Event& event) {
    ManualEntry entry = head(EntryKind::kEvent, event, event.features);
    add_data(entry, event.data, event.doc);
    add_doc(entry, event.doc);
    return entry;
  }

  ManualEntry entry_of(const Type& type) {
    ManualEntry entry = head(kind_of(type), type, type.features);
    if (type.kind == TypeKind::kEnum) {
      MemberGroup group;
      for (const EnumValue& value : type.values) {
        group.members.push_back({.name = value.name,
                                 .features = value.features,
                                 .condition = value.condition,
                                 .text = part_text(type.doc, value.name)});
      }
      entry.members.push_back(std::move(group));
    } else {
      add_members(entry, type, nullptr, type.doc);
      add_branches(entry, type);
    }
    add_doc(entry, type.doc);
    return entry;
  }

  template <typename Definition>
  static ManualEntry head(EntryKind kind, const Definition& definition, const Features& features) {
    ManualEntry entry;
    entry.kind = kind;
    entry.name = definition.name;
    entry.anchor = anchor_of(kind, definition.name);
    entry.file = definition.file;
    entry.features = features;
    entry.condition = definition.condition;
    return entry;
  }

  // A command's arguments or an event's data: an object of its own, or a named type.
  static void add_data(ManualEntry& entry, const Type* data, const Doc* doc) {
    if (!data) return;
    add_members(entry, *data, data->implicit ? nullptr : data, data->implicit ? doc : data->doc);
    if (!data->is_union()) return;
    entry.tag = data->tag->name;
    entry.tag_type = data->tag->type;
    entry.branches_in = data;
  }

  // The type's own members, then its bases', nearest first.
  static void add_members(ManualEntry& entry, const Type& type, const Type* from, const Doc* doc) {
    MemberGroup group{.from = from, .members = members_of(type, doc)};
    if (!group.members.empty()) entry.members.push_back(std::move(group));
    if (type.base) add_members(entry, *type.base, type.base, type.base->doc);
  }

  // `prefix` stands before their names where they are documented: "parent." in an anonymous object.
  static std::vector<ManualMember> members_of(const Type& type, const Doc* doc,
                                              const std::string& prefix = "") {
    std::vector<ManualMember> out;
    for (const Member& member : type.own_members) {
      ManualMember& shown = out.emplace_back();
      shown.name = member.name;
      shown.type = member.type;
      shown.optional = member.optional;
      shown.secret = member.secret;
      shown.features = member.features;
      shown.condition = member.condition;
      shown.text = part_text(doc, prefix + member.name);
      shown.inner = inner_of(member.type, doc, prefix + member.name + ".");
    }
    return out;
  }

  // What 2011's anonymous objects hold is documented where they stand.
  static std::vector<ManualMember> inner_of(const Type* type, const Doc* doc,
                                            const std::string& prefix) {
    type = innermost(type);
    if (!type || !type->implicit || type->kind != TypeKind::kObject) return {};
    return members_of(*type, doc, prefix);
  }

  static void add_branches(ManualEntry& entry, const Type& type) {
    if (!type.is_union()) return;
    entry.tag = type.tag->name;
    entry.tag_type = type.tag->type;
    for (const Variant& variant : type.variants) {
      entry.branches.push_back(
          {variant.name, variant.type, variant.condition, inner_of(variant.type, nullptr, "")});
    }
  }

  static Blocks part_text(const Doc* doc, std::string_view member) {
    const DocPart* part = doc ? doc->member(member) : nullptr;
    return part ? parse_doc_text(part->text) : Blocks();
  }

  static void add_doc(ManualEntry& entry, const Doc* doc) {
    std::set<std::string_view> told;
    if (doc) {
      entry.text = parse_doc_text(doc->body);
      for (const DocPart& part : doc->features) {
        told.insert(part.name);
        entry.feature_texts.push_back({part.name, parse_doc_text(part.text)});
      }
      for (const DocPart& part : doc->sections) {
        if (part.name == "Since") {
          entry.since = parse_inlines(part.text);
        } else if (part.name == "Returns" && entry.returns_text.empty()) {
          entry.returns_text = parse_doc_text(part.text);
        } else if (!is_for_authors(part.name)) {
          entry.sections.push_back({part.name, parse_doc_section(part)});
        }
      }
    }
    for (const Feature& feature : entry.features) {
      if (!told.contains(feature.name)) entry.feature_texts.push_back({feature.name, {}});
    }
  }

  // What the schema's authors have still to do is no business of its readers.
  static bool is_for_authors(std::string_view tag) {
    constexpr std::string_view kMark = "todo";
    return std::ranges::equal(tag, kMark, [](char a, char b) { return (a | 0x20) == b; });
  }

  // ---- Who uses a type ----

  void find_uses() {
    for (ManualItem& item : manual_.items) {
      if (!item.entry) continue;
      by_name_.emplace(item.entry->name, &*item.entry);
    }
    for (const Entity& entity : schema_.entities) {
      if (entity.command) {
        user_ = {EntryKind::kCommand, entity.command->name, ""};
        use_data(entity.command->arguments, "arguments");
        use(entity.command->returns, "returns");
      } else if (entity.event) {
        user_ = {EntryKind::kEvent, entity.event->name, ""};
        use_data(entity.event->data, "data");
      } else if (entity.type) {
        user_ = {kind_of(*entity.type), entity.type->name, ""};
        use_members(*entity.type, entity.type->kind == TypeKind::kAlternate ? "branch" : "member");
        use(entity.type->base, "base");
        for (const Variant& variant : entity.type->variants) {
          use(variant.type, fmt::format("branch {}", variant.name));
        }
      }
    }
  }

  void use_data(const Type* type, std::string place) {
    if (type && type->implicit) {
      return use_members(*type, user_.kind == EntryKind::kCommand ? "argument" : "member");
    }
    use(type, std::move(place));
  }

  void use_members(const Type& type, std::string_view what) {
    for (const Member& member : type.own_members) {
      use(member.type, fmt::format("{} {}", what, member.name));
    }
  }

  void use(const Type* type, std::string place) {
    type = innermost(type);
    if (!type) return;
    if (type->implicit) return use_members(*type, "member");
    const auto found = by_name_.find(type->name);
    if (found == by_name_.end()) return;
    std::vector<ManualUse>& uses = found->second->uses;
    if (!uses.empty() && uses.back().name == user_.name) return;
    uses.push_back({user_.kind, user_.name, std::move(place)});
  }

  const Schema& schema_;
  Manual manual_;
  HeadingStyles styles_;
  int level_ = 0;
  std::set<const SourceFile*> with_heading_;
  std::set<std::string> anchors_;
  std::map<std::string_view, ManualEntry*> by_name_;
  ManualUse user_;
};

}  // namespace

std::string_view kind_name(EntryKind kind) {
  switch (kind) {
    case EntryKind::kCommand:
      return "command";
    case EntryKind::kEvent:
      return "event";
    case EntryKind::kEnum:
      return "enumeration";
    case EntryKind::kStruct:
      return "object";
    case EntryKind::kUnion:
      return "union";
    case EntryKind::kAlternate:
      return "alternate";
  }
  return "";
}

const ManualMember* ManualEntry::member(std::string_view member_name) const {
  for (const MemberGroup& group : members) {
    for (const ManualMember& shown : group.members) {
      if (shown.name == member_name) return &shown;
    }
  }
  return nullptr;
}

const ManualEntry* Manual::find(std::string_view entry_name) const {
  const auto found = entries.find(entry_name);
  return found == entries.end() ? nullptr : found->second;
}

const ManualEntry* Manual::find(const Type* type) const {
  type = innermost(type);
  if (!type || type->implicit || type->kind == TypeKind::kBuiltin) return nullptr;
  return find(type->name);
}

Manual make_manual(const Schema& schema) { return ManualBuilder(schema).run(); }

std::string_view builtin_summary(std::string_view name) {
  for (const Builtin& builtin : kBuiltins) {
    if (builtin.name == name) return builtin.summary;
  }
  return {};
}

std::vector<const Type*> builtin_types_used(const Schema& schema) {
  std::set<const Type*> used;
  const auto add = [&](const Type* type) {
    type = innermost(type);
    if (type && type->kind == TypeKind::kBuiltin) used.insert(type);
  };
  for (const auto& type : schema.types) {
    for (const Member& member : type->own_members) add(member.type);
  }
  for (const auto& command : schema.commands) add(command->returns);
  std::vector<const Type*> out;
  for (const Builtin& builtin : kBuiltins) {
    for (const Type* type : used) {
      if (type->name == builtin.name) out.push_back(type);
    }
  }
  return out;
}

Reference resolve(const Manual& manual, const ManualEntry* here, const Inline& span) {
  if (span.kind == InlineKind::kMember) {
    if (const ManualMember* member = here ? here->member(span.text) : nullptr) {
      return {.entry = here, .member = member};
    }
    return {.entry = manual.find(span.text)};
  }
  if (span.kind != InlineKind::kReference) return {};
  std::string_view name = span.target;
  if (const ManualEntry* entry = manual.find(name)) return {.entry = entry};
  // `namespace:module.name`, of which the name is enough here.
  if (const size_t dot = name.find_last_of(".:"); dot != std::string_view::npos) {
    return {.entry = manual.find(name.substr(dot + 1))};
  }
  return {};
}

std::string member_anchor(const ManualEntry& entry, std::string_view member) {
  return fmt::format("{}.{}", entry.anchor, member);
}

TypeText type_text(const Type& type) {
  static constexpr std::string_view kArrays = "array of array of array of array of ";
  constexpr size_t kOne = std::string_view("array of ").size();
  size_t depth = 0;
  const Type* inner = &type;
  for (; inner->kind == TypeKind::kArray; inner = inner->element) ++depth;
  const bool anonymous = inner->implicit && inner->kind == TypeKind::kObject;
  return {kArrays.substr(0, std::min(depth * kOne, kArrays.size())), inner,
          anonymous ? "object" : inner->name};
}

bool is_web_link(std::string_view target) {
  return target.starts_with("https://") || target.starts_with("http://") ||
         target.starts_with("mailto:");
}

bool is_marked(const Features& features, std::string_view name) {
  return std::any_of(features.begin(), features.end(),
                     [&](const Feature& feature) { return feature.name == name; });
}

std::string capitalized(std::string_view text) {
  std::string out(text);
  if (!out.empty() && out[0] >= 'a' && out[0] <= 'z') out[0] = static_cast<char>(out[0] - 32);
  return out;
}

std::string summary_of(const ManualEntry& entry) {
  if (entry.text.empty() || entry.text.front().kind != BlockKind::kParagraph) return {};
  std::string text = to_plain_text(entry.text.front().text);
  for (size_t at = text.find(". "); at != std::string::npos; at = text.find(". ", at + 1)) {
    // "e.g. this" goes on.
    if (at + 2 < text.size() && !(text[at + 2] >= 'a' && text[at + 2] <= 'z')) {
      text.resize(at + 1);
      break;
    }
  }
  return text;
}

}  // namespace firn::qapi
