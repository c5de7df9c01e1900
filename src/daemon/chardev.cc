#include "daemon/chardev.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <utility>

#include "async/loop.h"
#include "base/log.h"
#include "block/registry.h"

namespace firn::daemon {
namespace {

using base::ErrorKind;
using base::fail;
using base::Result;

using OptionMap = std::map<std::string, std::string, std::less<>>;

// What QEMU has and we have not.
constexpr auto kUnsupported = std::to_array<std::string_view>(
    {"logfile", "logappend", "mux", "reconnect", "telnet", "tn3270", "websocket", "tls-creds",
     "tls-authz", "to", "signal", "delay"});
constexpr auto kBackends = std::to_array<std::string_view>(
    {"null", "udp", "msmouse", "vc", "ringbuf", "file", "pipe", "pty", "serial", "parallel",
     "braille", "testdev", "console", "wctablet", "chardev"});

// A comma in a value is written twice.
std::string take_item(std::string_view& rest) {
  std::string item;
  while (!rest.empty()) {
    char c = rest.front();
    rest.remove_prefix(1);
    if (c == ',') {
      if (!rest.starts_with(',')) break;
      rest.remove_prefix(1);
    }
    item += c;
  }
  return item;
}

OptionMap split_options(std::string_view text) {
  OptionMap options;
  bool first = true;
  while (!text.empty()) {
    std::string item = take_item(text);
    size_t equals = item.find('=');
    if (equals != std::string::npos) {
      options[item.substr(0, equals)] = item.substr(equals + 1);
    } else if (first) {
      options["backend"] = item;
    } else if (item.starts_with("no") && item != "nodelay") {
      options[item.substr(2)] = "off";
    } else {
      options[item] = "on";
    }
    first = false;
  }
  return options;
}

std::optional<std::string> take(OptionMap& options, std::string_view name) {
  auto found = options.find(name);
  if (found == options.end()) return std::nullopt;
  std::string value = std::move(found->second);
  options.erase(found);
  return value;
}

Result<bool> take_bool(OptionMap& options, std::string_view name, bool otherwise) {
  auto value = take(options, name);
  if (!value) return otherwise;
  if (*value == "on" || *value == "yes" || *value == "true" || *value == "y") return true;
  if (*value == "off" || *value == "no" || *value == "false" || *value == "n") return false;
  return fail(ErrorKind::kInvalidArgument,
              fmt::format("Parameter '{}' expects 'on' or 'off'", name));
}

Result<int> parse_fd(const std::string& text) {
  int fd = -1;
  auto parsed = std::from_chars(text.data(), text.data() + text.size(), fd);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size() || fd < 0) {
    return fail(ErrorKind::kInvalidArgument, fmt::format("Unable to parse FD number {}", text));
  }
  return fd;
}

Result<async::SocketAddress> take_unix(OptionMap& options, std::string path) {
  auto address = async::SocketAddress::of_unix(std::move(path));
  address.local.abstract = TRY(take_bool(options, "abstract", false));
  address.local.tight = TRY(take_bool(options, "tight", true));
  return address;
}

Result<async::SocketAddress> take_inet(OptionMap& options, std::optional<std::string> host,
                                       std::optional<std::string> port) {
  if (!port) return fail(ErrorKind::kInvalidArgument, "Parameter 'port' is missing");
  auto address = async::SocketAddress::of_inet(host.value_or(""), *port);
  // Naming one family leaves the other out, as in QEMU.
  bool has_ipv4 = options.contains("ipv4");
  bool has_ipv6 = options.contains("ipv6");
  bool ipv4 = TRY(take_bool(options, "ipv4", false));
  bool ipv6 = TRY(take_bool(options, "ipv6", false));
  address.inet.ipv4 = has_ipv4 ? ipv4 : !ipv6;
  address.inet.ipv6 = has_ipv6 ? ipv6 : !ipv4;
  if (!address.inet.ipv4 && !address.inet.ipv6) {
    return fail(ErrorKind::kInvalidArgument, "Cannot disable IPv4 and IPv6 at same time");
  }
  TRY(take_bool(options, "nodelay", true));  // always so here
  return address;
}

Result<> take_socket(ChardevSpec& spec, OptionMap& options) {
  bool server = TRY(take_bool(options, "server", false));
  spec.kind = server ? ChardevSpec::Kind::kListen : ChardevSpec::Kind::kConnect;
  if (!server && options.contains("wait")) {
    return fail(ErrorKind::kInvalidArgument,
                "'wait' option is incompatible with "
                "socket in client connect mode");
  }
  spec.wait = TRY(take_bool(options, "wait", true));
  auto path = take(options, "path");
  auto host = take(options, "host");
  auto port = take(options, "port");
  auto fd = take(options, "fd");
  int kinds = int(path.has_value()) + int(host || port) + int(fd.has_value());
  if (kinds != 1) {
    return fail(ErrorKind::kInvalidArgument,
                "one of 'path', 'host' with 'port', and 'fd' must be given");
  }
  if (path) {
    spec.address = TRY(take_unix(options, *std::move(path)));
  } else if (fd) {
    spec.fd = TRY(parse_fd(*fd));
  } else {
    spec.address = TRY(take_inet(options, std::move(host), std::move(port)));
  }
  return {};
}

Result<> check_rest(const OptionMap& options) {
  for (const auto& [name, value] : options) {
    if (std::ranges::find(kUnsupported, name) != kUnsupported.end()) {
      return fail(ErrorKind::kUnsupported,
                  fmt::format("Parameter '{}' is not supported by firn", name));
    }
    return fail(ErrorKind::kInvalidArgument, fmt::format("Invalid parameter '{}'", name));
  }
  return {};
}

Result<std::unique_ptr<async::Listener>> adopt_or_fail(const ChardevSpec& spec) {
  return async::Loop::current().network().adopt_listener(*spec.fd);
}

// Ends a wait for the first client.
struct CloseOnCancel : async::CancelWaiter {
  CloseOnCancel(async::CancelToken token, async::Listener& to_close)
      : CancelWaiter(
            token,
            [](CancelWaiter& waiter) { static_cast<CloseOnCancel&>(waiter).listener.close(); }),
        listener(to_close) {}
  async::Listener& listener;
};

async::Task<Result<>> start_listening(Chardev& chardev, const ChardevSpec& spec,
                                      async::CancelToken cancel) {
  auto& network = async::Loop::current().network();
  if (spec.fd) {
    chardev.listener = CO_TRY(adopt_or_fail(spec));
  } else {
    chardev.listener = CO_TRY(co_await network.listen(spec.address));
  }
  if (!spec.wait) co_return Result<>();
  base::log_info(fmt::format("waiting for a client of chardev '{}' on {}", spec.id,
                             chardev.listener->address().to_string()));
  CloseOnCancel close_on_cancel(cancel, *chardev.listener);
  if (cancel.cancelled()) co_return fail(ErrorKind::kCancelled, "interrupted");
  chardev.stream = CO_TRY(co_await chardev.listener->accept());
  co_return Result<>();
}

}  // namespace

