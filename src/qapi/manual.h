// The reference manual before it has a format: what there is to say of each definition, in the
// order of the schema. The back ends markdown, html and man print this.
//
// A Manual points into the Schema that it was made of, which has to outlive it.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "qapi/doc_text.h"
#include "qapi/schema.h"

namespace firn::qapi {

enum class EntryKind : uint8_t { kCommand, kEvent, kEnum, kStruct, kUnion, kAlternate };

std::string_view kind_name(EntryKind kind);  // "command", "enumeration", ...

// A member of an object, a value of an enumeration or a branch of an alternate.
struct ManualMember {
  std::string name;
  const Type* type = nullptr;  // null: a value
  bool optional = false;
  bool secret = false;
  Features features;
  std::string condition;  // of its `if`, as in schema.h; so with all others
  Blocks text;
  std::vector<ManualMember> inner;  // of an anonymous object in its place (dialect of 2011)
};

// Members that come from one definition.
struct MemberGroup {
  const Type* from = nullptr;  // null: the entry itself
  std::vector<ManualMember> members;
};

// A branch of a union: what joins the members where the tag has this value.
struct ManualBranch {
  std::string value;
  const Type* type = nullptr;  // null: nothing joins them
  std::string condition;
  std::vector<ManualMember> inner;  // of an anonymous object
};

// A feature, or a section with its tag (empty: plain text).
struct ManualPart {
  std::string name;
  Blocks text;
};

// A definition that refers to a type.
struct ManualUse {
  EntryKind kind;
  std::string name;
  std::string place;  // "arguments", "returns", "base", "`member`", ...
};

struct ManualEntry {
  EntryKind kind = EntryKind::kCommand;
  std::string name;
  std::string anchor;  // "command-blockdev-add": the same for as long as the name is
  const SourceFile* file = nullptr;
  Features features;  // own; the ones of members stand with these
  std::string condition;
  Blocks text;
  std::vector<MemberGroup> members;  // a command's are its arguments
  std::string tag;                   // of a union
  const Type* tag_type = nullptr;
  std::vector<ManualBranch> branches;
  const Type* branches_in = nullptr;  // the named union whose branches go on a command's arguments
  std::vector<ManualPart> feature_texts;
  const Type* returns = nullptr;
  Blocks returns_text;
  std::vector<ManualPart> sections;  // in order, without Returns and Since
  Inlines since;
  std::vector<std::string> remarks;  // "May be sent with exec-oob.", ...: whole sentences
  std::vector<ManualUse> uses;

  const ManualMember* member(std::string_view member_name) const;
};

// A heading, a text between definitions, or a definition; exactly one.
struct ManualItem {
  const SourceFile* file = nullptr;
  int level = 0;       // of a heading, from 1; else that of the heading above, 0 if none
  std::string anchor;  // of a heading
  Inlines heading;
  Blocks text;
  std::optional<ManualEntry> entry;

  bool is_heading() const { return !anchor.empty(); }
};

struct Manual {
  std::string name;   // "firn": what the files are named after
  std::string title;  // "firn QMP reference"
  std::vector<ManualItem> items;
  // By name; commands, types and events can't share one.
  std::map<std::string, const ManualEntry*, std::less<>> entries;

  const ManualEntry* find(std::string_view entry_name) const;
  // The entry of a type: of itself, or of an array's elements. Null for built-in and anonymous
  // ones.
  const ManualEntry* find(const Type* type) const;
};

Manual make_manual(const Schema& schema);

// What a built-in type is, in a few words; empty for others.
std::string_view builtin_summary(std::string_view name);
// Those that the schema uses, in a fixed order.
std::vector<const Type*> builtin_types_used(const Schema& schema);

// Where a reference in an entry's text leads: a member of that entry, an entry, or neither.
struct Reference {
  const ManualEntry* entry = nullptr;
  const ManualMember* member = nullptr;  // of the entry at hand
};
Reference resolve(const Manual& manual, const ManualEntry* here, const Inline& span);

// The anchor of an entry's member: "command-blockdev-add.driver".
std::string member_anchor(const ManualEntry& entry, std::string_view member);

// A type as text, with "array of" before lists: "array of BlockInfo".
struct TypeText {
  std::string_view before;  // "array of ", once for each level
  const Type* type;         // what it ends in
  std::string name;         // of that; "object" where it is anonymous
};
TypeText type_text(const Type& type);

// Whether a link leads to the web or to a mailbox; what is of another kind stays text.
bool is_web_link(std::string_view target);

bool is_marked(const Features& features, std::string_view name);
std::string capitalized(std::string_view text);
// The first sentence of the text, for lists.
std::string summary_of(const ManualEntry& entry);

}  // namespace firn::qapi
