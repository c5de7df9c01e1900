// What the back ends for client bindings share: names, unions taken apart, documentation.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "qapi/backend.h"
#include "qapi/schema.h"

namespace firn::qapi {

// A Python package of NAME_client/: types, events, an asyncio client with a method for each
// command.
const Backend* python_backend();
// An npm package: interfaces for the types and events, a client on Node with a method for each
// command.
const Backend* typescript_backend();

// What the package of bindings is called: "firn_client" for firn.json or the name "Firn".
std::string client_package(const Schema& schema);

// "snapshot-file" -> "snapshot_file". Without leading underscores; what begins with a digit gets
// `digit_prefix`.
std::string client_name(std::string_view name, std::string_view digit_prefix);

// One way through a union to a struct: a value of its tag and, where that branch is a union too, of
// this one's tag, and so on.
struct UnionLeaf {
  std::vector<const Variant*> path;  // the last one's type is a struct, or null
  std::string suffix;                // "qcow2"; "luks_detached" for a path of two
};
std::vector<UnionLeaf> union_leaves(const Type& type);

// Whether a command's arguments, or an event's data, are named members and not a union.
inline bool is_struct(const Type& type) {
  return type.kind == TypeKind::kObject && !type.is_union();
}

// Whether a command takes arguments that the schema doesn't name: `gen: false` on one with `data`.
inline bool takes_more(const Command& command) { return !command.generate && command.arguments; }

// Types for which the bindings have a definition, each behind its base and the structs of its
// branches: all but what the language builds in, arrays, and what has a name for the compiler
// alone, such as the members of a command.
std::vector<const Type*> client_types(const Schema& schema);

bool has_feature(const Features& features, std::string_view name);

// The text of a definition without markup, filled to `width`: what it is, then features, sections
// (Returns, Since, ...), the role that a command needs. `members`, already as text, stands behind
// what it is.
struct ClientDoc {
  const Doc* doc = nullptr;
  std::string members;
  std::string role;       // empty: none
  bool markdown = false;  // lists and sections as Markdown has them, not by indentation
};
// "- name: text", further lines below the text.
std::string markdown_item(std::string_view name, std::string_view text);
std::string client_doc(const ClientDoc& doc, size_t width);

// One member's text, without markup; "" if there is none.
std::string client_member_doc(const Member& member, size_t width);
std::string client_value_doc(const Type& enumeration, const EnumValue& value, size_t width);

// Each line behind `indent` blanks, empty ones without; closed by a newline.
std::string indented(std::string_view text, size_t indent);

}  // namespace firn::qapi
