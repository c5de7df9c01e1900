// From the schema's socket addresses to the loops'.
#pragma once

#include <functional>
#include <string_view>

#include "api/types.h"
#include "async/socket.h"
#include "base/result.h"

namespace firn::daemon {

// The descriptor of the socket that an address of type `fd` names; it belongs to the caller.
using DescriptorLookup = std::function<base::Result<int>(std::string_view)>;

// Every member is honoured or refused by its name.
base::Result<async::SocketAddress> socket_address(const api::SocketAddress& address,
                                                  const DescriptorLookup& fds);
base::Result<async::SocketAddress> socket_address(const api::SocketAddressLegacy& address,
                                                  const DescriptorLookup& fds);

}  // namespace firn::daemon
