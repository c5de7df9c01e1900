// The way back from what a character device's text means to the schema's types, for who has a text
// and speaks QMP.
#include <boost/json/object.hpp>
#include <utility>

#include "api/codec.h"
#include "api/encoder.h"
#include "daemon/chardev_options.h"

namespace firn::daemon {
namespace {

using base::Result;

api::SocketAddressLegacy address_of(const async::SocketAddress& from, const std::string& fd) {
  api::SocketAddressLegacy address;
  switch (from.kind) {
    case async::SocketAddress::Kind::kUnix: {
      api::UnixSocketAddressWrapper own;
      own.data.path = from.local.path;
      if (from.local.abstract) {
        own.data.abstract = true;
        own.data.tight = from.local.tight;
      }
      address.type = api::SocketAddressType::kUnix;
      address.u = std::move(own);
      break;
    }
    case async::SocketAddress::Kind::kInet: {
      api::InetSocketAddressWrapper own;
      own.data.host = from.inet.host;
      own.data.port = from.inet.port;
      own.data.ipv4 = from.inet.ipv4;
      own.data.ipv6 = from.inet.ipv6;
      address.type = api::SocketAddressType::kInet;
      address.u = std::move(own);
      break;
    }
    case async::SocketAddress::Kind::kFd: {
      api::StringWrapper own;
      own.data.str = fd;
      address.type = api::SocketAddressType::kFd;
      address.u = std::move(own);
      break;
    }
  }
  return address;
}

// An overload for each kind of device.
struct ToBackend {
  const std::string& fd;  // the name that was given for a descriptor

  api::ChardevBackend operator()(const chardev::NullSpec&) const {
    return {.type = api::ChardevBackendKind::kNull, .u = api::ChardevCommonWrapper()};
  }
  api::ChardevBackend operator()(const chardev::PtySpec&) const {
    return {.type = api::ChardevBackendKind::kPty, .u = api::ChardevCommonWrapper()};
  }
  api::ChardevBackend operator()(const chardev::SocketSpec& spec) const {
    api::ChardevSocketWrapper own;
    own.data.addr = address_of(spec.address, fd);
    own.data.server = spec.server;
    if (spec.server) own.data.wait = spec.wait;
    if (spec.telnet) own.data.telnet = true;
    if (spec.reconnect.count() != 0) own.data.reconnect = spec.reconnect.count();
    return {.type = api::ChardevBackendKind::kSocket, .u = std::move(own)};
  }
  api::ChardevBackend operator()(const chardev::FileSpec& spec) const {
    api::ChardevFileWrapper own;
    own.data.out = spec.out;
    own.data.in = spec.in;
    own.data.append = spec.append;
    return {.type = api::ChardevBackendKind::kFile, .u = std::move(own)};
  }
  api::ChardevBackend operator()(const chardev::PipeSpec& spec) const {
    api::ChardevHostdevWrapper own;
    own.data.device = spec.path;
    return {.type = api::ChardevBackendKind::kPipe, .u = std::move(own)};
  }
  api::ChardevBackend operator()(const chardev::StdioSpec& spec) const {
    api::ChardevStdioWrapper own;
    own.data.signal = spec.signal;
    return {.type = api::ChardevBackendKind::kStdio, .u = std::move(own)};
  }
  api::ChardevBackend operator()(const chardev::RingSpec& spec) const {
    api::ChardevRingbufWrapper own;
    own.data.size = static_cast<int64_t>(spec.size_bytes);
    return {.type = spec.is_memory ? api::ChardevBackendKind::kMemory
                                   : api::ChardevBackendKind::kRingbuf,
            .u = std::move(own)};
  }
};

}  // namespace

Result<boost::json::object> chardev_arguments(std::string_view text) {
  std::string fd;
  const DescriptorLookup remember = [&fd](std::string_view name) -> Result<int> {
    fd = name;
    return -1;
  };
  const ChardevOption option = TRY(parse_chardev(text, remember));
  api::ChardevAddArgs args;
  args.id = option.id;
  args.backend = std::visit(ToBackend{fd}, option.spec);
  return std::move(api::encode(args).as_object());
}

}  // namespace firn::daemon
