#include "async/sim_network.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>

#include "async/scope.h"
#include "async/sim_world.h"

namespace firn::async {
namespace {

using std::chrono::milliseconds;
using OpenStream = std::unique_ptr<Stream>;

std::string pattern(size_t size) {
  std::string bytes(size, '\0');
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(i * 31 + i / 251);
  return bytes;
}

// Everything until the end of the stream; `error` is what ended it otherwise.
Task<std::string> receive_all(Stream& stream, int& error) {
  std::string all;
  char buffer[1000];
  const IoVec iov(buffer, sizeof buffer);
  error = 0;
  while (true) {
    const auto read = co_await stream.receive(iov);
    if (!read) error = read.error().errno_value();
    if (!read || *read == 0) co_return all;
    all.append(buffer, *read);
  }
}

Task<void> serve_one(Listener& listener, std::string& received, int& error) {
  auto stream = co_await listener.accept();
  EXPECT_TRUE(stream);
  received = co_await receive_all(**stream, error);
  const std::string reply = "thanks";
  std::string copy = reply;
  const IoVec iov(copy.data(), copy.size());
  static_cast<void>(co_await (*stream)->send(iov));
}

Task<void> talk(SimWorld& world, SocketAddress where) {
  auto listener = co_await Loop::current().network().listen(where);
  EXPECT_TRUE(listener);
  std::string received;
  int server_error = 0;
  TaskScope scope;
  scope.spawn(serve_one(**listener, received, server_error));
  auto stream = co_await Loop::current().network().connect((*listener)->address());
  EXPECT_TRUE(stream);
  std::string sent = pattern(300'000);
  const IoVec iov(sent.data(), sent.size());
  EXPECT_TRUE(co_await (*stream)->send(iov));
  (*stream)->shutdown_send();
  int error = 0;
  EXPECT_EQ(co_await receive_all(**stream, error), "thanks");
  co_await scope.join();
  EXPECT_EQ(received, sent);
  EXPECT_EQ(error, 0);
  EXPECT_EQ(server_error, 0);
  if (where.kind == SocketAddress::Kind::kUnix) {
    EXPECT_EQ((*stream)->peer_credentials()->pid, world.observer().credentials.pid);
  } else {
    EXPECT_FALSE((*stream)->peer_credentials());
    EXPECT_NE((*listener)->address().inet.port, "0");
  }
}

TEST(SimNetworkTest, StreamsCarryBytesInOrder) {
  for (uint64_t seed = 0; seed < 30; ++seed) {
    SimWorld world(seed, SimOptions::varied(seed));
    ASSERT_TRUE(world.run(talk(world, SocketAddress::of_unix("/run/x.sock"))));
    ASSERT_TRUE(world.run(talk(world, SocketAddress::of_inet("", "0"))));
  }
}

Task<void> refuse(SimWorld&) {
  Network& network = Loop::current().network();
  EXPECT_EQ((co_await network.connect(SocketAddress::of_unix("/none"))).error().errno_value(),
            ENOENT);
  EXPECT_EQ((co_await network.connect(SocketAddress::of_inet("", "1"))).error().errno_value(),
            ECONNREFUSED);
  auto listener = co_await network.listen(SocketAddress::of_unix("/run/x"));
  EXPECT_EQ((co_await network.listen(SocketAddress::of_unix("/run/x"))).error().kind(),
            base::ErrorKind::kBusy);
  (*listener)->close();
  EXPECT_EQ((co_await (*listener)->accept()).error().kind(), base::ErrorKind::kCancelled);
  EXPECT_TRUE(co_await network.listen(SocketAddress::of_unix("/run/x")));
}

TEST(SimNetworkTest, RefusalsSayWhy) {
  SimWorld world(1);
  ASSERT_TRUE(world.run(refuse(world)));
}

Task<void> expect_end(Stream& stream, int expected, int& ended) {
  int error = 0;
  co_await receive_all(stream, error);
  EXPECT_EQ(error, expected);
  ++ended;
}

Task<void> close_streams(SimWorld& world) {
  auto [a, b] = world.network().make_pair("pair");
  int ended = 0;
  TaskScope scope;
  scope.spawn(expect_end(*a, ECANCELED, ended));
  scope.spawn(expect_end(*b, 0, ended));
  co_await Loop::current().sleep_for(milliseconds(1));
  a->close();
  co_await scope.join();
  EXPECT_EQ(ended, 2);
  std::string bytes = "x";
  const IoVec iov(bytes.data(), bytes.size());
  EXPECT_EQ((co_await b->send(iov)).error().errno_value(), EPIPE);
  EXPECT_EQ((co_await a->send(iov)).error().kind(), base::ErrorKind::kCancelled);
}

TEST(SimNetworkTest, CloseEndsBothSides) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    SimWorld world(seed, SimOptions::varied(seed));
    ASSERT_TRUE(world.run(close_streams(world)));
  }
}

Task<void> serve_until_dead(SimProcess& process) {
  auto listener = co_await Loop::current().network().listen(SocketAddress::of_unix("/run/d"));
  auto stream = co_await (*listener)->accept();
  int error = 0;
  co_await receive_all(**stream, error);
  EXPECT_EQ(error, ESHUTDOWN);
  EXPECT_FALSE(process.alive());
  EXPECT_FALSE(co_await (*listener)->accept());
}

Task<void> kill_the_server(SimWorld& world) {
  SimProcess& server = world.add_process("server");
  server.credentials.uid = 77;
  server.start(serve_until_dead(server));
  co_await Loop::current().sleep_for(milliseconds(100));
  auto stream = co_await Loop::current().network().connect(SocketAddress::of_unix("/run/d"));
  EXPECT_TRUE(stream);
  EXPECT_EQ((*stream)->peer_credentials()->uid, 77u);
  co_await Loop::current().sleep_for(milliseconds(100));
  server.kill();
  int ended = 0;
  co_await expect_end(**stream, ECONNRESET, ended);
  co_await server.wait_ended();
  EXPECT_FALSE(co_await Loop::current().network().connect(SocketAddress::of_unix("/run/d")));
}

TEST(SimNetworkTest, TheDeathOfAPeerIsAReset) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    SimWorld world(seed, SimOptions::varied(seed));
    const auto ran = world.run(kill_the_server(world));
    ASSERT_TRUE(ran) << ran.error().text();
  }
}

