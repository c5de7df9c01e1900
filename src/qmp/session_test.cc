#include "qmp/session.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <chrono>
#include <deque>
#include <functional>
#include <string>

#include "async/runtime.h"
#include "qmp/hmp_session.h"
#include "qmp/monitor.h"

namespace firn::qmp {
namespace {

using base::ErrorKind;
using base::fail;
using base::print_json;
using namespace std::chrono_literals;
namespace json = boost::json;

constexpr api::CommandEntry kEcho{.name = "echo", .success_response = true};
constexpr api::CommandEntry kSlow{.name = "slow", .success_response = true};
constexpr api::CommandEntry kUrgent{.name = "urgent", .allow_oob = true, .success_response = true};
constexpr api::CommandEntry kBig{.name = "big", .success_response = true};
constexpr api::CommandEntry kFails{.name = "fails", .success_response = true};
constexpr api::CommandEntry kNegotiate{.name = "qmp_capabilities", .success_response = true};
constexpr api::CommandEntry kLast{.name = "last", .success_response = true};
constexpr api::CommandEntry kSilent{.name = "silent", .success_response = false};

class FakeCommands final : public Commands {
 public:
  const api::CommandEntry* find(std::string_view name) const override {
    for (const api::CommandEntry* info :
         {&kEcho, &kSlow, &kUrgent, &kBig, &kFails, &kNegotiate, &kSilent, &kLast}) {
      if (info->name == name) return info;
    }
    return nullptr;
  }
  Task<Result<JsonValue>> run(const api::CommandEntry& command, json::object arguments) override {
    ++started;
    if (&command == &kLast) ending = true;
    if (&command == &kSlow) co_await release.wait();
    if (&command == &kBig) co_return JsonValue(std::string(64 << 10, 'x'));
    if (&command == &kFails) {
      co_return fail(
          base::Error(ErrorKind::kOpenFileFailed, "Could not open 'a'").with_data("filename", "a"));
    }
    co_return JsonValue(std::move(arguments));
  }

  bool taking() const override { return !ending; }

  async::Event release;
  int started = 0;
  bool ending = false;
};

// The other end of a connection.
class Peer {
 public:
  explicit Peer(std::unique_ptr<async::Stream> stream)
      : stream_(std::move(stream)), buffer_(65536, '\0') {}
  Task<void> send(std::string text) {
    async::IoVec iov(text.data(), text.size());
    EXPECT_TRUE(co_await stream_->send(iov));
  }
  // The next message as text; "end" at the end of the stream.
  Task<std::string> next() {
    while (messages_.empty()) {
      async::IoVec iov(buffer_.data(), buffer_.size());
      auto received = co_await stream_->receive(iov);
      if (!received || *received == 0) co_return "end";
      std::string_view bytes(buffer_.data(), *received);
      while (auto value = parser_.next(bytes)) messages_.push_back(print_json(**value));
    }
    std::string message = messages_.front();
    messages_.pop_front();
    co_return message;
  }
  // Raw bytes, for streams that are not JSON.
  Task<std::string> text_until(std::string_view ending) {
    while (!text_.ends_with(ending)) {
      async::IoVec iov(buffer_.data(), buffer_.size());
      auto received = co_await stream_->receive(iov);
      if (!received || *received == 0) break;
      text_.append(buffer_.data(), *received);
    }
    co_return std::exchange(text_, {});
  }
  Task<std::string> ask(std::string text) {
    co_await send(std::move(text));
    co_return co_await next();
  }
  async::Stream& stream() { return *stream_; }

 private:
  std::unique_ptr<async::Stream> stream_;
  std::string buffer_;
  base::JsonParser parser_;
  std::deque<std::string> messages_;
  std::string text_;
};

class SessionTest : public testing::Test {
 public:
  SessionTest() : runtime_(*async::make_runtime({.worker_count = 1})) {}

