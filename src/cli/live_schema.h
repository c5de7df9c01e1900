// LiveSchema: what a server's query-qmp-schema says, ready to be asked about commands, their
// arguments and types. Works with any QMP server that has introspection.
//
// Introspection has no documentation, and all integers are one type.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace firn::cli {

enum class TypeKind {
  kString,
  kInteger,
  kNumber,
  kBoolean,
  kNull,
  kAny,
  kEnum,
  kArray,
  kObject,     // structs and unions
  kAlternate,  // one of several, told by what the JSON is
};

struct LiveType;

struct LiveMember {
  std::string name;
  const LiveType* type = nullptr;
  bool optional = false;
  std::vector<std::string> features;
};

struct LiveValue {  // of an enumeration
  std::string name;
  std::vector<std::string> features;
};

struct LiveVariant {
  std::string value;                  // of the tag
  const LiveType* members = nullptr;  // an object
};

// Types may contain themselves.
struct LiveType {
  TypeKind kind = TypeKind::kAny;
  std::vector<LiveValue> values;              // kEnum
  const LiveType* element = nullptr;          // kArray
  std::vector<LiveMember> members;            // kObject: those that all branches share
  std::string tag;                            // kObject: the member that selects a branch; or empty
  std::vector<LiveVariant> variants;          // kObject
  std::vector<const LiveType*> alternatives;  // kAlternate
};

struct LiveCommand {
  std::string name;
  const LiveType* arguments = nullptr;  // an object
  const LiveType* returns = nullptr;
  std::vector<std::string> features;
  bool allow_oob = false;
  bool takes_more = false;  // arguments that no schema tells: device_add's are the device's
};

struct LiveEvent {
  std::string name;
  const LiveType* data = nullptr;
  std::vector<std::string> features;
};

class LiveSchema final {
 public:
  // Reads what query-qmp-schema returned. Errors say what of it makes no sense.
  static base::Result<LiveSchema> read(const base::JsonValue& entries);

  // By name; nullptr if there is none. Pointers are good as long as the schema.
  const LiveCommand* command(std::string_view name) const;
  const LiveEvent* event(std::string_view name) const;
  const std::map<std::string, LiveCommand, std::less<>>& commands() const { return commands_; }
  const std::map<std::string, LiveEvent, std::less<>>& events() const { return events_; }

 private:
  std::map<std::string, std::unique_ptr<LiveType>, std::less<>> types_;
  std::map<std::string, LiveCommand, std::less<>> commands_;
  std::map<std::string, LiveEvent, std::less<>> events_;
};

// The members of an object whose tag has the value `tag`: the shared ones, then the branch's. With
// an empty or unknown `tag`: the shared ones.
std::vector<const LiveMember*> members_of(const LiveType& object, std::string_view tag);

// The members of all branches together; one that several branches have comes once for each.
std::vector<const LiveMember*> members_of_all_branches(const LiveType& object);

// The object among an alternate's types, or the type itself if it is an object; else nullptr.
const LiveType* as_object(const LiveType& type);
// The same for an array.
const LiveType* as_array(const LiveType& type);

bool has_feature(const std::vector<std::string>& features, std::string_view name);

// Names in `names` that `wrong` may have been meant to be, the nearest first, three at most.
std::vector<std::string> similar_names(std::string_view wrong,
                                       const std::vector<std::string>& names);

// "Did you mean 'x'?", "Did you mean 'x' or 'y'?"; empty if nothing is near.
std::string did_you_mean(std::string_view wrong, const std::vector<std::string>& names);

}  // namespace firn::cli