Task<void> serve_on(std::unique_ptr<Stream> stream, std::string& received) {
  auto mine = Loop::current().network().adopt(std::move(stream));
  int error = 0;
  received = co_await receive_all(**mine, error);
}

Task<void> move_stream(SimWorld& world) {
  Loop* other = *world.observer().add_loop("io");
  auto [a, b] = world.network().make_pair("pair");
  std::string received;
  const auto send = [](Stream& stream) -> Task<void> {
    std::string bytes = pattern(10'000);
    const IoVec iov(bytes.data(), bytes.size());
    EXPECT_TRUE(co_await stream.send(iov));
    stream.shutdown_send();
  };
  TaskScope scope;
  scope.spawn(send(*a));
  co_await call_on(*other, serve_on(std::move(b), received));
  co_await scope.join();
  EXPECT_EQ(received, pattern(10'000));
  world.observer().remove_loop(other);
}

TEST(SimNetworkTest, AStreamMovesBetweenLoops) {
  SimWorld world(9);
  ASSERT_TRUE(world.run(move_stream(world)));
}

TEST(SimNetworkTest, ConnectionsBreakWhenAskedTo) {
  SimOptions options = SimOptions::usual();
  options.disconnect_probability = 1;
  SimWorld world(1, options);
  const auto body = [](SimWorld& world) -> Task<void> {
    auto [a, b] = world.network().make_pair("pair");
    std::string bytes = pattern(200'000);
    const IoVec iov(bytes.data(), bytes.size());
    EXPECT_EQ((co_await a->send(iov)).error().errno_value(), EPIPE);
    int ended = 0;
    co_await expect_end(*b, ECONNRESET, ended);
  };
  ASSERT_TRUE(world.run(body(world)));
}

}  // namespace
}  // namespace firn::async
