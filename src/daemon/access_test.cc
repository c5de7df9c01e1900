#include "daemon/access.h"

#include <gtest/gtest.h>

#include <boost/json/value.hpp>
#include <string>

#include "api/codec.h"
#include "api/keyval.h"

namespace firn::daemon {
namespace {

using async::PeerCredentials;

api::MonitorOptions options_of(const std::string& text) {
  api::InputMode mode;
  auto tree = api::parse_option(text, "chardev", mode);
  EXPECT_TRUE(tree) << tree.error().text();
  auto options = api::decode_as<api::MonitorOptions>(*tree, mode);
  EXPECT_TRUE(options) << options.error().text();
  return *options;
}

// "viewer by peers.0.role"
std::string access(const std::string& text, const std::optional<PeerCredentials>& peer) {
  const Access found = access_of(options_of(text), peer);
  return (found.role ? std::string(to_string(*found.role)) : "none") + " by " + found.rule;
}

const PeerCredentials kAlice{.pid = 7, .uid = 1000, .gid = 100, .groups = {27, 100}};

TEST(Access, IsEverythingUnlessTheOptionsSayOtherwise) {
  EXPECT_EQ(access("c", kAlice), "admin by role");
  EXPECT_EQ(access("c", std::nullopt), "admin by role");
  EXPECT_EQ(access("c,role=viewer", kAlice), "viewer by role");
  EXPECT_EQ(access("c,role=none", kAlice), "none by role");
}

TEST(Access, IsDecidedByTheFirstEntryThatFits) {
  const std::string peers =
      "c,role=viewer,peers.0.uid=0,peers.0.role=admin,peers.1.gid=27,peers.1.role=operator,"
      "peers.2.uid=1000,peers.2.role=none";
  EXPECT_EQ(access(peers, PeerCredentials{.uid = 0}), "admin by peers.0.role");
  EXPECT_EQ(access(peers, kAlice), "operator by peers.1.role");
  EXPECT_EQ(access(peers, PeerCredentials{.uid = 1000, .gid = 27}), "operator by peers.1.role");
  EXPECT_EQ(access(peers, PeerCredentials{.uid = 1000, .gid = 100}), "none by peers.2.role");
  EXPECT_EQ(access(peers, PeerCredentials{.uid = 1001, .gid = 100}), "viewer by role");
}

TEST(Access, NeedsBothNumbersWhereBothAreGiven) {
  const std::string both = "c,peers.0.uid=1000,peers.0.gid=27,peers.0.role=admin";
  EXPECT_EQ(access(both, kAlice), "admin by peers.0.role");
  EXPECT_EQ(access(both, PeerCredentials{.uid = 1000, .gid = 100}), "none by role");
  EXPECT_EQ(access(both, PeerCredentials{.uid = 1, .gid = 27}), "none by role");
}

TEST(Access, OfThoseWithoutCredentialsIsRolesAlone) {
  EXPECT_EQ(access("c,peers.0.uid=0,peers.0.role=admin", std::nullopt), "none by role");
  EXPECT_EQ(access("c,role=operator,peers.0.uid=0,peers.0.role=admin", std::nullopt),
            "operator by role");
}

TEST(Access, RefusesOptionsThatFitNobody) {
  EXPECT_TRUE(check_access_options(options_of("c")));
  EXPECT_TRUE(check_access_options(options_of("c,peers.0.gid=1,peers.0.role=none")));
  auto bad =
      check_access_options(options_of("c,peers.0.gid=1,peers.0.role=none,peers.1.role=viewer"));
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().text(),
            "Parameter 'peers.1' needs 'uid' or 'gid'; for all others there is 'role'");
}

TEST(Access, TellsWhyItIsRefused) {
  api::CommandEntry command{.name = "quit", .role = 2};
  const Access viewer{.role = api::MonitorRole::kViewer, .rule = "peers.0.role"};
  EXPECT_EQ(refusal(command, viewer, "qmp").text(),
            "The command quit needs the role 'admin'; this client has 'viewer', by the option "
            "'peers.0.role' of monitor 'qmp'");
  EXPECT_EQ(no_access_text({.role = {}, .rule = "role"}, "qmp", kAlice),
            "Monitor 'qmp' gives no access to uid 1000 with gid 100, by its option 'role'");
}

}  // namespace
}  // namespace firn::daemon
