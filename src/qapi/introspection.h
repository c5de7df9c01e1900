// What query-qmp-schema answers: the schema as clients see it, with QEMU's masked type names.
#pragma once

#include "base/json.h"
#include "qapi/schema.h"

namespace firn::qapi {

// A list of SchemaInfo objects: commands and events in the schema's order, then the types that they
// use. Built-in types have their names (all integers are "int"), lists are "[NAME]", all other
// types are numbers. What no command and no event uses is left out.
base::JsonValue introspect(const Schema& schema);

}  // namespace firn::qapi
