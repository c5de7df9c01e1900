// A schema as a client meets it: what query-qmp-schema tells, with the references resolved. It is
// read from a server's answer, or made from a schema by way of introspect().
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "qapi/check.h"

namespace firn::qapi {

using FeatureNames = std::set<std::string, std::less<>>;

enum class WireKind : uint8_t {
  kAny,
  kNull,
  kBool,
  kInteger,
  kNumber,
  kString,
  kEnum,
  kArray,
  kObject,
  kAlternate
};

struct WireType;

struct WireMember {
  std::string name;
  const WireType* type = nullptr;
  bool optional = false;
  FeatureNames features;
};

struct WireValue {
  std::string name;
  FeatureNames features;
};

struct WireType {
  WireKind kind = WireKind::kObject;
  std::string name;  // as introspection has it; tells nothing but for built-in types
  FeatureNames features;
  std::vector<WireValue> values;      // kEnum
  const WireType* element = nullptr;  // kArray
  std::vector<WireMember> members;    // kObject: without the branches'
  std::string tag;                    // kObject: empty unless it is a union
  std::map<std::string, const WireType*, std::less<>> variants;  // by the tag's value
  std::vector<const WireType*> branches;                         // kAlternate

  const WireMember* member(std::string_view member_name) const;
};

struct WireCommand {
  FeatureNames features;
  const WireType* arguments = nullptr;  // always an object
  const WireType* returns = nullptr;    // never null
  bool allow_oob = false;
  std::optional<bool> replies;  // when it succeeds; a server doesn't tell
};

struct WireEvent {
  FeatureNames features;
  const WireType* data = nullptr;  // always an object
};

struct WireSchema {
  std::map<std::string, WireCommand, std::less<>> commands;
  std::map<std::string, WireEvent, std::less<>> events;
  std::vector<std::unique_ptr<WireType>> types;
};

// `entries` is the list that query-qmp-schema returns. An entry that lacks what it needs, or names
// a type that is not in the list, is an error of kind kInvalidArgument.
base::Result<WireSchema> read_introspection(const base::JsonValue& entries);

// Reads a schema from a file of either kind:
// - a schema in the schema language, compiled with `options`; what is wrong with it goes to
//   `diagnostics`, and the error returned says only that there is something;
// - JSON with the answer to query-qmp-schema: the bare list, {"return": [...]}, or a whole
//   conversation with a server in which such an answer stands.
// From a schema, integers keep their width, and commands whether they reply; a server shows
// neither.
base::Result<WireSchema> load_wire_schema(const std::string& path, const CheckOptions& options,
                                          Diagnostics& diagnostics, SourceManager& sources);

}  // namespace firn::qapi
