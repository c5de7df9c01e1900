// The command line's option syntax: key=value,key.sub=value,list.0=value.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/json.h"
#include "base/result.h"

namespace firn::api {

// A tree of objects, lists and strings out of `text`; decode it with InputMode::kKeyval. A comma in
// a value is written twice. Fragments of digits make lists, whose indexes must have no gap. Where a
// key stands twice, the last value counts. With `implied_key`, the first option may be its bare
// value
// ("file,node-name=x"). Rules and error texts are those of QEMU's util/keyval.c.
base::Result<base::JsonValue> parse_keyval(std::string_view text,
                                           std::string_view implied_key = {});

// An option argument in either of its syntaxes: JSON if it starts with `{`, else key=value. The
// mode to decode the value with goes to `mode`.
enum class InputMode : uint8_t;
base::Result<base::JsonValue> parse_option(std::string_view text, std::string_view implied_key,
                                           InputMode& mode);

}  // namespace firn::api
