#include "daemon/chardev_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <optional>
#include <utility>

#include "base/log.h"
#include "base/units.h"
#include "block/registry.h"
#include "daemon/unsupported.h"

namespace firn::daemon {
namespace {

using base::Error;
using base::ErrorKind;
using base::fail;
using base::Result;
using chardev::Spec;

// One of QEMU's -chardev options. All kinds share one list: QEMU checks names and values by it
// before it looks at the kind.
struct Known {
  enum class Type : uint8_t { kText, kBool, kNumber, kSize };
  std::string_view name;
  Type type = Type::kText;
};
using Type = Known::Type;
constexpr auto kKnown = std::to_array<Known>({
    {"abstract", Type::kBool},
    {"append", Type::kBool},
    {"backend"},
    {"chardev"},
    {"clipboard", Type::kBool},
    {"cols", Type::kNumber},
    {"debug", Type::kNumber},
    {"delay", Type::kBool},
    {"fd"},
    {"height", Type::kNumber},
    {"host"},
    {"ipv4", Type::kBool},
    {"ipv6", Type::kBool},
    {"localaddr"},
    {"localport"},
    {"logappend", Type::kBool},
    {"logfile"},
    {"mouse", Type::kBool},
    {"mux", Type::kBool},
    {"name"},
    {"nodelay", Type::kBool},
    {"path"},
    {"port"},
    {"reconnect", Type::kNumber},
    {"rows", Type::kNumber},
    {"server", Type::kBool},
    {"signal", Type::kBool},
    {"size", Type::kSize},
    {"telnet", Type::kBool},
    {"tight", Type::kBool},
    {"tls-authz"},
    {"tls-creds"},
    {"tn3270", Type::kBool},
    {"to", Type::kNumber},
    {"wait", Type::kBool},
    {"websocket", Type::kBool},
    {"width", Type::kNumber},
});

const Known* find_known(std::string_view name) {
  const auto found = std::ranges::find(kKnown, name, &Known::name);
  return found == kKnown.end() ? nullptr : &*found;
}

std::optional<bool> read_bool(std::string_view text) {
  if (text == "on" || text == "yes" || text == "true" || text == "y") return true;
  if (text == "off" || text == "no" || text == "false" || text == "n") return false;
  return std::nullopt;
}

// Decimal, octal or hexadecimal, as strtoull takes it.
std::optional<uint64_t> read_number(std::string_view text) {
  int base = 10;
  if (text.starts_with("0x") || text.starts_with("0X")) {
    base = 16;
    text.remove_prefix(2);
  } else if (text.size() > 1 && text.front() == '0') {
    base = 8;
  }
  uint64_t number = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number, base);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) return std::nullopt;
  return number;
}

Result<> check_value(const Known& known, const std::string& value) {
  switch (known.type) {
    case Type::kText:
      return {};
    case Type::kBool:
      if (read_bool(value)) return {};
      return fail(ErrorKind::kInvalidArgument,
                  fmt::format("Parameter '{}' expects 'on' or 'off'", known.name));
    case Type::kNumber:
      if (read_number(value)) return {};
      return fail(ErrorKind::kInvalidArgument,
                  fmt::format("Parameter '{}' expects a number", known.name));
    case Type::kSize:
      if (base::parse_size(value)) return {};
      return fail(
          Error(ErrorKind::kInvalidArgument,
                fmt::format("Parameter '{}' expects a non-negative number below 2^64", known.name))
              .with_hint("Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, "
                         "peta-\nand exabytes, respectively."));
  }
  return {};
}

// The options of one --chardev, with values that fit their types.
class ChardevText {
 public:
  static Result<ChardevText> parse(std::string_view text);

  std::optional<std::string> text(std::string_view name) const {
    const auto found = values_.find(name);
    if (found == values_.end()) return std::nullopt;
    return found->second;
  }
  bool flag(std::string_view name, bool otherwise) const {
    const auto value = text(name);
    return value ? read_bool(*value).value_or(otherwise) : otherwise;
  }
  uint64_t number(std::string_view name) const {
    const auto value = text(name);
    return value ? read_number(*value).value_or(0) : 0;
  }
  bool has(std::string_view name) const { return values_.contains(name); }

 private:
  std::map<std::string, std::string, std::less<>> values_;
};

// A comma in a value is written twice.
std::string take_item(std::string_view& rest) {
  std::string item;
  while (!rest.empty()) {
    const char c = rest.front();
    rest.remove_prefix(1);
    if (c == ',') {
      if (!rest.starts_with(',')) break;
      rest.remove_prefix(1);
    }
    item += c;
  }
  return item;
}

