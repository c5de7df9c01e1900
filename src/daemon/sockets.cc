#include "daemon/sockets.h"

#include <variant>

#include "daemon/unsupported.h"

namespace firn::daemon {
namespace {

using base::ErrorKind;
using base::fail;
using base::Result;

// An overload for each kind of address, with and without its wrapper.

Result<async::SocketAddress> convert(std::monostate, const DescriptorLookup&) {
  return fail(ErrorKind::kInvalidArgument, "Parameter 'type' is missing");
}

Result<async::SocketAddress> convert(const api::InetSocketAddress& inet, const DescriptorLookup&) {
  if (inet.to) return unsupported("to", "name one port, or 0 for any");
  if (inet.numeric.value_or(false)) return unsupported("numeric", "names are looked up");
  if (inet.keep_alive.value_or(false)) return unsupported("keep-alive", "it is left to the system");
  if (inet.mptcp.value_or(false)) return unsupported("mptcp", "connections have one path");
  auto address = async::SocketAddress::of_inet(inet.host, inet.port);
  // Naming one family leaves the other out.
  address.inet.ipv4 = inet.ipv4.value_or(!inet.ipv6.value_or(false));
  address.inet.ipv6 = inet.ipv6.value_or(!inet.ipv4.value_or(false));
  if (!address.inet.ipv4 && !address.inet.ipv6) {
    return fail(ErrorKind::kInvalidArgument, "Cannot disable IPv4 and IPv6 at same time");
  }
  return address;
}

Result<async::SocketAddress> convert(const api::UnixSocketAddress& unix_address,
                                     const DescriptorLookup&) {
  auto address = async::SocketAddress::of_unix(unix_address.path);
  address.local.abstract = unix_address.abstract.value_or(false);
  address.local.tight = unix_address.tight.value_or(true);
  return address;
}

Result<async::SocketAddress> convert(const api::VsockSocketAddress&, const DescriptorLookup&) {
  return unsupported("type", "sockets of type vsock are not served; use inet or unix");
}

Result<async::SocketAddress> convert(const api::String& name, const DescriptorLookup& fds) {
  return async::SocketAddress::of_fd(TRY(fds(name.str)));
}

template <typename Wrapper>
  requires requires(const Wrapper& wrapper) { wrapper.data; }
Result<async::SocketAddress> convert(const Wrapper& wrapper, const DescriptorLookup& fds) {
  return convert(wrapper.data, fds);
}

}  // namespace

Result<async::SocketAddress> socket_address(const api::SocketAddress& address,
                                            const DescriptorLookup& fds) {
  return std::visit([&](const auto& own) { return convert(own, fds); }, address.u);
}

Result<async::SocketAddress> socket_address(const api::SocketAddressLegacy& address,
                                            const DescriptorLookup& fds) {
  return std::visit([&](const auto& own) { return convert(own, fds); }, address.u);
}

}  // namespace firn::daemon
