// From the schema's socket addresses to the loops'.
#pragma once

#include "api/types.h"
#include "async/socket.h"
#include "base/result.h"

namespace firn::daemon {

// Every member is honoured or refused by its name.
base::Result<async::SocketAddress> socket_address(const api::SocketAddress& address);
base::Result<async::SocketAddress> socket_address(const api::SocketAddressLegacy& address);

}  // namespace firn::daemon
