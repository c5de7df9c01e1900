#include "async/posix_address.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <memory>

namespace firn::async {
namespace {

constexpr size_t kPathOffset = offsetof(sockaddr_un, sun_path);

std::unexpected<base::Error> socket_error(int problem, std::string_view text) {
  return base::fail(base::Error::from_errno(problem, text));
}

// Descriptors that are closed unless they are taken.
struct Descriptors {
  std::vector<int> fds;
  ~Descriptors() {
    for (const int fd : fds) ::close(fd);
  }
  std::vector<int> take() { return std::exchange(fds, {}); }
};

int new_socket(int family) {
  return ::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

// True if the file at `address` is a socket on which nobody listens any more.
bool is_stale(const KernelAddress& address, const std::string& path) {
  struct stat stat{};
  if (::lstat(path.c_str(), &stat) != 0 || !S_ISSOCK(stat.st_mode)) return false;
  const int fd = new_socket(AF_UNIX);
  if (fd < 0) return false;
  const bool refused = ::connect(fd, address.get(), address.length) != 0 && errno == ECONNREFUSED;
  ::close(fd);
  return refused;
}

int bind_unix(int fd, const KernelAddress& address, const UnixAddress& name) {
  if (::bind(fd, address.get(), address.length) == 0) return 0;
  if (errno != EADDRINUSE || name.abstract) return errno;
  if (!is_stale(address, name.path)) return EADDRINUSE;
  if (::unlink(name.path.c_str()) != 0 && errno != ENOENT) return errno;
  return ::bind(fd, address.get(), address.length) == 0 ? 0 : errno;
}

std::unexpected<base::Error> bind_error(int problem, const SocketAddress& address) {
  const bool is_file = address.kind == SocketAddress::Kind::kUnix && !address.local.abstract;
  base::Error error = base::Error::from_errno(
      problem, fmt::format("Failed to bind socket to {}",
                           is_file ? address.local.path : address.to_string()));
  if (problem != EADDRINUSE) return base::fail(std::move(error));
  error = std::move(error).with_kind(base::ErrorKind::kBusy);
  return base::fail(std::move(error).with_hint(
      is_file
          ? "Something listens on this socket, or the file is not a socket. Stop it, remove the "
            "file, or choose another path."
          : "Something listens on this address. Stop it or choose another address."));
}

int listen_on(const KernelAddress& address, int backlog, int& problem) {
  const int fd = new_socket(address.get()->sa_family);
  if (fd < 0) {
    problem = errno;
    return -1;
  }
  const int on = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  // The same port of IPv4 has a socket of its own.
  if (address.get()->sa_family == AF_INET6) {
    ::setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  }
  if (::bind(fd, address.get(), address.length) == 0 && ::listen(fd, backlog) == 0) return fd;
  problem = errno;
  ::close(fd);
  return -1;
}

void set_port(KernelAddress& address, in_port_t port) {
  if (address.get()->sa_family == AF_INET6) {
    reinterpret_cast<sockaddr_in6*>(&address.storage)->sin6_port = port;
  } else {
    reinterpret_cast<sockaddr_in*>(&address.storage)->sin_port = port;
  }
}

in_port_t port_of(const KernelAddress& address) {
  return address.get()->sa_family == AF_INET6
             ? reinterpret_cast<const sockaddr_in6*>(&address.storage)->sin6_port
             : reinterpret_cast<const sockaddr_in*>(&address.storage)->sin_port;
}

}  // namespace

base::Result<KernelAddress> unix_address(const UnixAddress& address) {
  KernelAddress result;
  auto* const raw = reinterpret_cast<sockaddr_un*>(&result.storage);
  raw->sun_family = AF_UNIX;
  // Both kinds need one byte besides the name: a zero before it, or after.
  if (address.path.size() + 1 > sizeof raw->sun_path) {
    return base::fail(
        base::Error(base::ErrorKind::kInvalidArgument,
                    fmt::format("UNIX socket path '{}' is too long", address.path))
            .with_hint(fmt::format("it must be less than {} bytes", sizeof raw->sun_path)));
  }
  if (address.path.empty() && !address.abstract) {
    return base::fail(base::ErrorKind::kInvalidArgument, "UNIX socket path is empty");
  }
  std::memcpy(raw->sun_path + (address.abstract ? 1 : 0), address.path.data(), address.path.size());
  const bool padded = address.abstract && !address.tight;
  result.length =
      static_cast<socklen_t>(padded ? sizeof *raw : kPathOffset + address.path.size() + 1);
  return result;
}

base::Result<std::vector<KernelAddress>> resolve(const InetAddress& address, bool passive) {
  addrinfo wanted{};
  wanted.ai_socktype = SOCK_STREAM;
  wanted.ai_family = address.ipv4 == address.ipv6 ? AF_UNSPEC : address.ipv4 ? AF_INET : AF_INET6;
  wanted.ai_flags = (passive ? AI_PASSIVE : 0) | (address.host.empty() ? 0 : AI_ADDRCONFIG);
  addrinfo* list = nullptr;
  const char* host = address.host.empty() ? nullptr : address.host.c_str();
  int result = ::getaddrinfo(host, address.port.c_str(), &wanted, &list);
  if (result != 0 && (wanted.ai_flags & AI_ADDRCONFIG)) {
    // A machine whose only address is its loopback has none of a kind, by that flag.
    wanted.ai_flags &= ~AI_ADDRCONFIG;
    result = ::getaddrinfo(host, address.port.c_str(), &wanted, &list);
  }
  if (result != 0) {
    const char* why = result == EAI_SYSTEM ? std::strerror(errno) : ::gai_strerror(result);
    return base::fail(
        base::ErrorKind::kNotFound,
        fmt::format("address resolution failed for {}:{}: {}", address.host, address.port, why));
  }
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owned(list, ::freeaddrinfo);
  std::vector<KernelAddress> addresses;
  for (const addrinfo* each = list; each != nullptr; each = each->ai_next) {
    KernelAddress& added = addresses.emplace_back();
    std::memcpy(&added.storage, each->ai_addr, each->ai_addrlen);
    added.length = each->ai_addrlen;
  }
  return addresses;
}

base::Result<SocketAddress> address_of(const KernelAddress& address) {
  if (address.get()->sa_family == AF_UNIX) {
    const auto* raw = reinterpret_cast<const sockaddr_un*>(&address.storage);
    const size_t length = address.length > kPathOffset ? address.length - kPathOffset : 0;
    SocketAddress result;
    if (length != 0 && raw->sun_path[0] == '\0') {
      result.local.abstract = true;
      result.local.path.assign(raw->sun_path + 1, length - 1);
    } else {
      result.local.path.assign(raw->sun_path, ::strnlen(raw->sun_path, length));
    }
    return result;
  }
  char host[NI_MAXHOST];
  char port[NI_MAXSERV];
  const int result = ::getnameinfo(address.get(), address.length, host, sizeof host, port,
                                   sizeof port, NI_NUMERICHOST | NI_NUMERICSERV);
  if (result != 0) {
    return base::fail(base::ErrorKind::kUnsupported,
                      fmt::format("Could not name a socket's address: {}", ::gai_strerror(result)));
  }
  return SocketAddress::of_inet(host, port);
}

std::string name_of(const KernelAddress& address) {
  const auto result = address_of(address);
  return result ? result->to_string() : "a socket";
}

base::Result<KernelAddress> local_address(int fd) {
  KernelAddress address;
  address.length = sizeof address.storage;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address.storage), &address.length) == 0) {
    return address;
  }
  return socket_error(errno, "Could not get a socket's address");
}

