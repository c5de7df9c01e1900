// The back end json-schema: a schema's messages in JSON Schema, draft 2020-12
// (https://json-schema.org/draft/2020-12/json-schema-core, -validation).
#pragma once

#include "base/json.h"
#include "qapi/schema.h"

namespace firn::qapi {

// One document. `$defs` has
//   "NAME"           each type of the schema
//   "command:NAME"   a request of this command, with `arguments` and `id`
//   "arguments:NAME" what goes in `arguments`
//   "return:NAME"    what comes back in `return`
//   "reply:NAME"     the whole reply: `return` of the command's kind, or an error
//   "event:NAME"     the whole message
//   "data:NAME"      what it has in `data`
//   "request", "reply", "event", "greeting", "message"
// and the top level takes any line that is sent either way.
base::JsonValue json_schema(const Schema& schema);

}  // namespace firn::qapi