Result<ChardevSpec> parse_chardev(std::string_view text) {
  OptionMap options = split_options(text);
  ChardevSpec spec;
  auto id = take(options, "id");
  if (!id) return fail(ErrorKind::kInvalidArgument, "chardev: no id specified");
  spec.id = *std::move(id);
  if (!block::is_identifier(spec.id)) {
    return fail(ErrorKind::kInvalidArgument, "Parameter 'id' expects an identifier");
  }
  auto backend = take(options, "backend");
  if (!backend) {
    return fail(ErrorKind::kInvalidArgument,
                fmt::format("chardev: \"{}\" missing backend", spec.id));
  }
  if (*backend == "unix" || *backend == "tcp") backend = "socket";
  if (*backend == "socket") {
    TRY(take_socket(spec, options));
  } else if (std::ranges::find(kBackends, *backend) != kBackends.end()) {
    return fail(ErrorKind::kUnsupported,
                fmt::format("chardev backend '{}' is not supported by firn; use socket or stdio",
                            *backend));
  } else if (*backend != "stdio") {
    return fail(ErrorKind::kInvalidArgument,
                fmt::format("'{}' is not a valid char driver name", *backend));
  }
  TRY(check_rest(options));
  return spec;
}

async::Task<Result<std::unique_ptr<Chardev>>> open_chardev(ChardevSpec spec,
                                                           async::CancelToken cancel) {
  auto chardev = std::make_unique<Chardev>();
  chardev->id = spec.id;
  chardev->kind = spec.kind;
  auto& network = async::Loop::current().network();
  switch (spec.kind) {
    case ChardevSpec::Kind::kListen:
      CO_TRY(co_await start_listening(*chardev, spec, cancel));
      break;
    case ChardevSpec::Kind::kConnect:
      if (spec.fd) {
        chardev->stream =
            CO_TRY(network.adopt_fds(*spec.fd, *spec.fd, fmt::format("fd:{}", *spec.fd)));
      } else {
        chardev->stream = CO_TRY(co_await network.connect(spec.address));
      }
      break;
    case ChardevSpec::Kind::kStdio:
      chardev->stream = CO_TRY(network.adopt_fds(STDIN_FILENO, STDOUT_FILENO, "stdio"));
      break;
  }
  co_return chardev;
}

}  // namespace firn::daemon
