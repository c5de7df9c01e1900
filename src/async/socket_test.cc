#include "async/socket.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <pty.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "async/runtime.h"
#include "async/scope.h"
#include "async/testing.h"

namespace firn::async {
namespace {

using base::ErrorKind;
using std::chrono::milliseconds;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class SocketTest : public testing::LoopTest {
 protected:
  ~SocketTest() override {
    if (!directory_.empty()) std::filesystem::remove_all(directory_);
  }
  // Made when it is first asked for: a death test's process would leave it behind.
  std::string path(const std::string& name) {
    if (directory_.empty()) {
      directory_ = ::testing::TempDir() + "/firn_socket_test_XXXXXX";
      CHECK(mkdtemp(directory_.data()) != nullptr);
    }
    return directory_ + "/" + name;
  }

 private:
  std::string directory_;
};
INSTANTIATE_TEST_SUITE_P(Engines, SocketTest, testing::engines(), testing::engine_name);

Network& network() { return Loop::current().network(); }

Task<std::unique_ptr<Listener>> must_listen(SocketAddress address) {
  auto listener = co_await network().listen(std::move(address));
  EXPECT_TRUE(listener.has_value()) << (listener ? "" : listener.error().text());
  CHECK(listener.has_value());
  co_return std::move(*listener);
}

struct Pair {
  std::unique_ptr<Stream> client;
  std::unique_ptr<Stream> server;
};

Task<void> accept_one(Listener& listener, std::unique_ptr<Stream>& into) {
  auto accepted = co_await listener.accept();
  if (accepted) into = std::move(*accepted);
}

Task<Pair> connect_pair(SocketAddress address) {
  auto listener = co_await must_listen(std::move(address));
  Pair pair;
  TaskScope scope;
  scope.spawn(accept_one(*listener, pair.server));
  auto client = co_await network().connect(listener->address());
  EXPECT_TRUE(client.has_value()) << (client ? "" : client.error().text());
  pair.client = std::move(*client);
  co_await scope.join();
  CHECK(pair.server != nullptr);
  co_return pair;
}

Task<base::Result<>> send_text(Stream& stream, std::string text) {
  const IoVec iov(text.data(), text.size());
  co_return co_await stream.send(iov);
}

Task<base::Result<std::string>> receive_text(Stream& stream) {
  std::string text(256, '\0');
  const IoVec iov(text.data(), text.size());
  const uint64_t got = CO_TRY(co_await stream.receive(iov));
  text.resize(got);
  co_return text;
}

std::vector<uint8_t> pattern(size_t size) {
  std::vector<uint8_t> bytes(size);
  for (size_t i = 0; i != size; ++i) bytes[i] = static_cast<uint8_t>(i * 31 + (i >> 11));
  return bytes;
}

// Data --------------------------------------------------------------------------------------------

Task<void> echo(Stream& stream) {
  std::vector<uint8_t> buffer(100'000);
  const IoVec iov(buffer.data(), buffer.size());
  while (true) {
    const auto got = co_await stream.receive(iov);
    if (!got || *got == 0) break;
    const IoVec back(buffer.data(), *got);
    if (!co_await stream.send(back)) break;
  }
  stream.shutdown_send();
}

Task<void> send_in_pieces(Stream& stream, std::vector<uint8_t>& bytes, size_t piece_count) {
  IoVec iov;
  const size_t piece = bytes.size() / piece_count;
  for (size_t at = 0; at < bytes.size(); at += piece) {
    iov.append(bytes.data() + at, std::min(piece, bytes.size() - at));
  }
  EXPECT_TRUE((co_await stream.send(iov)).has_value());
  stream.shutdown_send();
}

Task<void> receive_all(Stream& stream, std::vector<uint8_t>& bytes) {
  std::vector<uint8_t> buffer(70'000);
  IoVec iov(buffer.data(), 1000);  // in two pieces
  iov.append(buffer.data() + 1000, buffer.size() - 1000);
  while (true) {
    const auto got = co_await stream.receive(iov);
    EXPECT_TRUE(got.has_value());
    if (!got || *got == 0) co_return;
    bytes.insert(bytes.end(), buffer.begin(), buffer.begin() + static_cast<ptrdiff_t>(*got));
  }
}

// More than any socket's buffer holds, so that sending waits for receiving and back.
Task<void> echo_much(SocketAddress address) {
  Pair pair = co_await connect_pair(std::move(address));
  std::vector<uint8_t> sent = pattern(20'000'000);
  std::vector<uint8_t> received;
  TaskScope scope;
  scope.spawn(echo(*pair.server));
  scope.spawn(send_in_pieces(*pair.client, sent, 5000));
  scope.spawn(receive_all(*pair.client, received));
  co_await scope.join();
  EXPECT_EQ(received.size(), sent.size());
  EXPECT_TRUE(received == sent);
}

TEST_P(SocketTest, EchoesMuchOverUnix) { run(echo_much(SocketAddress::of_unix(path("s")))); }
TEST_P(SocketTest, EchoesMuchOverTcp) { run(echo_much(SocketAddress::of_inet("127.0.0.1", "0"))); }

Task<void> echo_much_elsewhere(std::unique_ptr<Stream> stream) {
  auto adopted = network().adopt(std::move(stream));
  co_await echo(**adopted);
}

Task<void> serve_on(Loop& other, SocketAddress address) {
  Pair pair = co_await connect_pair(std::move(address));
  // It has waited on this loop before, and leaves nothing behind.
  TaskScope scope;
  scope.spawn([](Stream& stream) -> Task<void> {
    EXPECT_EQ((co_await receive_text(stream)).value(), "first");
  }(*pair.server));
  co_await Loop::current().sleep_for(milliseconds(2));
  EXPECT_TRUE((co_await send_text(*pair.client, "first")).has_value());
  co_await scope.join();

  std::vector<uint8_t> sent = pattern(3'000'000);
  std::vector<uint8_t> received;
  scope.spawn(call_on(other, echo_much_elsewhere(std::move(pair.server))));
  scope.spawn(send_in_pieces(*pair.client, sent, 100));
  scope.spawn(receive_all(*pair.client, received));
  co_await scope.join();
  EXPECT_TRUE(received == sent);
}

TEST_P(SocketTest, AStreamMovesBetweenLoops) {
  Loop* const other = runtime().add_loop("io0").value();
  run(serve_on(*other, SocketAddress::of_unix(path("s"))));
}

Task<void> spin(const bool& stop) {
  while (!stop) co_await Loop::current().yield();
}

Task<bool> receive_beside_a_spinner(SocketAddress address) {
  Pair pair = co_await connect_pair(std::move(address));
  bool stop = false;
  TaskScope scope;
  scope.spawn(spin(stop));
  scope.spawn([](Stream& stream, bool& stop) -> Task<void> {
    EXPECT_EQ((co_await receive_text(stream)).value(), "now");
    stop = true;
  }(*pair.server, stop));
  co_await Loop::current().sleep_for(milliseconds(3));
  EXPECT_FALSE(stop);
  EXPECT_TRUE((co_await send_text(*pair.client, "now")).has_value());
  // A loop that never asks the kernel while something is ready never comes past here.
  const bool in_time = co_await [](const bool& stop) -> Task<bool> {
    for (int i = 0; i != 2000 && !stop; ++i) co_await Loop::current().sleep_for(milliseconds(1));
    co_return stop;
  }(stop);
  stop = true;
  pair.server->close();
  co_await scope.join();
  co_return in_time;
}

TEST_P(SocketTest, WhoeverYieldsForEverDoesNotStarveTheNetwork) {
  EXPECT_TRUE(run(receive_beside_a_spinner(SocketAddress::of_unix(path("s")))));
}

// Ends --------------------------------------------------------------------------------------------

Task<void> expect_cancelled(Stream& stream, int& ended) {
  const auto got = co_await receive_text(stream);
  EXPECT_EQ(got.error().kind(), ErrorKind::kCancelled);
  ++ended;
}

Task<void> send_until_cancelled(Stream& stream, int& ended) {
  std::vector<uint8_t> much(30'000'000);
  const IoVec iov(much.data(), much.size());
  const auto sent = co_await stream.send(iov);
  EXPECT_EQ(sent.error().kind(), ErrorKind::kCancelled);
  ++ended;
}

Task<void> close_in_flight(SocketAddress address) {
  Pair pair = co_await connect_pair(std::move(address));
  int ended = 0;
  TaskScope scope;
  scope.spawn(expect_cancelled(*pair.server, ended));
  scope.spawn(send_until_cancelled(*pair.server, ended));
  co_await Loop::current().sleep_for(milliseconds(5));
  EXPECT_EQ(ended, 0);
  pair.server->close();
  pair.server->close();
  EXPECT_EQ(ended, 0);  // later, never inside the call
  co_await scope.join();
  EXPECT_EQ(ended, 2);
  EXPECT_EQ((co_await receive_text(*pair.server)).error().kind(), ErrorKind::kCancelled);
  EXPECT_EQ((co_await send_text(*pair.server, "x")).error().kind(), ErrorKind::kCancelled);
  // The peer notices although the object lives on.
  std::vector<uint8_t> rest(1 << 20);
  const IoVec iov(rest.data(), rest.size());
  while (true) {
    const auto got = co_await pair.client->receive(iov);
    if (!got || *got == 0) break;
  }
}

TEST_P(SocketTest, CloseEndsWhatIsInFlight) {
  run(close_in_flight(SocketAddress::of_unix(path("s"))));
  run(close_in_flight(SocketAddress::of_inet("localhost", "0")));
}

// Closed in the very turn in which its data arrives, and destroyed at once: a thousand times, for
// whatever the kernel still holds.
Task<void> race_close(SocketAddress address) {
  auto listener = co_await must_listen(std::move(address));
  for (int i = 0; i != 300; ++i) {
    Pair pair;
    TaskScope scope;
    scope.spawn(accept_one(*listener, pair.server));
    pair.client = (co_await network().connect(listener->address())).value();
    co_await scope.join();
    int received = 0;
    scope.spawn([](Stream& stream, int& received) -> Task<void> {
      while (const auto got = co_await receive_text(stream)) {
        if (got->empty()) break;
        received += static_cast<int>(got->size());
      }
    }(*pair.server, received));
    if (i % 3 != 0) EXPECT_TRUE((co_await send_text(*pair.client, "hello")).has_value());
    if (i % 2 != 0) co_await Loop::current().yield();
    pair.server->close();
    co_await scope.join();
    EXPECT_TRUE(received == 0 || received == 5);
  }
}

TEST_P(SocketTest, CloseRacesWithData) { run(race_close(SocketAddress::of_unix(path("s")))); }

Task<void> lose_the_peer(SocketAddress address) {
  Pair pair = co_await connect_pair(std::move(address));
  EXPECT_TRUE((co_await send_text(*pair.client, "bye")).has_value());
  pair.client.reset();
  EXPECT_EQ((co_await receive_text(*pair.server)).value(), "bye");
  EXPECT_EQ((co_await receive_text(*pair.server)).value(), "");
  // An error and no signal, at the latest by the second send.
  base::Result<> sent;
  for (int i = 0; i != 100 && sent; ++i) {
    sent = co_await send_text(*pair.server, "anyone?");
    co_await Loop::current().sleep_for(milliseconds(1));
  }
  EXPECT_EQ(sent.error().kind(), ErrorKind::kIo);
}

TEST_P(SocketTest, APeerThatIsGoneGivesErrorsNotSignals) {
  std::signal(SIGPIPE, SIG_DFL);
  run(lose_the_peer(SocketAddress::of_unix(path("s"))));
  run(lose_the_peer(SocketAddress::of_inet("127.0.0.1", "0")));
}

// Listening ---------------------------------------------------------------------------------------

Task<void> serve_many(Listener& listener, int count, TaskScope& scope,
                      std::vector<std::unique_ptr<Stream>>& streams) {
  for (int i = 0; i != count; ++i) {
    auto stream = co_await listener.accept();
    if (!stream) co_return;
    streams.push_back(std::move(*stream));
    scope.spawn(echo(*streams.back()));
  }
}

Task<void> be_a_client(SocketAddress address, int number, int& good) {
  auto stream = co_await network().connect(std::move(address));
  if (!stream) co_return;
  const std::string text = "client " + std::to_string(number);
  if (!co_await send_text(**stream, text)) co_return;
  const auto answer = co_await receive_text(**stream);
  if (answer && *answer == text) ++good;
}

Task<int> many_clients(SocketAddress address, int count) {
  auto listener = co_await must_listen(std::move(address));
  std::vector<std::unique_ptr<Stream>> streams;
  int good = 0;
  TaskScope scope;
  scope.spawn(serve_many(*listener, count, scope, streams));
  for (int i = 0; i != count; ++i) scope.spawn(be_a_client(listener->address(), i, good));
  co_await scope.join();
  co_return good;
}

// More than the queue of clients to be accepted holds.
TEST_P(SocketTest, ManyClientsAtOnce) {
  EXPECT_EQ(run(many_clients(SocketAddress::of_unix(path("s")), 400)), 400);
  EXPECT_EQ(run(many_clients(SocketAddress::of_inet("127.0.0.1", "0"), 400)), 400);
}

Task<void> close_a_listener(std::string path) {
  auto listener = co_await must_listen(SocketAddress::of_unix(path));
  std::unique_ptr<Stream> none;
  bool ended = false;
  TaskScope scope;
  scope.spawn([](Listener& listener, bool& ended) -> Task<void> {
    EXPECT_EQ((co_await listener.accept()).error().kind(), ErrorKind::kCancelled);
    ended = true;
  }(*listener, ended));
  co_await Loop::current().sleep_for(milliseconds(1));
  EXPECT_TRUE(std::filesystem::exists(path));
  listener->close();
  EXPECT_FALSE(std::filesystem::exists(path));
  EXPECT_FALSE(ended);
  co_await scope.join();
  EXPECT_TRUE(ended);
  EXPECT_EQ((co_await listener->accept()).error().kind(), ErrorKind::kCancelled);
  EXPECT_EQ((co_await network().connect(SocketAddress::of_unix(path))).error().text(),
            "Failed to connect to '" + path + "': No such file or directory");
  // The same path serves again at once, and the old listener's end doesn't touch the new one's.
  auto next = co_await must_listen(SocketAddress::of_unix(path));
  listener.reset();
  EXPECT_TRUE(std::filesystem::exists(path));
}

TEST_P(SocketTest, ClosingAListenerEndsAcceptAndRemovesItsFile) {
  run(close_a_listener(path("s")));
}

void leave_stale_socket(const std::string& path) {
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  ASSERT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(::listen(fd, 1), 0);
  ::close(fd);
}

Task<void> listen_over_others(std::string stale, std::string file) {
  auto listener = co_await must_listen(SocketAddress::of_unix(stale));
  const auto second = co_await network().listen(SocketAddress::of_unix(stale));
  EXPECT_EQ(second.error().kind(), ErrorKind::kBusy);
  EXPECT_EQ(second.error().text(),
            "Failed to bind socket to " + stale + ": Address already in use");
  EXPECT_FALSE(second.error().hint().empty());
  // What is no socket is never removed.
  const auto over_file = co_await network().listen(SocketAddress::of_unix(file));
  EXPECT_EQ(over_file.error().kind(), ErrorKind::kBusy);
  EXPECT_TRUE(std::filesystem::is_regular_file(file));
  const auto nowhere = co_await network().listen(SocketAddress::of_unix(file + "/s"));
  EXPECT_EQ(nowhere.error().text(), "Failed to bind socket to " + file + "/s: Not a directory");
}

TEST_P(SocketTest, OnlyAStaleSocketIsReplaced) {
  leave_stale_socket(path("s"));
  ::close(::open(path("f").c_str(), O_CREAT | O_WRONLY, 0600));
  run(listen_over_others(path("s"), path("f")));
}

Task<void> use_addresses(std::string path) {
  const auto too_long = co_await network().listen(SocketAddress::of_unix(std::string(200, 'x')));
  EXPECT_EQ(too_long.error().kind(), ErrorKind::kInvalidArgument);
  EXPECT_THAT(too_long.error().text(), HasSubstr("too long"));

  for (const bool tight : {true, false}) {
    SocketAddress abstract;
    abstract.local = {.path = path, .abstract = true, .tight = tight};
    Pair pair = co_await connect_pair(abstract);
    EXPECT_EQ(pair.server->peer_name(), "unix:@" + path);
    EXPECT_FALSE(std::filesystem::exists(path));
  }
  {
    Pair pair = co_await connect_pair(SocketAddress::of_unix(path));
    const auto peer = pair.server->peer_credentials();
    EXPECT_EQ(peer->pid, ::getpid());
    EXPECT_EQ(peer->uid, ::geteuid());
    EXPECT_EQ(peer->gid, ::getegid());
    std::vector<gid_t> groups(static_cast<size_t>(::getgroups(0, nullptr)));
    EXPECT_GE(::getgroups(static_cast<int>(groups.size()), groups.data()), 0);
    EXPECT_EQ(peer->groups, groups);
    EXPECT_EQ(pair.server->peer_name(), "unix:" + path);
    EXPECT_FALSE(pair.server->peer_is_gone());
    pair.client->shutdown_send();
    EXPECT_FALSE(pair.server->peer_is_gone());
    pair.client->close();
    EXPECT_TRUE(pair.server->peer_is_gone());
  }
  {
    Pair pair = co_await connect_pair(SocketAddress::of_inet("127.0.0.1", "0"));
    EXPECT_FALSE(pair.server->peer_credentials().has_value());
    EXPECT_THAT(pair.server->peer_name(), StartsWith("127.0.0.1:"));
  }
  // No host: every address there is, all with one port.
  auto everywhere = co_await must_listen(SocketAddress::of_inet("", "0"));
  const std::string port = everywhere->address().inet.port;
  EXPECT_NE(port, "0");
  std::unique_ptr<Stream> server;
  TaskScope scope;
  scope.spawn(accept_one(*everywhere, server));
  EXPECT_TRUE((co_await network().connect(SocketAddress::of_inet("127.0.0.1", port))).has_value());
  co_await scope.join();
  const auto taken = co_await network().listen(SocketAddress::of_inet("127.0.0.1", port));
  EXPECT_EQ(taken.error().kind(), ErrorKind::kBusy);
  everywhere.reset();
  const auto refused = co_await network().connect(SocketAddress::of_inet("127.0.0.1", port));
  EXPECT_EQ(refused.error().text(),
            "Failed to connect to '127.0.0.1:" + port + "': Connection refused");
  const auto unknown = co_await network().connect(SocketAddress::of_inet("127.0.0.1", "no-such"));
  EXPECT_THAT(unknown.error().text(), HasSubstr("address resolution failed for 127.0.0.1:no-such"));
}

TEST_P(SocketTest, AddressesOfAllKinds) { run(use_addresses(path("s"))); }

Task<void> run_out_of_files(std::string path) {
  auto listener = co_await must_listen(SocketAddress::of_unix(path));
  auto client = co_await network().connect(SocketAddress::of_unix(path));
  rlimit before{};
  ::getrlimit(RLIMIT_NOFILE, &before);
  rlimit none = before;
  none.rlim_cur = 3;
  ::setrlimit(RLIMIT_NOFILE, &none);
  const auto refused = co_await listener->accept();
  ::setrlimit(RLIMIT_NOFILE, &before);
  EXPECT_THAT(refused.error().text(), HasSubstr("Too many open files"));
  EXPECT_TRUE((co_await listener->accept()).has_value());
}

TEST_P(SocketTest, AcceptSurvivesALackOfDescriptors) { run(run_out_of_files(path("s"))); }

Task<void> take_over_listener(std::string path) {
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un raw{.sun_family = AF_UNIX, .sun_path = {}};
  std::strncpy(raw.sun_path, path.c_str(), sizeof raw.sun_path - 1);
  // Without an address nobody finds it; with one it may listen already or not.
  EXPECT_EQ(network().adopt_listener(fd).error().kind(), ErrorKind::kInvalidArgument);
  EXPECT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&raw), sizeof raw), 0);
  const int others = ::dup(fd);
  {
    auto listener = network().adopt_listener(fd);
    EXPECT_EQ((*listener)->address().to_string(), "unix:" + path);
    std::unique_ptr<Stream> server;
    TaskScope scope;
    scope.spawn(accept_one(**listener, server));
    auto client = co_await network().connect(SocketAddress::of_unix(path));
    co_await scope.join();
    EXPECT_NE(server, nullptr);
  }
  // Whoever made it keeps it.
  EXPECT_TRUE((co_await network().connect(SocketAddress::of_unix(path))).has_value());
  ::close(others);
}

TEST_P(SocketTest, AdoptsAListener) { run(take_over_listener(path("s"))); }

// Descriptors that are handed over ----------------------------------------------------------------

Task<void> use_pipes() {
  int forth[2];
  int back[2];
  EXPECT_EQ(::pipe2(forth, O_CLOEXEC), 0);
  EXPECT_EQ(::pipe2(back, O_CLOEXEC), 0);
  const int flags = ::fcntl(forth[0], F_GETFL);
  const int observer = ::dup(forth[0]);
  auto near = network().adopt_fds(forth[0], back[1], "stdio");
  auto far = network().adopt_fds(back[0], forth[1], "far");
  EXPECT_EQ((*near)->peer_name(), "stdio");
  EXPECT_EQ(::fcntl(observer, F_GETFL), flags);  // those who share it see no change
  ::close(observer);

  std::vector<uint8_t> sent = pattern(3'000'000);
  std::vector<uint8_t> received;
  TaskScope scope;
  scope.spawn(echo(**near));
  scope.spawn(send_in_pieces(**far, sent, 100));
  scope.spawn(receive_all(**far, received));
  co_await scope.join();
  EXPECT_TRUE(received == sent);

  const auto bad = network().adopt_fds(-1, -1, "fd");
  EXPECT_FALSE(bad.has_value());
}

TEST_P(SocketTest, PipesAreStreams) { run(use_pipes()); }

Task<void> use_terminal() {
  int master = -1;
  int slave = -1;
  EXPECT_EQ(::openpty(&master, &slave, nullptr, nullptr, nullptr), 0);
  auto stream = network().adopt_fds(slave, slave, "stdio");
  int ended = 0;
  TaskScope scope;
  scope.spawn([](Stream& stream) -> Task<void> {
    EXPECT_EQ((co_await receive_text(stream)).value(), "typed\n");
  }(**stream));
  co_await Loop::current().sleep_for(milliseconds(2));
  EXPECT_EQ(::write(master, "typed\n", 6), 6);
  co_await scope.join();
  EXPECT_TRUE((co_await send_text(**stream, "shown")).has_value());
  scope.spawn(expect_cancelled(**stream, ended));
  co_await Loop::current().sleep_for(milliseconds(2));
  (*stream)->close();
  co_await scope.join();
  ::close(master);
}

TEST_P(SocketTest, TerminalsAreStreams) { run(use_terminal()); }

Task<void> use_plain_files(std::string in_path, std::string out_path) {
  const int in = ::open(in_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  EXPECT_EQ(::write(in, "line\n", 5), 5);
  EXPECT_EQ(::lseek(in, 0, SEEK_SET), 0);
  const int out = ::open(out_path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  {
    auto stream = network().adopt_fds(in, out, "stdio");
    EXPECT_EQ((co_await receive_text(**stream)).value(), "line\n");
    EXPECT_EQ((co_await receive_text(**stream)).value(), "");
    EXPECT_TRUE((co_await send_text(**stream, std::string(10'000, 'x'))).has_value());
  }
  EXPECT_EQ(std::filesystem::file_size(out_path), 10'000u);
}

TEST_P(SocketTest, RedirectedFilesAreStreams) { run(use_plain_files(path("in"), path("out"))); }

// Descriptors -----------------------------------------------------------------------------------

struct Sink final : DescriptorSink {
  void on_descriptors(std::span<const int> fds, uint64_t position) override {
    positions.push_back(position);
    counts.push_back(fds.size());
    for (const int fd : fds) {
      EXPECT_TRUE(::fcntl(fd, F_GETFD) & FD_CLOEXEC);
      ::close(fd);
    }
  }
  std::vector<uint64_t> positions;
  std::vector<size_t> counts;
};

void send_with_descriptors(int socket, std::string_view text, size_t count) {
  const std::vector<int> fds(count, STDERR_FILENO);
  std::vector<std::byte> control(CMSG_SPACE(count * sizeof(int)));
  iovec piece{const_cast<char*>(text.data()), text.size()};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  cmsghdr* const header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(count * sizeof(int));
  std::memcpy(CMSG_DATA(header), fds.data(), count * sizeof(int));
  EXPECT_EQ(::sendmsg(socket, &message, 0), static_cast<ssize_t>(text.size()));
}

Task<void> pass_descriptors() {
  int fds[2];
  CHECK(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
  auto stream = network().adopt_fds(fds[0], fds[0], "pair").value();
  Sink sink;
  stream->set_descriptor_sink(&sink);
  EXPECT_EQ(::write(fds[1], "plain", 5), 5);
  EXPECT_EQ(co_await receive_text(*stream), "plain");
  send_with_descriptors(fds[1], "three", 3);
  EXPECT_EQ(co_await receive_text(*stream), "three");
  // The most that one message takes, for a receive that waits already.
  std::string late;
  TaskScope scope;
  scope.spawn([](Stream& stream, std::string& late) -> Task<void> {
    late = (co_await receive_text(stream)).value_or("");
  }(*stream, late));
  co_await Loop::current().sleep_for(milliseconds(2));
  send_with_descriptors(fds[1], "many", 253);
  co_await scope.join();
  EXPECT_EQ(late, "many");
  EXPECT_EQ(sink.positions, (std::vector<uint64_t>{5, 10}));
  EXPECT_EQ(sink.counts, (std::vector<size_t>{3, 253}));
  ::close(fds[1]);
}
TEST_P(SocketTest, DescriptorsComeWithTheirBytes) { run(pass_descriptors()); }

Task<void> adopt_by_address(std::string path) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in raw{.sin_family = AF_INET, .sin_port = 0, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  EXPECT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&raw), sizeof raw), 0);
  auto pair = co_await connect_pair(SocketAddress::of_fd(fd));
  EXPECT_EQ(pair.client->peer_name(), pair.server->local_name());
  EXPECT_EQ(pair.server->peer_name(), pair.client->local_name());
  auto local = co_await connect_pair(SocketAddress::of_unix(path));
  EXPECT_EQ(local.client->local_name(), "");
  EXPECT_EQ(SocketAddress::of_fd(7).to_string(), "fd:7");
}
TEST_P(SocketTest, DescriptorsAreAddresses) { run(adopt_by_address(path("s"))); }

// Signals -----------------------------------------------------------------------------------------

Task<void> wait_for_signals(Loop& loop) {
  auto source = make_signal_source(loop).value();
  int seen = 0;
  TaskScope scope;
  scope.spawn([](SignalSource& source, int& seen) -> Task<void> { seen = co_await source.wait(); }(
                                                      *source, seen));
  co_await loop.sleep_for(milliseconds(2));
  EXPECT_EQ(seen, 0);
  ::kill(::getpid(), SIGTERM);
  co_await scope.join();
  EXPECT_EQ(seen, SIGTERM);
  scope.spawn([](SignalSource& source, int& seen) -> Task<void> { seen = co_await source.wait(); }(
                                                      *source, seen));
  co_await loop.sleep_for(milliseconds(2));
  source->close();
  co_await scope.join();
  EXPECT_EQ(seen, -1);
}

// In a process of its own: other tests' threads don't block these signals.
TEST_P(SocketTest, SignalsAreValues) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        block_signals();
        testing::run_on_loop(
            [](RuntimeOptions::Engine) -> Task<void> {
              co_await wait_for_signals(Loop::current());
            }(GetParam()),
            {.engine = GetParam()});
        std::_Exit(HasFailure() ? 1 : 0);
      },
      ::testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace firn::async
