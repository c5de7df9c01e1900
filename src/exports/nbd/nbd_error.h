// The one table from errors to NBD's error values.
#pragma once

#include "base/error.h"
#include "exports/nbd/nbd_format.h"

namespace firn::nbd {

// What a client is told of `error`. Source: doc/proto.md, "Error values". Never kNone.
WireError wire_error_of(const base::Error& error);

}  // namespace firn::nbd
