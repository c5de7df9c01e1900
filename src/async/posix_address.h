// Socket addresses as the kernel wants them, and sockets that listen on them. These calls block
// (for a name server, or a file system) and run on workers.
#pragma once

#include <sys/socket.h>

#include <string>
#include <vector>

#include "async/posix_network.h"
#include "async/socket.h"
#include "base/result.h"

namespace firn::async {

struct KernelAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

// kInvalidArgument if the path is too long for a socket's.
base::Result<KernelAddress> unix_address(const UnixAddress& address);
// What the name stands for, at least one. `passive`: to listen on.
base::Result<std::vector<KernelAddress>> resolve(const InetAddress& address, bool passive);

// "unix:/run/x.sock" or "127.0.0.1:53422".
std::string name_of(const KernelAddress& address);
// The address that a socket has, or that its peer has.
base::Result<SocketAddress> address_of(const KernelAddress& address);
base::Result<KernelAddress> local_address(int fd);

base::Result<PosixListener::Options> listen_unix(SocketAddress address, int backlog);
base::Result<PosixListener::Options> listen_inet(SocketAddress address, int backlog);

}  // namespace firn::async
