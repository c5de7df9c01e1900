// What query-qmp-schema answers: the schema as clients see it, with QEMU's masked type names.
#pragma once

#include <cstdint>

#include "base/json.h"
#include "qapi/schema.h"

namespace firn::qapi {

enum class IntegerNames : uint8_t {
  kMasked,  // all of them are "int", as QEMU answers
  kExact,   // "int8" to "uint64"; `int` is "int64" and `size` is "uint64", as on the wire
};

// A list of SchemaInfo objects: commands and events in the schema's order, then the types that they
// use. Built-in types have their names (all integers are "int", unless told else), lists are
// "[NAME]", all other types are numbers. What no command and no event uses is left out.
base::JsonValue introspect(const Schema& schema, IntegerNames integers = IntegerNames::kMasked);

}  // namespace firn::qapi
