// A definition taken apart: its keys, each held to the form that it has to have by itself. What
// names refer to is resolve.h's business.
//
// Objects without a name (a command's `data`, a union's `base`, members' in 2011) become
// declarations of their own. Whatever `if` says, everything is here: errors do not depend on -D.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "qapi/names.h"
#include "qapi/parser.h"

namespace firn::qapi {

enum class MetaType : uint8_t { kEnum, kStruct, kUnion, kAlternate, kCommand, kEvent };

struct Declaration;

// A place that names a type, and, once it is resolved, what it names.
struct TypeUse {
  Span span;  // no file: nothing is named
  std::string_view name;
  Declaration* anonymous = nullptr;  // instead of a name
  int lists = 0;                     // how many brackets are around it

  // Set by resolve(). Neither: the name is unknown, which has been reported.
  const Declaration* declaration = nullptr;
  std::string_view builtin;

  bool given() const { return span.file != nullptr; }
  bool resolved() const { return declaration || !builtin.empty(); }
};

struct FeatureUse {
  std::string_view name;
  Span span;
  const Node* condition = nullptr;
};

// A member of an object, a branch, or a value of an enumeration.
struct Part {
  std::string_view name;
  Span span;
  bool optional = false;
  bool secret = false;
  TypeUse type;
  const Node* condition = nullptr;
  std::vector<FeatureUse> features;
};

// Finds a part by its name as C sees it. Few parts need no table.
class PartIndex {
 public:
  const Part* find(std::string_view name) const;
  void add(const Part& part);

 private:
  std::vector<const Part*> parts_;
  std::unordered_map<std::string_view, const Part*, HashInC, EqualInC> table_;
};

struct Declaration {
  MetaType meta = MetaType::kStruct;
  const Node* node = nullptr;
  Span start;        // what errors point at: the name, or the brace where that is on another line
  std::string name;  // of anonymous objects: made up
  Span name_span;
  const Doc* doc = nullptr;
  const Declaration* owner = nullptr;  // of anonymous objects: what it stands in
  size_t index = 0;                    // in ParsedSchema::definitions, its own or its owner's
  bool broken = false;                 // its form is wrong: what is missing is not missed again
  bool duplicate = false;

  const Node* condition = nullptr;
  std::vector<FeatureUse> features;

  std::vector<Part> parts;         // values, members or branches
  TypeUse base;                    // struct, union
  std::string_view discriminator;  // union; empty in a simple union of the dialect of 2011
  Span discriminator_span;

  TypeUse data;     // command, event
  TypeUse returns;  // command
  const Node* role = nullptr;
  bool boxed = false;
  bool generate = true;
  bool allow_oob = false;
  bool allow_preconfig = false;
  bool coroutine = false;
  bool success_response = true;

  // resolve() at work: where it is, and what it found.
  enum class State : uint8_t { kNew, kOpen, kDone } state = State::kNew;
  PartIndex members;  // own ones

  bool anonymous() const { return owner != nullptr; }
  bool is_object() const { return meta == MetaType::kStruct || meta == MetaType::kUnion; }
  bool is_type() const { return meta != MetaType::kCommand && meta != MetaType::kEvent; }
};

// "enum", "struct", ...: the key that names it.
std::string_view meta_name(MetaType meta);

struct Declarations {
  std::deque<Declaration> all;  // anonymous objects stand behind what they are in
  NameSet lost_names;           // of definitions that were given up after an error
};

// Takes all definitions apart, in their order.
Declarations declare(const ParsedSchema& schema, Dialect dialect, Diagnostics& diagnostics);

}  // namespace firn::qapi
