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
constexpr api::CommandEntry kSilent{.name = "silent", .success_response = false};

class FakeCommands final : public Commands {
 public:
  const api::CommandEntry* find(std::string_view name) const override {
    for (const api::CommandEntry* info : {&kEcho, &kSlow, &kUrgent, &kBig, &kFails, &kSilent}) {
      if (info->name == name) return info;
    }
    return nullptr;
  }
  Task<Result<JsonValue>> run(const api::CommandEntry& command, json::object arguments) override {
    ++started;
    if (&command == &kSlow) co_await release.wait();
    if (&command == &kBig) co_return JsonValue(std::string(64 << 10, 'x'));
    if (&command == &kFails) {
      co_return fail(
          base::Error(ErrorKind::kOpenFileFailed, "Could not open 'a'").with_data("filename", "a"));
    }
    co_return JsonValue(std::move(arguments));
  }

  async::Event release;
  int started = 0;
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
    monitor_ = std::make_unique<Monitor>("test", [this](std::unique_ptr<async::Stream> stream) {
      return make_client(std::move(stream));
    });
    co_await body(*this);
    co_await monitor_->close();
    EXPECT_EQ(monitor_->client_count(), 0u);
    monitor_.reset();
  }
  std::unique_ptr<Client> make_client(std::unique_ptr<async::Stream> stream) {
    if (hmp_) return std::make_unique<HmpSession>(std::move(stream), commands_, "hello");
    return std::make_unique<Session>(std::move(stream), commands_, events_,
                                     *base::parse_json("{'package': 'p'}"),
                                     SessionOptions{.pretty = pretty_, .errors = errors_});
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
  std::unique_ptr<Monitor> monitor_;
  api::ErrorDialect errors_ = api::ErrorDialect::kClasses;
  bool hmp_ = false;
  bool pretty_ = false;
};

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

TEST_F(SessionTest, SpreadsAnswersOverLinesWhereAsked) {
  pretty_ = true;
  run([](SessionTest& test) -> Task<void> {
    auto peer = test.connect();
    std::string greeting = co_await peer->text_until("}\r\n");
    EXPECT_TRUE(greeting.starts_with("{\n    \"QMP\": {\n        \"version\"")) << greeting;
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
