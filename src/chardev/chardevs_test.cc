// The kinds of character devices, with real sockets and terminals.
#include "chardev/chardevs.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "async/scope.h"
#include "async/testing.h"
#include "chardev/ring_buffer.h"

namespace firn::chardev {
namespace {

using async::Loop;
using async::SocketAddress;
using async::Stream;
using async::Task;
using base::Result;
using std::chrono::milliseconds;
using std::chrono::seconds;

Task<bool> send_text(Stream& stream, std::string text) {
  const async::IoVec iov(text.data(), text.size());
  co_return (co_await stream.send(iov)).has_value();
}

// What comes, up to 256 bytes; empty at the end.
Task<std::string> receive_text(Stream& stream) {
  std::string text(256, '\0');
  const async::IoVec iov(text.data(), text.size());
  const auto got = co_await stream.receive(iov);
  text.resize(got.value_or(0));
  co_return text;
}

// A frontend that greets, echoes to the end, and counts.
struct Echo {
  Serve serve() {
    return [this](std::unique_ptr<Stream> stream) { return run(std::move(stream)); };
  }
  Task<void> run(std::unique_ptr<Stream> stream) {
    ++begun;
    open.push_back(stream.get());
    co_await send_text(*stream, "hi");
    while (true) {
      const std::string text = co_await receive_text(*stream);
      if (text.empty() || !co_await send_text(*stream, text)) break;
    }
    std::erase(open, stream.get());
  }
  void close() {
    for (Stream* stream : open) stream->close();
  }
  std::vector<Stream*> open;
  int begun = 0;
};

class ChardevsTest : public async::testing::LoopTest {
 protected:
  ChardevsTest() {
    directory_ = ::testing::TempDir() + "/firn_chardev_test_XXXXXX";
    CHECK(mkdtemp(directory_.data()) != nullptr);
  }
  ~ChardevsTest() override { std::filesystem::remove_all(directory_); }
  std::string path(const std::string& name) const { return directory_ + "/" + name; }