  // Runs `body` on the control loop, with a monitor whose clients connect() gives.
  void run(std::function<Task<void>(SessionTest&)> body) {
    async::run_until_done(*runtime_, run_body(std::move(body)));
  }
  Task<void> run_body(std::function<Task<void>(SessionTest&)> body) {
    monitor_ = std::make_unique<Monitor>(
        "test",
        [this](std::unique_ptr<async::Stream> stream) { return make_client(std::move(stream)); },
        MonitorLimits{.max_clients = max_clients_, .refusal = "full\r\n"});
    co_await body(*this);
    events_.close();
    co_await monitor_->close();
    EXPECT_EQ(monitor_->client_count(), 0u);
    monitor_.reset();
  }
  Task<void> settle(const std::function<bool()>& done) {
    while (!done()) co_await async::Loop::current().sleep_for(5ms);
  }
  std::unique_ptr<Client> make_client(std::unique_ptr<async::Stream> stream) {
    if (hmp_)
      return std::make_unique<HmpSession>(std::move(stream), commands_,
                                          HmpSessionOptions{.greeting = "hello"});
    return std::make_unique<Session>(
        std::move(stream), commands_, events_, *base::parse_json("{'package': 'p'}"),
        SessionOptions{.pretty = pretty_, .budget = &budget_, .errors = errors_});
  }
  std::unique_ptr<Peer> connect() {
    int fds[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    auto& network = async::Loop::current().network();
    auto served = network.adopt_fds(fds[0], fds[0], "served");
    auto client = network.adopt_fds(fds[1], fds[1], "client");
    EXPECT_TRUE(served && client);
    monitor_->serve(*std::move(served));
    return std::make_unique<Peer>(*std::move(client));
  }
  Task<std::unique_ptr<Peer>> negotiated() {
    auto peer = connect();
    EXPECT_EQ(co_await peer->next(),
              R"({"QMP": {"version": {"package": "p"}, "capabilities": ["oob"]}})");
    EXPECT_EQ(
        co_await peer->ask("{'execute': 'qmp_capabilities', 'arguments': {'enable': ['oob']}}"),
        R"({"return": {}})");
    co_return peer;
  }

  std::unique_ptr<async::Runtime> runtime_;
  FakeCommands commands_;
  EventHub events_;
  MemoryBudget budget_{1 << 20};
  size_t max_clients_ = MonitorLimits::kMaxClients;
  std::unique_ptr<Monitor> monitor_;
  api::ErrorDialect errors_ = api::ErrorDialect::kClasses;
  bool hmp_ = false;
  bool pretty_ = false;
};

TEST_F(SessionTest, BeginsNothingOnceTheEndIsAsked) {
  run([](SessionTest& test) -> Task<void> {
    auto peer = co_await test.negotiated();
    auto other = co_await test.negotiated();
    const int before = test.commands_.started;
    co_await peer->send("{'execute': 'last'} {'execute': 'echo'} {'execute': 'echo'}");
    EXPECT_EQ(co_await peer->next(), R"({"return": {}})");
    co_await other->send("{'execute': 'echo'} {'exec-oob': 'urgent'}");
    co_await test.monitor_->drain(1s);
    EXPECT_EQ(test.commands_.started, before + 1);
  });
}

TEST_F(SessionTest, WhoIsRefusedCanReadWhy) {
  max_clients_ = 1;
  run([](SessionTest& test) -> Task<void> {
    auto first = co_await test.negotiated();
    auto second = test.connect();
    // It sends before it reads.
    co_await second->send("{'execute': 'qmp_capabilities'}");
    (void)co_await async::Loop::current().sleep_for(20ms);
    co_await second->send("{'execute': 'echo'}");
    EXPECT_EQ(co_await second->text_until("full\r\n"), "full\r\n");
  });
}

TEST_F(SessionTest, NegotiatesFirst) {
  run([](SessionTest& test) -> Task<void> {
    auto peer = test.connect();
    co_await peer->next();
    EXPECT_EQ(co_await peer->ask("{'execute': 'echo', 'id': 1}"),
              R"({"id": 1, "error": {"class": "CommandNotFound", "desc": )"
              R"("Expecting capabilities negotiation with 'qmp_capabilities'"}})");
    EXPECT_EQ(co_await peer->ask("{'execute': 'qmp_capabilities'}"), R"({"return": {}})");
    EXPECT_EQ(co_await peer->ask("{'execute': 'qmp_capabilities'}"),
              R"({"error": {"class": "CommandNotFound", "desc": )"
              R"("Capabilities negotiation is already complete, command ignored"}})");
    EXPECT_EQ(co_await peer->ask("{'exec-oob': 'urgent'}"),
              R"({"error": {"class": "GenericError", "desc": )"
              R"("QMP input member 'exec-oob' is unexpected"}})");
    EXPECT_EQ(co_await peer->ask("{'execute': 'nope'}"),
              R"({"error": {"class": "CommandNotFound", "desc": )"
              R"("The command nope has not been found"}})");
  });
}

TEST_F(SessionTest, RefusesUnknownCapabilities) {
  run([](SessionTest& test) -> Task<void> {
    auto peer = test.connect();
    co_await peer->next();
    std::string answer =
        co_await peer->ask("{'execute': 'qmp_capabilities', 'arguments': {'enable': ['bogus']}}");
    EXPECT_NE(answer.find("does not accept value 'bogus'"), std::string::npos) << answer;
    EXPECT_EQ(co_await peer->ask("{'execute': 'qmp_capabilities'}"), R"({"return": {}})");
  });
}

TEST_F(SessionTest, AnswersInOrderWithIdsOfAnyType) {
  run([](SessionTest& test) -> Task<void> {
    auto peer = co_await test.negotiated();
    co_await peer->send(
        "{'execute': 'echo', 'id': [1, {'a': null}], 'arguments': {'x': 1}}"
        "{'execute': 'fails', 'id': 's'} nonsense\n {'execute': 'echo'}");
    EXPECT_EQ(co_await peer->next(), R"({"return": {"x": 1}, "id": [1, {"a": null}]})");
    EXPECT_EQ(co_await peer->next(),
              R"({"id": "s", "error": {"class": "OpenFileFailed", "desc": "Could not open 'a'", )"
              R"("data": {"filename": "a"}}})");
    EXPECT_EQ(co_await peer->next(), R"({"error": {"class": "GenericError", "desc": )"
                                     R"("JSON parse error, invalid keyword 'nonsense'"}})");
    EXPECT_EQ(co_await peer->next(), R"({"return": {}})");
  });
}

TEST_F(SessionTest, LeavesSuccessUnansweredWhereTheSchemaSaysSo) {
  run([](SessionTest& test) -> Task<void> {
    auto peer = co_await test.negotiated();
    EXPECT_EQ(co_await peer->ask("{'execute': 'silent', 'id': 1} {'execute': 'echo', 'id': 2}"),
              R"({"return": {}, "id": 2})");
  });
}

TEST_F(SessionTest, ChecksItsOwnCommandAsAnyOther) {
  run([](SessionTest& test) -> Task<void> {
    auto peer = co_await test.negotiated();
    EXPECT_EQ(co_await peer->ask("{'execute': 'qmp_capabilities', 'arguments': {'x': 1}}"),
              R"({"error": {"class": "GenericError", "desc": "Parameter 'x' is unexpected"}})");
    EXPECT_EQ(co_await peer->ask("{'exec-oob': 'qmp_capabilities', 'id': 1}"),
              R"({"id": 1, "error": {"class": "GenericError", "desc": )"
              R"("The command qmp_capabilities does not support OOB"}})");
  });
}

TEST_F(SessionTest, GivesUpWhoHoldsMostOfTheMemory) {
  run([](SessionTest& test) -> Task<void> {
    auto modest = co_await test.negotiated();
    auto greedy = co_await test.negotiated();
    co_await modest->send("{'execute': 'echo', 'id': '" + std::string(300 << 10, 'm'));
    std::string much = "'" + std::string(1000 << 10, 'g');
    const async::IoVec iov(much.data(), much.size());
    (void)co_await greedy->stream().send(iov);  // it is closed before it has sent all
    co_await test.settle([&] { return test.monitor_->client_count() == 1; });
    EXPECT_EQ(co_await greedy->next(),
              R"({"error": {"class": "GenericError", "desc": )"
              R"("The monitors' clients hold more than 1 MiB, this one most of it"}})");
    EXPECT_EQ(co_await greedy->next(), "end");
    const std::string answer = co_await modest->ask("'}");
    EXPECT_TRUE(answer.starts_with(R"({"return": {}, "id": "mmm)")) << answer.substr(0, 100);
    EXPECT_EQ(test.budget_.used_bytes(), 0u);
  });
}

TEST_F(SessionTest, CountsRequestsThatWait) {
  run([](SessionTest& test) -> Task<void> {
    auto peer = co_await test.negotiated();
    co_await peer->send("{'execute': 'slow'}");
    const std::string big =
        "{'execute': 'echo', 'arguments': {'x': '" + std::string(100 << 10, 'x');
    for (int i = 0; i < 4; ++i) co_await peer->send(big + "'}}");
    co_await test.settle([&] { return test.budget_.used_bytes() > (300 << 10); });
    test.commands_.release.set();
    EXPECT_EQ(co_await peer->next(), R"({"return": {}})");
    for (int i = 0; i < 4; ++i) EXPECT_GT((co_await peer->next()).size(), 100u << 10);
    EXPECT_EQ(test.budget_.used_bytes(), 0u);
  });
}

TEST_F(SessionTest, CountsWhatARunningCommandHolds) {
  run([](SessionTest& test) -> Task<void> {
    auto peer = co_await test.negotiated();
    co_await peer->send("{'execute': 'slow', 'id': '" + std::string(200 << 10, 'x') + "'}");
    co_await test.settle([&] { return test.commands_.started == 1; });
    EXPECT_GT(test.budget_.used_bytes(), 100u << 10);
    test.commands_.release.set();
    EXPECT_GT((co_await peer->next()).size(), 200u << 10);
    EXPECT_EQ(test.budget_.used_bytes(), 0u);
  });
}

TEST_F(SessionTest, TakesAMessageInCrumbs) {
  run([](SessionTest& test) -> Task<void> {
    auto peer = co_await test.negotiated();
    for (char c : "{'execute': 'echo', 'id': '" + std::string(1000, 'x') + "'}") {
      co_await peer->send(std::string(1, c));
      co_await async::Loop::current().sleep_for(1us);
    }
    EXPECT_EQ(co_await peer->next(),
              R"({"return": {}, "id": ")" + std::string(1000, 'x') + R"("})");
  });
}

TEST_F(SessionTest, RefusesClientsBeyondItsLimit) {
  max_clients_ = 2;
  run([](SessionTest& test) -> Task<void> {
    auto first = co_await test.negotiated();
    auto second = co_await test.negotiated();
    auto third = test.connect();
    EXPECT_EQ(co_await third->text_until("\n"), "full\r\n");
    EXPECT_EQ(co_await third->next(), "end");
    second.reset();
    co_await test.settle([&] { return test.monitor_->client_count() == 1; });
    EXPECT_EQ(co_await (co_await test.negotiated())->ask("{'execute': 'echo'}"),
              R"({"return": {}})");
  });
}

TEST_F(SessionTest, BoundsAnswersOutOfBandToo) {
  run([](SessionTest& test) -> Task<void> {
    auto peer = co_await test.negotiated();
    const std::string text(4000, 'x');
    std::string requests;
    for (int i = 0; i < 300; ++i) {
      requests += "{'exec-oob': 'urgent', 'arguments': {'x': '" + text + "'}}";
    }
    async::TaskScope scope;
    scope.spawn(peer->send(requests));
    int started = -1;
    while (std::exchange(started, test.commands_.started) != test.commands_.started) {
      co_await async::Loop::current().sleep_for(50ms);
    }
    EXPECT_LT(started, 200);  // a socket's buffer, and the queue's room
    for (int i = 0; i < 300; ++i) EXPECT_GT((co_await peer->next()).size(), text.size());
    co_await scope.join();
  });
}

TEST_F(SessionTest, HoldsBackEventsThatComeTooOften) {
  run([](SessionTest& test) -> Task<void> {
    auto peer = co_await test.negotiated();
    const auto emit = [&](std::string_view node, int count) {
      test.events_.emit({{"event", "QUORUM_REPORT_BAD"},
                         {"data", json::object{{"node-name", node}, {"count", count}}}});
    };
    const auto begun = std::chrono::steady_clock::now();
    for (int i = 0; i < 5; ++i) emit("a", i);
    emit("b", 7);
    test.events_.emit({{"event", "FREE"}, {"data", json::object{{"n", 1}}}});
    const auto next_is = [&](std::string event) -> Task<void> {
      const std::string text = co_await peer->next();
      EXPECT_TRUE(text.ends_with(event)) << text;
    };
    co_await next_is(R"("data": {"node-name": "a", "count": 0}})");
    co_await next_is(R"("data": {"node-name": "b", "count": 7}})");
    co_await next_is(R"("event": "FREE", "data": {"n": 1}})");
    EXPECT_LT(std::chrono::steady_clock::now() - begun, 900ms);
    co_await next_is(R"("data": {"node-name": "a", "count": 4}})");
    EXPECT_GE(std::chrono::steady_clock::now() - begun, 950ms);
    emit("a", 8);
    emit("b", 9);
    co_await next_is(R"("data": {"node-name": "b", "count": 9}})");
    test.events_.close();  // nothing is lost at the end
    co_await next_is(R"("data": {"node-name": "a", "count": 8}})");
  });
}

TEST_F(SessionTest, SpreadsAnswersOverLinesWhereAsked) {
  pretty_ = true;
  run([](SessionTest& test) -> Task<void> {
    auto peer = test.connect();
    std::string greeting = co_await peer->text_until("}\r\n");
    EXPECT_TRUE(greeting.starts_with("{\r\n    \"QMP\": {\r\n        \"version\"")) << greeting;
  });
}

TEST_F(SessionTest, GivesQemusClassesWhereAsked) {
  errors_ = api::ErrorDialect::kQemu;
  run([](SessionTest& test) -> Task<void> {
    auto peer = co_await test.negotiated();
    EXPECT_EQ(co_await peer->ask("{'execute': 'fails'}"),
              R"({"error": {"class": "GenericError", "desc": "Could not open 'a'"}})");
  });
}

TEST_F(SessionTest, RunsOutOfBandBesideTheQueue) {
  run([](SessionTest& test) -> Task<void> {
    auto peer = co_await test.negotiated();
    co_await peer->send("{'execute': 'slow', 'id': 1} {'exec-oob': 'urgent', 'id': 2}");
    EXPECT_EQ(co_await peer->next(), R"({"return": {}, "id": 2})");
    EXPECT_EQ(co_await peer->ask("{'exec-oob': 'echo', 'id': 3}"),
              R"({"id": 3, "error": {"class": "GenericError", "desc": )"
              R"("The command echo does not support OOB"}})");
    test.commands_.release.set();
    EXPECT_EQ(co_await peer->next(), R"({"return": {}, "id": 1})");
  });
}

TEST_F(SessionTest, OneClientsCommandKeepsNobodyElseWaiting) {
  run([](SessionTest& test) -> Task<void> {
    auto first = co_await test.negotiated();
    auto second = co_await test.negotiated();
    co_await first->send("{'execute': 'slow', 'id': 1}");
    EXPECT_EQ(co_await second->ask("{'execute': 'echo', 'id': 2}"), R"({"return": {}, "id": 2})");
    test.commands_.release.set();
    EXPECT_EQ(co_await first->next(), R"({"return": {}, "id": 1})");
  });
}

TEST_F(SessionTest, SendsEventsToAllPastNegotiation) {
  run([](SessionTest& test) -> Task<void> {
    auto first = co_await test.negotiated();
    auto second = co_await test.negotiated();
    auto third = test.connect();
    co_await third->next();
    test.events_.emit({{"event", "HELLO"}, {"data", json::object{{"n", 1}}}});
    for (Peer* peer : {first.get(), second.get()}) {
      std::string event = co_await peer->next();
      EXPECT_TRUE(event.starts_with(R"({"timestamp": {"seconds": )")) << event;
      EXPECT_TRUE(event.ends_with(R"(, "event": "HELLO", "data": {"n": 1}})")) << event;
    }
    // The third hears of nothing before the answer to what it asks.
    EXPECT_EQ(co_await third->ask("{'execute': 'qmp_capabilities'}"), R"({"return": {}})");
  });
}

TEST_F(SessionTest, AnswersWhatAClientAskedBeforeItStoppedSending) {
  run([](SessionTest& test) -> Task<void> {
    auto peer = co_await test.negotiated();
    co_await peer->send("{'execute': 'echo', 'id': 1} {'execute': 'echo', 'id': 2} 17");
    peer->stream().shutdown_send();
    EXPECT_EQ(co_await peer->next(), R"({"return": {}, "id": 1})");
    EXPECT_EQ(co_await peer->next(), R"({"return": {}, "id": 2})");
    EXPECT_EQ(co_await peer->next(),
              R"({"error": {"class": "GenericError", "desc": "QMP input must be a JSON object"}})");
    EXPECT_EQ(co_await peer->next(), "end");
  });
}

TEST_F(SessionTest, AClientThatDoesNotReadIsNotAnsweredFurther) {
  run([](SessionTest& test) -> Task<void> {
    auto peer = co_await test.negotiated();
    std::string requests;
    for (int i = 0; i < 80; ++i) requests += "{'execute': 'big'}";
    co_await peer->send(requests);
    auto& loop = async::Loop::current();
    int started = -1;
    while (std::exchange(started, test.commands_.started) != test.commands_.started) {
      co_await loop.sleep_for(50ms);
    }
    EXPECT_LT(started, 40);  // socket buffers, the queue's room and one more
    EXPECT_GE(started, 2);
    // It reads again, and gets every answer.
    for (int i = 0; i < 80; ++i) EXPECT_EQ((co_await peer->next()).size(), (64u << 10) + 14);
  });
}

TEST_F(SessionTest, AClientThatLeavesItsEventsIsClosed) {
  run([](SessionTest& test) -> Task<void> {
    auto lazy = co_await test.negotiated();
    auto alive = co_await test.negotiated();
    std::string text(100 << 10, 'e');
    for (int i = 0; i < 60; ++i) {
      test.events_.emit({{"event", "E"}, {"data", text}});
      EXPECT_NE(co_await alive->next(), "end");
    }
    while (test.monitor_->client_count() == 2) {
      co_await async::Loop::current().sleep_for(10ms);
    }
    EXPECT_EQ(co_await alive->ask("{'execute': 'echo'}"), R"({"return": {}})");
    std::string last;
    while ((last = co_await lazy->next()) != "end") {
    }
  });
}

TEST_F(SessionTest, DrainsBeforeItCloses) {
  run([](SessionTest& test) -> Task<void> {
    auto peer = co_await test.negotiated();
    auto idle = co_await test.negotiated();
    co_await peer->send("{'execute': 'slow', 'id': 1} {'execute': 'echo', 'id': 2}");
    auto& loop = async::Loop::current();
    while (test.commands_.started == 0) co_await loop.sleep_for(1ms);
    test.commands_.release.set();
    co_await test.monitor_->drain(10s);
    EXPECT_EQ(co_await peer->next(), R"({"return": {}, "id": 1})");
    test.events_.emit({{"event", "LAST"}});
    EXPECT_TRUE((co_await peer->next()).ends_with(R"("event": "LAST"})"));
    co_await test.monitor_->close();
    EXPECT_EQ(co_await peer->next(), "end");  // what was queued behind is not begun
    EXPECT_EQ(test.commands_.started, 1);
  });
}

TEST_F(SessionTest, AClientThatGoesAwayLeavesItsCommandToEnd) {
  run([](SessionTest& test) -> Task<void> {
    auto peer = co_await test.negotiated();
    co_await peer->send("{'execute': 'slow'}");
    auto& loop = async::Loop::current();
    while (test.commands_.started == 0) co_await loop.sleep_for(1ms);
    peer.reset();
    co_await loop.sleep_for(20ms);
    EXPECT_EQ(test.monitor_->client_count(), 1u);
    test.commands_.release.set();
    while (test.monitor_->client_count() != 0) co_await loop.sleep_for(1ms);
  });
}

TEST_F(SessionTest, ServesPeopleLineByLine) {
  hmp_ = true;
  run([](SessionTest& test) -> Task<void> {
    auto peer = test.connect();
    EXPECT_EQ(co_await peer->text_until("(qemu) "), "hello\r\n(qemu) ");
    co_await peer->send("nope a b\n");
    EXPECT_EQ(co_await peer->text_until("(qemu) "), "unknown command: 'nope'\r\n(qemu) ");
    co_await peer->send("\r\n");
    EXPECT_EQ(co_await peer->text_until("(qemu) "), "(qemu) ");
    co_await peer->send("info no");
    co_await peer->send("pe\n");
    EXPECT_EQ(co_await peer->text_until("(qemu) "), "unknown command: 'info nope'\r\n(qemu) ");
    co_await peer->send("block_resize vda\n");
    EXPECT_EQ(co_await peer->text_until("(qemu) "),
              "invalid size\r\nTry \"help block_resize\" for more information\r\n(qemu) ");
    co_await peer->send(std::string(HmpSession::kMaxLineBytes + 10, 'x') + "\n");
    EXPECT_EQ(co_await peer->text_until("(qemu) "),
              "the line is longer than 65536 bytes\r\n(qemu) ");
    co_await peer->send("quit\n");
    EXPECT_EQ(co_await peer->text_until("(qemu) "),
              "Error: The command quit has not been found\r\n(qemu) ");
  });
}

}  // namespace
}  // namespace firn::qmp
