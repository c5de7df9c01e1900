// How a schema looks in C++: the names that generated code uses, and how its types are laid out.
//
// The schema's names are made into C++'s by names.h. Two that come out the same, or one that the
// runtime in src/api or the language has already, get a '_' behind them, so that whatever compiles
// as a schema compiles as C++.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "qapi/schema.h"

namespace firn::qapi {

class CppModel {
 public:
  // `schema` outlives the model. All of it is worked out here, in time linear in the schema's size.
  explicit CppModel(const Schema& schema);

  // ---- Names ----

  // An enumeration, object or alternate: "BlockdevOptions".
  const std::string& name(const Type& type) const { return names_.at(&type); }
  // Any type, as a member's is written: "std::vector<std::string>", "BlockdevOptions".
  std::string type(const Type& type) const;
  // "kAbsolutePaths".
  const std::string& enumerator(const Type& type, std::string_view value) const;
  // The module that a definition belongs to, as an identifier: "block_core". No two files share
  // one.
  const std::string& module(const SourceFile* file) const { return modules_.at(file); }
  // The class of a module's commands: "BlockCoreCommands".
  const std::string& handler_class(const SourceFile* file) const { return classes_.at(file); }
  // The handler's method: "blockdev_add". No two commands share one.
  const std::string& method(const Command& command) const { return methods_.at(&command); }
  // The struct of an event: "BlockExportDeletedEvent".
  const std::string& event(const Event& event) const { return events_.at(&event); }

  // ---- Types ----

  // Enumerations, objects and alternates in the schema's order, without what the language builds in
  // and without arrays.
  const std::vector<const Type*>& types() const { return types_; }
  // Objects and alternates, each behind whatever it holds by value.
  const std::vector<const Type*>& definition_order() const { return order_; }
  // Whether a member or branch of `owner` with type `held` has to be on the heap, since a value of
  // that type contains `owner` again.
  bool needs_box(const Type& owner, const Type& held) const;
  // Whether a value of this type can hold a member marked `secret`, at any depth.
  bool holds_secret(const Type& type) const { return secret_.contains(&type); }

 private:
  void name_types(const Schema& schema);
  void name_modules(const Schema& schema);
  void name_commands_and_events(const Schema& schema);
  void find_cycles();
  void sort_definitions();
  void find_secrets(const Schema& schema);
  // `wanted`, or `wanted` with as many '_' behind it as it takes; it is taken from then on.
  std::string unique(std::string wanted);

  std::vector<const Type*> types_;
  std::vector<const Type*> order_;
  std::set<std::string, std::less<>> taken_;  // names of namespace firn::api
  std::map<const Type*, std::string> names_;
  std::map<const Type*, std::map<std::string, std::string, std::less<>>> enumerators_;
  std::map<const SourceFile*, std::string> modules_;
  std::map<const SourceFile*, std::string> classes_;
  std::map<const Command*, std::string> methods_;
  std::map<const Event*, std::string> events_;
  std::map<const Type*, uint32_t> cycles_;  // types with the same number hold each other
  std::set<const Type*> secret_;
};

// The types that stand inside a value of an object, not behind a box or a vector. An alternate
// keeps its objects in boxes.
std::vector<const Type*> held_by_value(const Type& type);

}  // namespace firn::qapi