base::Result<PosixListener::Options> listen_unix(SocketAddress address, int backlog) {
  const KernelAddress raw = TRY(unix_address(address.local));
  Descriptors owned;
  const int fd = new_socket(AF_UNIX);
  if (fd < 0) return socket_error(errno, "Failed to create Unix socket");
  owned.fds.push_back(fd);
  const int problem = bind_unix(fd, raw, address.local);
  if (problem != 0) return bind_error(problem, address);

  PosixListener::Options options;
  struct stat stat{};
  if (!address.local.abstract && ::lstat(address.local.path.c_str(), &stat) == 0) {
    options.file_to_remove = address.local.path;
    options.file_device = stat.st_dev;
    options.file_inode = stat.st_ino;
  }
  if (::listen(fd, backlog) != 0) {
    const int listen_problem = errno;
    if (!options.file_to_remove.empty()) ::unlink(options.file_to_remove.c_str());
    return socket_error(listen_problem, fmt::format("Failed to listen on {}", address.to_string()));
  }
  options.address = std::move(address);
  options.fds = owned.take();
  return options;
}

base::Result<PosixListener::Options> listen_inet(SocketAddress address, int backlog) {
  std::vector<KernelAddress> addresses = TRY(resolve(address.inet, true));
  Descriptors owned;
  int problem = 0;
  // Port 0: the first socket's port is everyone's.
  in_port_t chosen = 0;
  for (KernelAddress& each : addresses) {
    if (port_of(each) == 0) set_port(each, chosen);
    int this_problem = 0;
    const int fd = listen_on(each, backlog, this_problem);
    if (fd < 0) {
      // A kind of address that this machine has not; the other kind may do.
      const bool absent = this_problem == EAFNOSUPPORT || this_problem == EADDRNOTAVAIL;
      if (!absent) return bind_error(this_problem, address);
      problem = this_problem;
      continue;
    }
    owned.fds.push_back(fd);
    if (chosen == 0) chosen = port_of(TRY(local_address(fd)));
  }
  if (owned.fds.empty()) return bind_error(problem, address);

  PosixListener::Options options;
  options.address = TRY(address_of(TRY(local_address(owned.fds.front()))));
  options.fds = owned.take();
  return options;
}

}  // namespace firn::async