struct Item {
  std::string name;
  std::string value;
};

// "server" is server=on, "nowait" is wait=off.
Item expand_short_form(const std::string& item) {
  const bool negated = item.starts_with("no") && item != "nodelay";
  Item full{.name = negated ? item.substr(2) : item, .value = negated ? "off" : "on"};
  base::log_warning(
      fmt::format("--chardev: short-form boolean option '{}' deprecated; please use {}={} instead",
                  item, full.name, full.value));
  return full;
}

Result<ChardevText> ChardevText::parse(std::string_view text) {
  ChardevText result;
  std::vector<Item> items;
  bool first = true;
  while (!text.empty()) {
    const std::string item = take_item(text);
    const size_t equals = item.find('=');
    if (equals != std::string::npos) {
      items.push_back({item.substr(0, equals), item.substr(equals + 1)});
    } else if (first) {
      items.push_back({"backend", item});
    } else {
      items.push_back(expand_short_form(item));
    }
    first = false;
  }
  // The first `id` counts, of everything else the last.
  const auto id = std::ranges::find(items, "id", &Item::name);
  if (id != items.end()) {
    if (!block::is_identifier(id->value)) {
      return fail(Error(ErrorKind::kInvalidArgument, "Parameter 'id' expects an identifier")
                      .with_hint("Identifiers consist of letters, digits, '-', '.', '_', starting "
                                 "with a letter."));
    }
    result.values_.emplace("id", id->value);
  }
  for (Item& item : items) {
    if (item.name == "id") continue;
    const Known* known = find_known(item.name);
    if (known == nullptr) {
      return fail(ErrorKind::kInvalidArgument, fmt::format("Invalid parameter '{}'", item.name));
    }
    TRY(check_value(*known, item.value));
    result.values_[std::move(item.name)] = std::move(item.value);
  }
  return result;
}

Result<async::SocketAddress> inet_address(const ChardevText& options, const std::string& host) {
  const auto port = options.text("port");
  if (!port) return fail(ErrorKind::kInvalidArgument, "chardev: socket: no port given");
  if (options.has("to")) return unsupported("to", "name one port, or 0 for any");
  auto address = async::SocketAddress::of_inet(host, *port);
  // Naming one family leaves the other out, as in QEMU.
  const bool ipv4 = options.flag("ipv4", false);
  const bool ipv6 = options.flag("ipv6", false);
  address.inet.ipv4 = options.has("ipv4") ? ipv4 : !ipv6;
  address.inet.ipv6 = options.has("ipv6") ? ipv6 : !ipv4;
  if (!address.inet.ipv4 && !address.inet.ipv6) {
    return fail(ErrorKind::kInvalidArgument, "Cannot disable IPv4 and IPv6 at same time");
  }
  return address;
}

Result<async::SocketAddress> take_address(const ChardevText& options, bool server,
                                          const DescriptorLookup& fds) {
  const auto path = options.text("path");
  const auto fd = options.text("fd");
  // A server may leave its host out: all addresses of this machine.
  const bool any_host = server && options.has("port") && !path && !fd;
  const auto host = any_host ? options.text("host").value_or("") : options.text("host");
  if (int{path.has_value()} + int{fd.has_value()} + int{host.has_value()} != 1) {
    return fail(ErrorKind::kInvalidArgument,
                "None or one of 'path', 'fd' or 'host' option required.");
  }
  if (path) {
    auto address = async::SocketAddress::of_unix(*path);
    address.local.abstract = options.flag("abstract", false);
    address.local.tight = options.flag("tight", true);
    return address;
  }
  if (fd) return async::SocketAddress::of_fd(TRY(fds(*fd)));
  return inet_address(options, *host);
}

// What both forms refuse of a socket.
Result<> check_socket(bool tls_creds, bool tls_authz, bool tn3270, bool websocket) {
  if (tls_creds) return unsupported("tls-creds", "character devices do not speak TLS");
  if (tls_authz && !tls_creds) {
    return fail(ErrorKind::kInvalidArgument, "'tls_authz' option requires 'tls_creds' option");
  }
  if (tn3270) return unsupported("tn3270", "use telnet, or neither");
  if (websocket) return unsupported("websocket", "clients speak plain TCP or telnet");
  return {};
}

