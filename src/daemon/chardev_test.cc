#include "daemon/chardev.h"

#include <gtest/gtest.h>

namespace firn::daemon {
namespace {

std::string error_of(std::string_view text) {
  auto spec = parse_chardev(text);
  return spec ? "no error" : spec.error().text();
}

TEST(ParseChardev, UnixSockets) {
  auto spec = parse_chardev("socket,id=c,path=/run/a,,b,server=on,wait=off");
  ASSERT_TRUE(spec) << spec.error().text();
  EXPECT_EQ(spec->id, "c");
  EXPECT_EQ(spec->kind, ChardevSpec::Kind::kListen);
  EXPECT_EQ(spec->address.local.path, "/run/a,b");
  EXPECT_FALSE(spec->address.local.abstract);
  EXPECT_FALSE(spec->wait);
  // The short forms of old.
  spec = parse_chardev("socket,path=x,abstract=on,tight=off,server,nowait,id=d");
  ASSERT_TRUE(spec) << spec.error().text();
  EXPECT_EQ(spec->kind, ChardevSpec::Kind::kListen);
  EXPECT_TRUE(spec->address.local.abstract);
  EXPECT_FALSE(spec->address.local.tight);
  EXPECT_FALSE(spec->wait);
  spec = parse_chardev("socket,id=c,path=x");
  EXPECT_EQ(spec->kind, ChardevSpec::Kind::kConnect);
  EXPECT_TRUE(parse_chardev("socket,id=c,path=x,server=on")->wait);
}

TEST(ParseChardev, TcpSockets) {
  auto spec = parse_chardev("socket,id=c,host=localhost,port=4444,server=on,wait=off,nodelay=on");
  ASSERT_TRUE(spec) << spec.error().text();
  EXPECT_EQ(spec->address.kind, async::SocketAddress::Kind::kInet);
  EXPECT_EQ(spec->address.inet.host, "localhost");
  EXPECT_EQ(spec->address.inet.port, "4444");
  EXPECT_TRUE(spec->address.inet.ipv4 && spec->address.inet.ipv6);
  spec = parse_chardev("socket,id=c,host=h,port=1,ipv4=on");
  EXPECT_TRUE(spec->address.inet.ipv4 && !spec->address.inet.ipv6);
  spec = parse_chardev("socket,id=c,host=h,port=1,ipv4=off");
  EXPECT_TRUE(!spec->address.inet.ipv4 && spec->address.inet.ipv6);
}

TEST(ParseChardev, DescriptorsAndStdio) {
  EXPECT_EQ(parse_chardev("socket,id=c,fd=7")->fd, 7);
  EXPECT_EQ(parse_chardev("stdio,id=c")->kind, ChardevSpec::Kind::kStdio);
}

TEST(ParseChardev, NamesWhatIsWrong) {
  EXPECT_EQ(error_of("stdio"), "chardev: no id specified");
  EXPECT_EQ(error_of("stdio,id=9c"), "Parameter 'id' expects an identifier");
  EXPECT_EQ(error_of("id=c"), "chardev: \"c\" missing backend");
  EXPECT_EQ(error_of("bogus,id=c"), "'bogus' is not a valid char driver name");
  EXPECT_EQ(error_of("pty,id=c"),
            "chardev backend 'pty' is not supported by firn; use socket or stdio");
  EXPECT_EQ(error_of("socket,id=c"), "one of 'path', 'host' with 'port', and 'fd' must be given");
  EXPECT_EQ(error_of("socket,id=c,host=h"), "Parameter 'port' is missing");
  EXPECT_EQ(error_of("socket,id=c,path=x,fd=3"),
            "one of 'path', 'host' with 'port', and 'fd' must be given");
  EXPECT_EQ(error_of("socket,id=c,fd=x"), "Unable to parse FD number x");
  EXPECT_EQ(error_of("socket,id=c,path=x,server=maybe"),
            "Parameter 'server' expects 'on' or 'off'");
  EXPECT_EQ(error_of("socket,id=c,path=x,zz=1"), "Invalid parameter 'zz'");
  EXPECT_EQ(error_of("socket,id=c,path=x,reconnect=1"),
            "Parameter 'reconnect' is not supported by firn");
  EXPECT_EQ(error_of("socket,id=c,path=x,wait=on"),
            "'wait' option is incompatible with socket in client connect mode");
}

}  // namespace
}  // namespace firn::daemon