 private:
  std::string directory_;
};
INSTANTIATE_TEST_SUITE_P(Engines, ChardevsTest, async::testing::engines(),
                         async::testing::engine_name);

Task<std::string> try_add(Chardevs& devices, std::string id, Spec spec) {
  auto added = co_await devices.add(std::move(id), std::move(spec), {});
  co_return added ? "" : added.error().text();
}
Task<std::string> try_change(Chardevs& devices, std::string id, Spec spec) {
  auto changed = co_await devices.change(std::move(id), std::move(spec), {});
  co_return changed ? "" : changed.error().text();
}
Task<std::string> try_remove(Chardevs& devices, std::string id) {
  auto removed = co_await devices.remove(std::move(id));
  co_return removed ? "" : removed.error().text();
}
std::string filename(const Chardevs& devices, std::string_view id) {
  for (const auto& info : devices.list()) {
    if (info.label == id) return info.filename;
  }
  return "not there";
}
SocketSpec server(std::string path) { return {.address = SocketAddress::of_unix(std::move(path))}; }
SocketSpec client(std::string path, seconds reconnect = seconds(0)) {
  return {
      .address = SocketAddress::of_unix(std::move(path)), .server = false, .reconnect = reconnect};
}

Task<std::unique_ptr<Stream>> must_connect(std::string path) {
  auto stream = co_await Loop::current().network().connect(SocketAddress::of_unix(std::move(path)));
  CHECK(stream.has_value());
  co_return *std::move(stream);
}

template <typename Condition>
Task<bool> becomes(Condition condition) {
  for (int i = 0; i != 5000; ++i) {
    if (condition()) co_return true;
    co_await Loop::current().sleep_for(milliseconds(1));
  }
  co_return false;
}

Task<void> manage(std::string path) {
  Chardevs devices;
  EXPECT_EQ(co_await try_add(devices, "n", NullSpec()), "");
  EXPECT_EQ(co_await try_add(devices, "n", NullSpec()), "Chardev with id 'n' already exists");
  EXPECT_EQ(co_await try_change(devices, "x", NullSpec()), "Chardev 'x' does not exist");
  EXPECT_EQ(co_await try_remove(devices, "x"), "Chardev 'x' not found");
  // A failed change leaves what was there.
  EXPECT_EQ(co_await try_change(devices, "n", RingSpec{.size_bytes = 3}),
            "size of ringbuf chardev must be power of two");
  EXPECT_EQ(filename(devices, "n"), "null");
  EXPECT_EQ(co_await try_change(devices, "n", RingSpec{.size_bytes = 8}), "");
  (*devices.ring_buffer("n"))->write("kept");
  EXPECT_EQ(co_await try_change(devices, "n", client(path + "nowhere")),
            "Failed to connect to '" + path + "nowhere': No such file or directory");
  EXPECT_EQ((*devices.ring_buffer("n"))->read(9), "kept");
  // A frontend stays.
  Echo echo;
  EXPECT_EQ(devices.attach("x", echo.serve()).error().text(), "chardev \"x\" not found");
  EXPECT_TRUE(devices.attach("n", echo.serve()));
  EXPECT_EQ(devices.attach("n", echo.serve()).error().text(), "Device 'n' is in use");
  EXPECT_EQ(co_await try_remove(devices, "n"), "Chardev 'n' is busy");
  EXPECT_EQ(co_await try_change(devices, "n", NullSpec()),
            "Chardev user does not support chardev hotswap");
  EXPECT_EQ((*devices.ring_buffer("n"))->read(9), "hi");
  EXPECT_EQ(devices.ring_buffer("x").error().text(), "Device 'x' not found");
  EXPECT_EQ(co_await try_add(devices, "m", NullSpec()), "");
  EXPECT_EQ(devices.ring_buffer("m").error().text(), "m is not a ringbuf device");
  EXPECT_EQ(co_await try_remove(devices, "m"), "");
  EXPECT_TRUE(devices.list().at(0).frontend_open);
  echo.close();
  co_await devices.close();
}
TEST_P(ChardevsTest, AreManagedByName) { run(manage(path(""))); }

Task<void> change_sockets(std::string path) {
  Chardevs devices;
  EXPECT_EQ(co_await try_add(devices, "s", server(path)), "");
  // The same address: the old one makes way.
  EXPECT_EQ(co_await try_change(devices, "s", server(path)), "");
  EXPECT_EQ(filename(devices, "s"), "disconnected:unix:" + path + ",server=on");
  (co_await must_connect(path))->close();
  EXPECT_EQ(co_await try_change(devices, "s", server(path + "2")), "");
  EXPECT_FALSE(std::filesystem::exists(path));
  // An address that others have: the old one is there again.
  EXPECT_EQ(co_await try_add(devices, "t", server(path)), "");
  EXPECT_EQ(co_await try_change(devices, "s", server(path)),
            "Failed to bind socket to " + path + ": Address already in use");
  EXPECT_EQ(filename(devices, "s"), "disconnected:unix:" + path + "2,server=on");
  (co_await must_connect(path + "2"))->close();
  co_await devices.close();
  EXPECT_FALSE(std::filesystem::exists(path));
}
TEST_P(ChardevsTest, ServersMakeWayForThemselves) { run(change_sockets(path("s"))); }

Task<void> serve_many(std::string path) {
  Chardevs devices;
  Echo echo;
  EXPECT_EQ(co_await try_add(devices, "s", server(path)), "");
  EXPECT_TRUE(devices.attach("s", echo.serve()));
  auto first = co_await must_connect(path);
  auto second = co_await must_connect(path);
  for (Stream* user : {first.get(), second.get()}) {
    EXPECT_EQ(co_await receive_text(*user), "hi");
    co_await send_text(*user, "ping");
    EXPECT_EQ(co_await receive_text(*user), "ping");
  }
  EXPECT_EQ(filename(devices, "s"), "unix:" + path + ",server=on");
  first->close();
  second->close();
  EXPECT_TRUE(co_await becomes([&] { return echo.open.empty(); }));
  EXPECT_EQ(filename(devices, "s"), "disconnected:unix:" + path + ",server=on");
  devices.stop();
  EXPECT_FALSE(std::filesystem::exists(path));
  co_await devices.close();
}
TEST_P(ChardevsTest, AServerHasManyUsers) { run(serve_many(path("s"))); }

Task<void> cancel_wait(std::string path) {
  Chardevs devices;
  async::CancelSource cancel;
  SocketSpec spec = server(path);
  spec.wait = true;
  std::string outcome = "none";
  async::TaskScope scope;
  scope.spawn([](Chardevs& devices, SocketSpec spec, async::CancelToken token,
                 std::string& outcome) -> Task<void> {
    auto added = co_await devices.add("s", spec, token);
    outcome = added ? "added" : added.error().text();
  }(devices, spec, cancel.token(), outcome));
  EXPECT_TRUE(co_await becomes([&] { return std::filesystem::exists(path); }));
  EXPECT_EQ(co_await try_add(devices, "s", NullSpec()), "Chardev with id 's' already exists");
  EXPECT_EQ(co_await try_remove(devices, "s"), "Chardev 's' not found");
  cancel.cancel();
  co_await scope.join();
  EXPECT_NE(outcome, "added");
  EXPECT_FALSE(std::filesystem::exists(path));
  co_await devices.close();
}
TEST_P(ChardevsTest, AWaitForTheFirstUserCanBeGivenUp) { run(cancel_wait(path("s"))); }

Task<void> reconnect(std::string path) {
  Chardevs devices;
  Echo echo;
  EXPECT_EQ(co_await try_add(devices, "c", client(path, seconds(1))), "");
  EXPECT_TRUE(devices.attach("c", echo.serve()));
  EXPECT_EQ(filename(devices, "c"), "disconnected:unix:" + path);
  for (int round = 0; round != 2; ++round) {
    auto listener = co_await Loop::current().network().listen(SocketAddress::of_unix(path));
    auto user = co_await (*listener)->accept();
    EXPECT_EQ(co_await receive_text(**user), "hi");
    EXPECT_EQ(filename(devices, "c"), "unix:" + path);
    (*user)->close();
  }
  EXPECT_TRUE(co_await becomes([&] { return echo.open.empty(); }));
  EXPECT_EQ(echo.begun, 2);
  co_await devices.close();
}
TEST_P(ChardevsTest, AClientConnectsAgain) { run(reconnect(path("s"))); }

Task<void> use_tcp() {
  Chardevs devices;
  Echo echo;
  SocketSpec spec{.address = SocketAddress::of_inet("localhost", "0")};
  spec.address.inet.ipv6 = false;
  spec.telnet = true;
  EXPECT_EQ(co_await try_add(devices, "s", spec), "");
  const std::string alone = filename(devices, "s");
  EXPECT_EQ(alone.substr(0, 30), "disconnected:telnet:127.0.0.1:") << alone;
  const std::string port = alone.substr(30, alone.find(',') - 30);
  EXPECT_TRUE(devices.attach("s", echo.serve()));
  SocketSpec other{.address = SocketAddress::of_inet("127.0.0.1", port), .server = false};
  EXPECT_EQ(co_await try_add(devices, "c", other), "");
  // The client's name and the server's are each other's mirror.
  EXPECT_TRUE(co_await becomes([&] { return echo.begun == 1; }));
  const std::string here = filename(devices, "s");
  const std::string there = filename(devices, "c");
  const size_t arrow = there.find(" <-> ");
  CHECK(arrow != std::string::npos);
  EXPECT_EQ(there.substr(arrow + 5), "127.0.0.1:" + port);
  EXPECT_EQ(here, "telnet:127.0.0.1:" + port + ",server=on <-> " + there.substr(4, arrow - 4));
  echo.close();
  co_await devices.close();
}
TEST_P(ChardevsTest, NamesOfTcp) { run(use_tcp()); }

Task<void> use_files(std::string path) {
  Chardevs devices;
  Echo echo;
  std::ofstream(path + "in") << "said";
  EXPECT_EQ(co_await try_add(devices, "f", FileSpec{.out = path + "out", .in = path + "in"}), "");
  EXPECT_EQ(co_await try_add(devices, "g", FileSpec{.out = path + "no/x"}),
            "Could not open '" + path + "no/x': No such file or directory");
  EXPECT_TRUE(devices.attach("f", echo.serve()));
  EXPECT_TRUE(co_await becomes([&] { return echo.open.empty(); }));
  std::ifstream out(path + "out");
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(out), {}), "hisaid");
  CHECK(::mkfifo((path + "p").c_str(), 0600) == 0);
  EXPECT_EQ(co_await try_add(devices, "p", PipeSpec{.path = path + "p"}), "");
  EXPECT_EQ(co_await try_add(devices, "q", PipeSpec{.path = path + "q"}),
            "Could not open '" + path + "q': No such file or directory");
  EXPECT_EQ(filename(devices, "p"), "pipe");
  co_await devices.close();
}
TEST_P(ChardevsTest, FilesAndFifos) { run(use_files(path(""))); }

