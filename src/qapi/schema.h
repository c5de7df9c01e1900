// The schema as a model: types, commands and events, resolved and checked. Back ends read this and
// nothing else.
//
// Everything whose `if` does not hold is left out, but for types that something else needs.
// Pointers between the parts stay valid as long as the Schema lives.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "qapi/doc.h"
#include "qapi/source.h"

namespace firn::qapi {

struct Feature {
  std::string name;
  Span span;
  std::string condition;  // its `if`, for people; empty: none. So with all others
};
using Features = std::vector<Feature>;

struct Type;

struct EnumValue {
  std::string name;
  Span span;
  Features features;
  std::string condition;
};

// A member of an object, or a branch of an alternate.
struct Member {
  std::string name;
  Span span;
  const Type* type = nullptr;
  bool optional = false;
  Features features;
  std::string doc;
  std::string condition;
  bool secret = false;  // key `secret`: never shown, whatever records it
};

// A branch of a union.
struct Variant {
  std::string name;  // the tag's value
  Span span;
  const Type* type = nullptr;  // an object; null: no members beyond the base
  std::string condition;
};

enum class TypeKind : uint8_t { kBuiltin, kEnum, kArray, kObject, kAlternate };

struct Type {
  TypeKind kind;
  std::string name;
  Span span;
  const SourceFile* file = nullptr;  // null: built in
  Features features;
  std::string condition;
  const Doc* doc = nullptr;
  bool implicit = false;  // made for anonymous `data`, `base` and nested members

  std::vector<EnumValue> values;  // kEnum, in order

  const Type* element = nullptr;  // kArray

  const Type* base = nullptr;       // kObject
  std::vector<Member> own_members;  // kObject: without the base's; kAlternate: its branches
  std::vector<Member> members;      // kObject: the base's, then its own
  const Member* tag = nullptr;      // a union's discriminator, one of `members`
  std::vector<Variant> variants;    // a union's, one for each value of the tag's enumeration

  bool is_union() const { return tag != nullptr; }
};

struct Command {
  std::string name;
  Span span;
  const SourceFile* file = nullptr;
  const Doc* doc = nullptr;
  Features features;
  std::string condition;
  const Type* arguments = nullptr;  // an object; null: takes nothing
  const Type* returns = nullptr;    // null: returns nothing
  bool boxed = false;
  bool generate = true;  // false: the handler works on raw JSON
  bool allow_oob = false;
  bool allow_preconfig = false;
  bool coroutine = false;
  bool success_response = true;
  // Index of the lowest role that may run it, among Schema::role_type's values; the highest one
  // unless the key `role` says otherwise. 0 in a schema without roles.
  size_t role = 0;
};

struct Event {
  std::string name;
  Span span;
  const SourceFile* file = nullptr;
  const Doc* doc = nullptr;
  Features features;
  std::string condition;
  const Type* data = nullptr;  // an object; null: carries nothing
  bool boxed = false;
};

// What stands in the files, in their order: exactly one of the pointers is set.
struct Entity {
  const Doc* text = nullptr;  // free text of the manual: its headings and what is said below them
  const SourceFile* file = nullptr;  // where it stands
  const Type* type = nullptr;
  const Command* command = nullptr;
  const Event* event = nullptr;
};

struct Schema {
  std::string name;  // what manuals call it; empty: the first file's module
  std::vector<const SourceFile*> files;
  std::vector<std::unique_ptr<Doc>> docs;
  std::vector<std::unique_ptr<Type>> types;  // built-in, explicit, implicit
  std::vector<std::unique_ptr<Command>> commands;
  std::vector<std::unique_ptr<Event>> events;
  std::vector<Entity> entities;
  const Type* role_type = nullptr;  // pragma `role-type`: an enumeration, lowest role first

  const Type* find_type(std::string_view name) const;
};

}  // namespace firn::qapi