Result<> check_roles(bool server, bool has_wait, bool has_reconnect) {
  if (server && has_reconnect) {
    return fail(ErrorKind::kInvalidArgument,
                "'reconnect' option is incompatible with socket in server listen mode");
  }
  if (!server && has_wait) {
    return fail(ErrorKind::kInvalidArgument,
                "'wait' option is incompatible with socket in client connect mode");
  }
  return {};
}

Result<std::chrono::seconds> reconnect_time(uint64_t seconds) {
  constexpr uint64_t kMost = uint64_t{1} << 31;
  if (seconds > kMost) {
    return fail(ErrorKind::kInvalidArgument,
                fmt::format("Parameter 'reconnect' expects a number of seconds up to {}", kMost));
  }
  return std::chrono::seconds(seconds);
}

Result<Spec> socket_from_text(const ChardevText& options, const DescriptorLookup& fds) {
  if (options.has("delay") && options.has("nodelay")) {
    return fail(ErrorKind::kInvalidArgument, "'delay' and 'nodelay' are mutually exclusive");
  }
  chardev::SocketSpec spec;
  spec.server = options.flag("server", false);
  spec.telnet = options.flag("telnet", false);
  spec.wait = spec.server && options.flag("wait", true);
  spec.reconnect = TRY(reconnect_time(options.number("reconnect")));
  TRY(check_roles(spec.server, options.has("wait"), spec.reconnect.count() != 0));
  TRY(check_socket(options.has("tls-creds"), options.has("tls-authz"),
                   options.flag("tn3270", false), options.flag("websocket", false)));
  spec.address = TRY(take_address(options, spec.server, fds));
  return spec;
}

Result<Spec> file_from_text(const ChardevText& options, const DescriptorLookup&) {
  const auto path = options.text("path");
  if (!path) return fail(ErrorKind::kInvalidArgument, "chardev: file: no filename given");
  return chardev::FileSpec{
      .out = *path, .in = std::nullopt, .append = options.flag("append", false)};
}

Result<Spec> pipe_from_text(const ChardevText& options, const DescriptorLookup&) {
  const auto path = options.text("path");
  if (!path) return fail(ErrorKind::kInvalidArgument, "chardev: pipe: no device path given");
  return chardev::PipeSpec{.path = *path};
}

Result<Spec> stdio_from_text(const ChardevText& options, const DescriptorLookup&) {
  return chardev::StdioSpec{.signal = options.flag("signal", true)};
}

Result<Spec> ring_from_text(const ChardevText& options, bool is_memory) {
  chardev::RingSpec spec{.is_memory = is_memory};
  if (const auto size = options.text("size")) spec.size_bytes = TRY(base::parse_size(*size));
  return spec;
}

struct Kind {
  std::string_view name;
  Result<Spec> (*from_text)(const ChardevText& options, const DescriptorLookup& fds);
};
using Lookup = DescriptorLookup;
constexpr auto kKinds = std::to_array<Kind>({
    {"file", file_from_text},
    {"memory", [](const ChardevText& o, const Lookup&) { return ring_from_text(o, true); }},
    {"null", [](const ChardevText&, const Lookup&) -> Result<Spec> { return chardev::NullSpec(); }},
    {"pipe", pipe_from_text},
    {"pty", [](const ChardevText&, const Lookup&) -> Result<Spec> { return chardev::PtySpec(); }},
    {"ringbuf", [](const ChardevText& o, const Lookup&) { return ring_from_text(o, false); }},
    {"socket", socket_from_text},
    {"stdio", stdio_from_text},
});

std::unexpected<Error> no_such_kind(std::string_view name) {
  return fail(ErrorKind::kInvalidArgument,
              fmt::format("'{}' is not a valid char driver name", name));
}

// From the schema -------------------------------------------------------------------------------

template <typename Options>
Result<> check_log(const Options& options) {
  if (options.logfile) return unsupported("logfile", "what a device sends is not kept");
  if (options.logappend.value_or(false)) return unsupported("logappend", "there is no log file");
  return {};
}

Result<Spec> convert(const api::ChardevSocketWrapper& wrapper, const Lookup& fds) {
  const api::ChardevSocket& from = wrapper.data;
  TRY(check_log(from));
  chardev::SocketSpec spec;
  spec.server = from.server.value_or(true);
  spec.wait = from.wait.value_or(false);
  spec.telnet = from.telnet.value_or(false);
  if (from.reconnect.value_or(0) < 0) {
    return fail(ErrorKind::kInvalidArgument, "Parameter 'reconnect' expects a number of seconds");
  }
  spec.reconnect = TRY(reconnect_time(static_cast<uint64_t>(from.reconnect.value_or(0))));
  TRY(check_roles(spec.server, from.wait.has_value(), spec.reconnect.count() != 0));
  TRY(check_socket(from.tls_creds.has_value(), from.tls_authz.has_value(),
                   from.tn3270.value_or(false), from.websocket.value_or(false)));
  spec.address = TRY(socket_address(from.addr, fds));
  return spec;
}