// Opening never waits for who has the other end, and what is sent waits for it.
Task<void> open_lonely_fifos(std::string path) {
  Chardevs devices;
  Echo echo;
  for (const char* name : {"in", "out"}) CHECK(::mkfifo((path + name).c_str(), 0600) == 0);
  EXPECT_EQ(co_await try_add(devices, "f", FileSpec{.out = path + "out", .in = path + "in"}), "");
  EXPECT_TRUE(devices.attach("f", echo.serve()));
  const int from = ::open((path + "out").c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  const int to = ::open((path + "in").c_str(), O_WRONLY | O_CLOEXEC);
  auto user = Loop::current().network().adopt_fds(from, to, "user").value();
  EXPECT_EQ(co_await receive_text(*user), "hi");
  co_await send_text(*user, "x");
  EXPECT_EQ(co_await receive_text(*user), "x");
  echo.close();
  co_await devices.close();
}
TEST_P(ChardevsTest, AFifoIsNotWaitedFor) { run(open_lonely_fifos(path(""))); }

Task<void> use_pty() {
  Chardevs devices;
  Echo echo;
  auto added = co_await devices.add("p", PtySpec(), {});
  CHECK(added.has_value());
  const std::string name = (*added)->pty_path().value_or("");
  EXPECT_EQ(filename(devices, "p"), "pty:" + name);
  EXPECT_TRUE(devices.attach("p", echo.serve()));
  co_await Loop::current().sleep_for(milliseconds(2));
  EXPECT_EQ(echo.begun, 0);  // nobody has it open
  for (int round = 1; round != 3; ++round) {
    const int fd = ::open(name.c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC);
    auto user = Loop::current().network().adopt_fds(fd, fd, "user").value();
    EXPECT_EQ(co_await receive_text(*user), "hi");
    co_await send_text(*user, "x");
    EXPECT_EQ(co_await receive_text(*user), "x");  // once: no echo of the terminal's own
    user.reset();
    EXPECT_TRUE(co_await becomes([&] { return echo.open.empty(); }));
    EXPECT_EQ(echo.begun, round);
  }
  co_await devices.close();
}
TEST_P(ChardevsTest, APseudoTerminalHasOneUserAfterAnother) { run(use_pty()); }

}  // namespace
}  // namespace firn::chardev
