#include "daemon/chardev_options.h"

#include <gtest/gtest.h>

namespace firn::daemon {
namespace {

using base::ErrorKind;
using chardev::SocketSpec;

// Knows one socket, `qmp`.
base::Result<int> find_fd(std::string_view text) {
  if (text == "qmp" || text == "7") return 7;
  return base::fail(ErrorKind::kNotFound, "no such descriptor");
}

base::Result<ChardevOption> parse(std::string_view text) { return parse_chardev(text, find_fd); }

std::string error_of(std::string_view text) {
  auto option = parse(text);
  return option ? "no error" : option.error().text();
}

SocketSpec socket_of(std::string_view text) {
  auto option = parse(text);
  if (!option) ADD_FAILURE() << text << ": " << option.error().text();
  return option ? std::get<SocketSpec>(option->spec) : SocketSpec();
}

TEST(ParseChardev, UnixSockets) {
  SocketSpec spec = socket_of("socket,id=c,path=/run/a,,b,server=on,wait=off");
  EXPECT_TRUE(spec.server);
  EXPECT_EQ(spec.address.local.path, "/run/a,b");
  EXPECT_FALSE(spec.address.local.abstract);
  EXPECT_FALSE(spec.wait);
  // The short forms of old.
  spec = socket_of("socket,path=x,abstract=on,tight=off,server,nowait,telnet,nodelay,id=d");
  EXPECT_TRUE(spec.server && spec.telnet);
  EXPECT_TRUE(spec.address.local.abstract);
  EXPECT_FALSE(spec.address.local.tight);
  EXPECT_FALSE(spec.wait);
  spec = socket_of("socket,id=c,path=x,reconnect=0x10");
  EXPECT_FALSE(spec.server || spec.wait);
  EXPECT_EQ(spec.reconnect.count(), 16);
  EXPECT_TRUE(socket_of("socket,id=c,path=x,server=yes").wait);
}

TEST(ParseChardev, TcpSockets) {
  SocketSpec spec = socket_of("socket,id=c,host=localhost,port=4444,server=on,wait=off,delay=on");
  EXPECT_EQ(spec.address.kind, async::SocketAddress::Kind::kInet);
  EXPECT_EQ(spec.address.inet.host, "localhost");
  EXPECT_EQ(spec.address.inet.port, "4444");
  EXPECT_TRUE(spec.address.inet.ipv4 && spec.address.inet.ipv6);
  spec = socket_of("socket,id=c,host=h,port=1,ipv4=on");
  EXPECT_TRUE(spec.address.inet.ipv4 && !spec.address.inet.ipv6);
  spec = socket_of("socket,id=c,host=h,port=1,ipv4=off");
  EXPECT_TRUE(!spec.address.inet.ipv4 && spec.address.inet.ipv6);
  EXPECT_EQ(socket_of("socket,id=c,port=1,server=on").address.inet.host, "");
}

TEST(ParseChardev, OtherKinds) {
  EXPECT_EQ(socket_of("socket,id=c,fd=qmp").address.fd, 7);
  EXPECT_EQ(parse("stdio,id=c")->id, "c");
  EXPECT_FALSE(std::get<chardev::StdioSpec>(parse("stdio,id=c,signal=off")->spec).signal);
  const auto file = std::get<chardev::FileSpec>(parse("file,id=c,path=o,append=on")->spec);
  EXPECT_TRUE(file.append && file.out == "o" && !file.in);
  EXPECT_EQ(std::get<chardev::PipeSpec>(parse("pipe,id=c,path=p")->spec).path, "p");
  EXPECT_EQ(std::get<chardev::RingSpec>(parse("ringbuf,id=c,size=4k")->spec).size_bytes, 4096u);
  EXPECT_TRUE(std::get<chardev::RingSpec>(parse("memory,id=c")->spec).is_memory);
  EXPECT_TRUE(std::holds_alternative<chardev::PtySpec>(parse("pty,id=c")->spec));
  EXPECT_TRUE(std::holds_alternative<chardev::NullSpec>(parse("backend=null,id=c,path=x")->spec));
}

// qemu-storage-daemon's texts, but for what only Firn refuses.
TEST(ParseChardev, NamesWhatIsWrong) {
  EXPECT_EQ(error_of("stdio"), "chardev: no id specified");
  EXPECT_EQ(error_of("stdio,id=9c"), "Parameter 'id' expects an identifier");
  EXPECT_EQ(error_of("id=c"), "chardev: \"c\" missing backend");
  EXPECT_EQ(error_of("="), "Invalid parameter ''");
  EXPECT_EQ(error_of("unix,id=c,path=x"), "'unix' is not a valid char driver name");
  EXPECT_EQ(error_of("serial,id=c,path=x"), "'serial' is not a valid char driver name");
  EXPECT_EQ(error_of("socket,id=c,host=h"), "chardev: socket: no port given");
  EXPECT_EQ(error_of("socket,id=c,path=x,fd=3"),
            "None or one of 'path', 'fd' or 'host' option required.");
  EXPECT_EQ(error_of("socket,id=c,port=1"),
            "None or one of 'path', 'fd' or 'host' option required.");
  EXPECT_EQ(error_of("socket,id=c,fd=x"), "no such descriptor");
  EXPECT_EQ(error_of("socket,id=c,path=x,server=maybe"),
            "Parameter 'server' expects 'on' or 'off'");
  EXPECT_EQ(error_of("socket,id=c,path=x,reconnect=x"), "Parameter 'reconnect' expects a number");
  EXPECT_EQ(error_of("socket,id=c,path=x,zz=1"), "Invalid parameter 'zz'");
  EXPECT_EQ(error_of("socket,id=c,path=x,server=on,reconnect=1"),
            "'reconnect' option is incompatible with socket in server listen mode");
  EXPECT_EQ(error_of("socket,id=c,path=x,wait=on"),
            "'wait' option is incompatible with socket in client connect mode");
  EXPECT_EQ(error_of("socket,id=c,path=x,delay=on,nodelay=on"),
            "'delay' and 'nodelay' are mutually exclusive");
  EXPECT_EQ(error_of("socket,id=c,path=x,tls-authz=x"),
            "'tls_authz' option requires 'tls_creds' option");
  EXPECT_EQ(error_of("file,id=c"), "chardev: file: no filename given");
  EXPECT_EQ(error_of("pipe,id=c"), "chardev: pipe: no device path given");
  EXPECT_EQ(error_of("ringbuf,id=c,size=x"),
            "Parameter 'size' expects a non-negative number below 2^64");
  EXPECT_EQ(error_of("socket,id=c,path=x,websocket=on"),
            "Parameter 'websocket' is not supported by firn: clients speak plain TCP or telnet");
  EXPECT_EQ(error_of("null,id=c,logfile=x"),
            "Parameter 'logfile' is not supported by firn: what a device sends is not kept");
}

TEST(ChardevHelp, ListsKindsAndOptions) {
  EXPECT_EQ(chardev_help("help"),
            "Available chardev backend types: \n  file\n  memory\n  null\n  pipe\n  pty\n"
            "  ringbuf\n  socket\n  stdio\n");
  EXPECT_EQ(chardev_help("help"), chardev_help("?"));
  EXPECT_TRUE(chardev_help("socket,id=c,help")
                  .starts_with("chardev options:\n  abstract=<bool (on/off)>\n"));
  EXPECT_EQ(chardev_help("socket,id=help"), "");
}

api::ChardevBackend backend(api::ChardevBackendKind kind, auto wrapper) {
  return {.type = kind, .u = std::move(wrapper)};
}

std::string error_of(const api::ChardevBackend& backend) {
  auto spec = chardev_spec(backend, find_fd);
  return spec ? "no error" : spec.error().text();
}

TEST(ChardevSpec, ComesFromTheSchema) {
  using enum api::ChardevBackendKind;
  api::ChardevSocketWrapper socket;
  socket.data.addr.type = api::SocketAddressType::kFd;
  socket.data.addr.u = api::StringWrapper{.data = {.str = "qmp"}};
  auto spec = std::get<SocketSpec>(*chardev_spec(backend(kSocket, socket), find_fd));
  EXPECT_TRUE(spec.server && !spec.wait);
  EXPECT_EQ(spec.address.fd, 7);
  socket.data.wait = true;
  socket.data.server = false;
  EXPECT_EQ(error_of(backend(kSocket, socket)),
            "'wait' option is incompatible with socket in client connect mode");
  socket.data.wait.reset();
  socket.data.reconnect = -1;
  EXPECT_EQ(error_of(backend(kSocket, socket)),
            "Parameter 'reconnect' expects a number of seconds");
  EXPECT_EQ(error_of(backend(kVc, api::ChardevVCWrapper())),
            "'vc' is not a valid char driver name");
  EXPECT_EQ(error_of(backend(kMux, api::ChardevMuxWrapper())),
            "'mux' is not a valid char driver name");
  api::ChardevRingbufWrapper ring;
  ring.data.size = -4;
  EXPECT_EQ(std::get<chardev::RingSpec>(*chardev_spec(backend(kMemory, ring), find_fd)).size_bytes,
            0u);  // refused by whoever opens it
  api::ChardevCommonWrapper common;
  common.data.logfile = "x";
  EXPECT_EQ(error_of(backend(kNull, common)),
            "Parameter 'logfile' is not supported by firn: what a device sends is not kept");
}

// What can be made is what --chardev takes and what the schema's types lead to.
TEST(ChardevSpec, HasTheSameKindsAsTheCommandLine) {
  for (const std::string& kind : chardev_kinds()) {
    EXPECT_NE(error_of(kind + ",id=c"), "'" + kind + "' is not a valid char driver name");
  }
}

}  // namespace
}  // namespace firn::daemon