Result<Spec> convert(const api::ChardevFileWrapper& wrapper, const Lookup&) {
  const api::ChardevFile& from = wrapper.data;
  TRY(check_log(from));
  return chardev::FileSpec{.out = from.out, .in = from.in, .append = from.append.value_or(false)};
}

Result<Spec> convert(const api::ChardevStdioWrapper& wrapper, const Lookup&) {
  TRY(check_log(wrapper.data));
  return chardev::StdioSpec{.signal = wrapper.data.signal.value_or(true)};
}

Result<Spec> convert_ring(const api::ChardevRingbuf& from, bool is_memory) {
  TRY(check_log(from));
  chardev::RingSpec spec{.is_memory = is_memory};
  // A negative one is no power of two either.
  if (from.size) spec.size_bytes = *from.size < 0 ? 0 : static_cast<uint64_t>(*from.size);
  return spec;
}

}  // namespace

Result<ChardevOption> parse_chardev(std::string_view text, const DescriptorLookup& fds) {
  const ChardevText options = TRY(ChardevText::parse(text));
  const auto id = options.text("id");
  if (!id) return fail(ErrorKind::kInvalidArgument, "chardev: no id specified");
  const auto backend = options.text("backend");
  if (!backend) {
    return fail(ErrorKind::kInvalidArgument, fmt::format("chardev: \"{}\" missing backend", *id));
  }
  const auto kind = std::ranges::find(kKinds, *backend, &Kind::name);
  if (kind == kKinds.end()) return no_such_kind(*backend);
  if (options.flag("mux", false)) return unsupported("mux", "a device has one monitor");
  if (options.has("logfile")) return unsupported("logfile", "what a device sends is not kept");
  return ChardevOption{.id = *id, .spec = TRY(kind->from_text(options, fds))};
}

std::string chardev_help(std::string_view text) {
  if (text == "help" || text == "?") {
    std::string help = "Available chardev backend types: \n";
    for (const Kind& kind : kKinds) help += fmt::format("  {}\n", kind.name);
    return help;
  }
  const bool asks = text.ends_with(",help") || text.ends_with(",?") || text.contains(",help,");
  if (!asks) return {};
  std::string help = "chardev options:\n";
  for (const Known& known : kKnown) {
    constexpr auto kTypes =
        std::to_array<std::string_view>({"str", "bool (on/off)", "num", "size"});
    help += fmt::format("  {}=<{}>\n", known.name, kTypes[static_cast<size_t>(known.type)]);
  }
  return help;
}

Result<Spec> chardev_spec(const api::ChardevBackend& backend, const DescriptorLookup& fds) {
  using enum api::ChardevBackendKind;
  switch (backend.type) {
    case kSocket:
      return convert(std::get<api::ChardevSocketWrapper>(backend.u), fds);
    case kFile:
      return convert(std::get<api::ChardevFileWrapper>(backend.u), fds);
    case kStdio:
      return convert(std::get<api::ChardevStdioWrapper>(backend.u), fds);
    case kPipe: {
      const auto& from = std::get<api::ChardevHostdevWrapper>(backend.u).data;
      TRY(check_log(from));
      return chardev::PipeSpec{.path = from.device};
    }
    case kPty:
      TRY(check_log(std::get<api::ChardevCommonWrapper>(backend.u).data));
      return chardev::PtySpec();
    case kNull:
      TRY(check_log(std::get<api::ChardevCommonWrapper>(backend.u).data));
      return chardev::NullSpec();
    case kRingbuf:
    case kMemory:
      return convert_ring(std::get<api::ChardevRingbufWrapper>(backend.u).data,
                          backend.type == kMemory);
    default:
      return no_such_kind(api::to_string(backend.type));
  }
}

const std::vector<std::string>& chardev_kinds() {
  static const std::vector<std::string> kinds = [] {
    std::vector<std::string> names;
    for (const Kind& kind : kKinds) names.emplace_back(kind.name);
    return names;
  }();
  return kinds;
}

}  // namespace firn::daemon
