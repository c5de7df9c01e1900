// The handshake as a client sees it, and the life of servers and exports.
#include "exports/nbd/server.h"

#include <fcntl.h>

#include "exports/nbd/nbd_test_support.h"

namespace firn::nbd {
namespace {

using testing::Bytes;
using testing::RawClient;

constexpr uint64_t kSize = uint64_t{1} << 20;

// Counts belong to the control loop.
async::Task<size_t> clients_of(const Export& counted) { co_return counted.client_count(); }
async::Task<uint32_t> connections_of(const Server& counted) {
  co_return counted.connection_count();
}

class NbdServerTest : public testing::ServerTest {
 protected:
  void SetUp() override {
    start();
    node_ = add_null("disk", kSize);
    serve(node_, {.description = "a disk", .writable = true});
    serve(node_, {.name = "second", .allocation_depth = true});
  }
  RawClient greeted() {
    RawClient client = connect();
    client.greet();
    return client;
  }
  block::Node* node_ = nullptr;
};

TEST_F(NbdServerTest, ExportNameWithAndWithoutZeroes) {
  RawClient client = connect();
  client.greet(client_flag::kFixedNewstyle);
  client.send_option(Option::kExportName, "second");
  Bytes reply = client.receive(ExportNameReply::kBytes + kExportNameZeroBytes);
  EXPECT_EQ(reply.take<uint64_t>(), kSize);
  EXPECT_EQ(reply.take<uint16_t>(), 0x50f);  // flags, read-only, flush, fua, multi-conn, cache
  EXPECT_EQ(reply.text(), std::string(kExportNameZeroBytes, '\0'));
  client.send(RawClient::request(Command::kRead, 1, 0, 10));
  EXPECT_EQ(client.receive_simple(1), WireError::kNone);

  RawClient old = connect();
  old.greet(client_flag::kNoZeroes);  // not fixed: this one option is all that it has
  old.send_option(Option::kExportName, "");
  EXPECT_EQ(old.receive(ExportNameReply::kBytes).text().size(), ExportNameReply::kBytes);
  old.send(RawClient::request(Command::kRead, 1, 0, 0));
  EXPECT_EQ(old.receive_simple(1), WireError::kNone);

  RawClient unknown = greeted();
  unknown.send_option(Option::kExportName, "nope");
  EXPECT_TRUE(unknown.at_end());
  RawClient not_fixed = connect();
  not_fixed.greet(0);
  not_fixed.send_option(Option::kList);
  EXPECT_TRUE(not_fixed.at_end());
}

TEST_F(NbdServerTest, ListNamesAllWithTheirDescriptions) {
  RawClient client = greeted();
  client.send_option(Option::kList);
  EXPECT_EQ(client.receive_option_reply(Option::kList).data,
            Bytes().put(uint32_t{0}).put("a disk").text());
  EXPECT_EQ(client.receive_option_reply(Option::kList).data,
            Bytes().put(uint32_t{6}).put("second").text());
  EXPECT_EQ(client.receive_option_reply(Option::kList).type, OptionReply::kAck);
  EXPECT_EQ(client.ask(Option::kList, "x").type, OptionReply::kErrInvalid);
}

TEST_F(NbdServerTest, InfoTellsWhatWasAskedAndHagglingGoesOn) {
  RawClient client = greeted();
  EXPECT_EQ(client.choose(Option::kInfo, "", {1, 2, 3, 99}), OptionReply::kAck);
  ASSERT_EQ(client.infos.size(), 4u);
  EXPECT_EQ(client.infos[0], Bytes().put(uint16_t{1}).text());
  EXPECT_EQ(client.infos[1], Bytes().put(uint16_t{2}).put("a disk").text());
  EXPECT_EQ(client.infos[2], Bytes()
                                 .put(uint16_t{3})
                                 .put(uint32_t{1})
                                 .put(uint32_t{4096})
                                 .put(uint32_t{32u << 20})
                                 .text());
  EXPECT_EQ(client.size, kSize);
  EXPECT_FALSE(client.flags & transmission_flag::kSendDf);
  client.structured();
  EXPECT_EQ(client.choose(Option::kInfo, ""), OptionReply::kAck);
  EXPECT_TRUE(client.flags & transmission_flag::kSendDf);
  EXPECT_EQ(client.choose(Option::kInfo, "nope"), OptionReply::kErrUnknown);
  EXPECT_EQ(client.last_text, "export 'nope' not present");
  EXPECT_EQ(client.choose(Option::kGo, "second"), OptionReply::kAck);
}

TEST_F(NbdServerTest, OptionsThatAreRefused) {
  RawClient client = greeted();
  auto answer = client.ask(Option::kStartTls);
  EXPECT_EQ(answer.type, OptionReply::kErrPolicy);
  EXPECT_EQ(answer.data, "TLS not configured");
  for (uint32_t option : {0u, 4u, 11u, 12u, 77u, 0xffffffffu}) {
    answer = client.ask(static_cast<Option>(option), "data");
    EXPECT_EQ(answer.type, OptionReply::kErrUnsupported) << option;
    EXPECT_FALSE(answer.data.empty());
  }
  EXPECT_EQ(client.ask(Option::kGo, "garbage").type, OptionReply::kErrInvalid);
  EXPECT_EQ(client.ask(Option::kInfo).type, OptionReply::kErrInvalid);
  EXPECT_EQ(client.ask(Option::kStructuredReply, "x").type, OptionReply::kErrInvalid);
  client.structured();
  EXPECT_EQ(client.ask(Option::kStructuredReply).type, OptionReply::kErrInvalid);
  EXPECT_EQ(client.ask(static_cast<Option>(77), std::string(100'000, 'x')).type,
            OptionReply::kErrTooBig);
  EXPECT_EQ(client.ask(Option::kAbort).type, OptionReply::kAck);
  EXPECT_TRUE(client.at_end());
}

TEST_F(NbdServerTest, MetaContexts) {
  constexpr auto kList = Option::kListMetaContext;
  constexpr auto kSet = Option::kSetMetaContext;
  RawClient client = greeted();
  EXPECT_EQ(client.ask(kSet, RawClient::context_data("", {"base:allocation"})).type,
            OptionReply::kErrInvalid);
  client.structured();
  client.send_option(kList, RawClient::context_data("second", {}));
  EXPECT_EQ(client.receive_option_reply(kList).data,
            Bytes().put(uint32_t{0}).put("base:allocation").text());
  EXPECT_EQ(client.receive_option_reply(kList).data,
            Bytes().put(uint32_t{0}).put("qemu:allocation-depth").text());
  EXPECT_EQ(client.receive_option_reply(kList).type, OptionReply::kAck);

  // The default export does not offer the depth.
  client.send_option(kSet, RawClient::context_data("", {"qemu:allocation-depth"}));
  EXPECT_EQ(client.receive_option_reply(kSet).type, OptionReply::kAck);
  client.send_option(kSet, RawClient::context_data("second", {"qemu:allocation-depth", "x:y"}));
  EXPECT_EQ(client.receive_option_reply(kSet).data,
            Bytes().put(kAllocationDepthId).put("qemu:allocation-depth").text());
  EXPECT_EQ(client.receive_option_reply(kSet).type, OptionReply::kAck);
  EXPECT_EQ(client.ask(kSet, RawClient::context_data("nope", {})).type, OptionReply::kErrUnknown);
  EXPECT_EQ(client.ask(kSet, "\xff").type, OptionReply::kErrInvalid);
}

// What was selected for one export says nothing about another.
TEST_F(NbdServerTest, ContextsBelongToTheirExport) {
  RawClient client = greeted();
  client.structured();
  client.send_option(Option::kSetMetaContext,
                     RawClient::context_data("second", {"base:allocation"}));
  EXPECT_EQ(client.receive_option_reply(Option::kSetMetaContext).type, OptionReply::kMetaContext);
  EXPECT_EQ(client.receive_option_reply(Option::kSetMetaContext).type, OptionReply::kAck);
  EXPECT_EQ(client.choose(Option::kGo, ""), OptionReply::kAck);
  client.send(RawClient::request(Command::kBlockStatus, 1, 0, 10));
  EXPECT_EQ(client.receive_error_chunk(1), WireError::kInval);
}

TEST_F(NbdServerTest, BrokenHandshakesEnd) {
  {
    RawClient client = connect();
    client.greet(client_flag::kFixedNewstyle | 1u << 5);
    EXPECT_TRUE(client.at_end());
  }
  {
    RawClient client = greeted();
    client.send(std::string(16, 'x'));
    EXPECT_TRUE(client.at_end());
  }
  {
    RawClient client = greeted();  // a length that no one could mean
    client.send(Bytes().put(kOptionMagic).put(uint32_t{7}).put(uint32_t{0xffffffff}));
    EXPECT_TRUE(client.at_end());
  }
  {
    RawClient client = greeted();
    client.send_option(Option::kExportName, std::string(5000, 'n'));
    EXPECT_TRUE(client.at_end());
  }
  const std::string whole = Bytes()
                                .put(uint32_t{3})
                                .put(kOptionMagic)
                                .put(uint32_t{7})
                                .put(uint32_t{6})
                                .put(RawClient::info_data(""))
                                .text();
  for (size_t length = 0; length < whole.size(); ++length) {
    RawClient client = connect();
    client.send(std::string_view(whole).substr(0, length));
  }
  EXPECT_EQ(greeted().choose(Option::kGo, ""), OptionReply::kAck);
}

TEST_F(NbdServerTest, NobodyNegotiatesForEver) {
  stop();
  start({.handshake_timeout = std::chrono::milliseconds(100), .limits = {.options = 20}});
  serve(node_);
  RawClient silent = greeted();
  EXPECT_TRUE(silent.at_end());
  RawClient busy = greeted();
  int answered = 0;
  while (answered < 100) {
    busy.send_option(Option::kPeekExport);
    if (busy.receive(OptionReplyHeader::kBytes).text().empty()) break;
    busy.receive(std::string_view("Unsupported option 4 (PEEK_EXPORT)").size());
    ++answered;
  }
  EXPECT_EQ(answered, 20);
  // Who has chosen is not hurried.
  RawClient client = greeted();
  EXPECT_EQ(client.choose(Option::kGo, ""), OptionReply::kAck);
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  client.send(RawClient::request(Command::kRead, 1, 0, 1));
  EXPECT_EQ(client.receive_simple(1), WireError::kNone);
}

TEST_F(NbdServerTest, TheMinimumHoldsForThoseWhoWereTold) {
  auto file_options = std::make_unique<file::Options>();
  ::close(::open(path("direct.img").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
  std::filesystem::resize_file(path("direct.img"), 1 << 20);
  file_options->filename = path("direct.img");
  block::NodeSpec spec;
  spec.driver = "file";
  spec.node_name = "direct";
  spec.options.direct = true;
  spec.driver_options = std::move(file_options);
  auto added = call(graph_->add_node(std::move(spec)));
  if (!added) GTEST_SKIP() << added.error().text();
  serve(*added, {.name = "direct"});
  RawClient client = greeted();
  ASSERT_EQ(client.choose(Option::kGo, "direct", {3}), OptionReply::kAck);
  Bytes sizes(client.infos.at(0));
  sizes.take<uint16_t>();
  const auto minimum = sizes.take<uint32_t>();
  if (minimum > 1) {
    client.send(RawClient::request(Command::kRead, 1, 1, 1));
    EXPECT_EQ(client.receive_simple(1), WireError::kInval);
  }
  RawClient unaware = greeted();
  ASSERT_EQ(unaware.choose(Option::kGo, "direct"), OptionReply::kAck);
  unaware.send(RawClient::request(Command::kRead, 1, 1, 1));
  EXPECT_EQ(unaware.receive_simple(1), WireError::kNone);
}

// Exports and servers -------------------------------------------------------------------------

TEST_F(NbdServerTest, NamesAreTakenOnce) {
  auto again = call(server_->add_export(*graph_, *node_, {.id = "x", .name = "second"}));
  ASSERT_FALSE(again.has_value());
  EXPECT_EQ(again.error().text(), "NBD server already has export named 'second'");
  again = call(server_->add_export(*graph_, *node_, {.name = std::string(5000, 'n')}));
  ASSERT_FALSE(again.has_value());
  EXPECT_TRUE(again.error().text().ends_with("too long"));
  again = call(
      server_->add_export(*graph_, *add_file("ro", kSize, true), {.name = "ro", .writable = true}));
  ASSERT_FALSE(again.has_value());
  EXPECT_EQ(again.error().text(), "Cannot export read-only node as writable");
}

TEST_F(NbdServerTest, RemovingAnExport) {
  RawClient client = greeted();
  EXPECT_EQ(client.choose(Option::kGo, "second"), OptionReply::kAck);
  RawClient other = greeted();
  EXPECT_EQ(other.choose(Option::kGo, ""), OptionReply::kAck);
  client.send(RawClient::request(Command::kRead, 1, 0, 0));
  EXPECT_EQ(client.receive_simple(1), WireError::kNone);
  auto removed = call(server_->remove_export("second", RemoveMode::kSafe));
  ASSERT_FALSE(removed.has_value());
  EXPECT_EQ(removed.error().text(), "export 'second' still in use");
  EXPECT_EQ(removed.error().hint(), "Use mode='hard' to force client disconnect");
  EXPECT_TRUE(call(server_->remove_export("second", RemoveMode::kHard)).has_value());
  EXPECT_TRUE(client.at_end());
  removed = call(server_->remove_export("second", RemoveMode::kHard));
  ASSERT_FALSE(removed.has_value());
  EXPECT_EQ(removed.error().text(), "Export 'second' is not found");
  // The others go on, and the name is free again.
  other.send(RawClient::request(Command::kRead, 1, 0, 0));
  EXPECT_EQ(other.receive_simple(1), WireError::kNone);
  serve(node_, {.name = "second"});
  EXPECT_TRUE(call(server_->remove_export("second", RemoveMode::kSafe)).has_value());
  EXPECT_EQ(greeted().choose(Option::kGo, "second"), OptionReply::kErrUnknown);
}

// The export's own loop notices that a client is gone, and a little later than the client knows it.
TEST_F(NbdServerTest, AClientThatHasJustLeftDoesNotKeepAnExport) {
  for (int i = 0; i < 50; ++i) {
    serve(node_, {.name = "third"});
    {
      RawClient client = greeted();
      EXPECT_EQ(client.choose(Option::kGo, "third"), OptionReply::kAck);
    }
    EXPECT_TRUE(call(server_->remove_export("third", RemoveMode::kSafe)).has_value()) << i;
  }
}

// Requests that take most of a second, when their export goes: they are carried out first.
TEST_F(NbdServerTest, HardRemovalWaitsForRequests) {
  Export* slow = serve(add_null("slow", kSize, 800'000'000), {.name = "slow", .writable = true});
  RawClient client = greeted();
  EXPECT_EQ(client.choose(Option::kGo, "slow"), OptionReply::kAck);
  client.send(RawClient::request(Command::kRead, 1, 0, 4096));
  client.send(RawClient::request(Command::kRead, 2, 0, 4096));
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_EQ(call(clients_of(*slow)), 1u);
  const auto begun = std::chrono::steady_clock::now();
  EXPECT_TRUE(call(server_->remove_export("slow", RemoveMode::kHard)).has_value());
  EXPECT_GE(std::chrono::steady_clock::now() - begun, std::chrono::milliseconds(200));
  EXPECT_TRUE(client.at_end());
}

TEST_F(NbdServerTest, MoreClientsThanAllowedWait) {
  stop();
  start({.max_connections = 2});
  serve(node_);
  RawClient first = enter();
  RawClient second = enter();
  RawClient third = connect();
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_EQ(call(connections_of(*server_)), 2u);
  first.close();
  third.greet();
  EXPECT_EQ(third.choose(Option::kGo, ""), OptionReply::kAck);
}

TEST_F(NbdServerTest, StoppingEndsEveryone) {
  RawClient haggling = greeted();
  RawClient attached = enter();
  stop();
  EXPECT_TRUE(haggling.at_end());
  EXPECT_TRUE(attached.at_end());
  start();
  serve(node_);
  EXPECT_EQ(enter().size, kSize);
}

TEST_F(NbdServerTest, StopsWhileNobodyMayEnter) {
  stop();
  start({.max_connections = 1});
  serve(node_);
  RawClient first = enter();
  RawClient waiting = connect();
  stop();
  EXPECT_TRUE(first.at_end());
}

TEST_F(NbdServerTest, GarbageEndsOnlyItsOwnConnection) {
  uint64_t state = 7;
  for (int round = 0; round < 200; ++round) {
    std::string garbage(static_cast<size_t>(round * 10), '\0');
    for (char& byte : garbage) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      byte = static_cast<char>(state >> 56);
    }
    RawClient client = connect();
    if (round % 2 == 0) {
      client.greet();
      // A good head and garbage within.
      client.send_option(static_cast<Option>(round / 2 % 14), garbage);
    } else {
      client.send(garbage);
    }
  }
  EXPECT_EQ(enter().size, kSize);
}

}  // namespace
}  // namespace firn::nbd
