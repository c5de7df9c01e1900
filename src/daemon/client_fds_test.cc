#include "daemon/client_fds.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include "async/testing.h"

namespace firn::daemon {
namespace {

int null_fd() { return ::open("/dev/null", O_RDONLY | O_CLOEXEC); }
bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

TEST(FdInbox, GivesACommandWhatCameWithIt) {
  FdInbox inbox;
  EXPECT_EQ(inbox.take(100), -1);
  // Two commands of 50 bytes, each with a descriptor, are there before the first one runs.
  const int first = null_fd();
  const int second = null_fd();
  const int extra = null_fd();
  inbox.on_descriptors(std::vector<int>{first, extra}, 0);
  EXPECT_FALSE(is_open(extra));
  inbox.on_descriptors(std::vector<int>{second}, 50);
  EXPECT_EQ(inbox.take(50), first);
  EXPECT_EQ(inbox.take(100), second);
  // What came with a command that did not take it is stale when the next one comes.
  const int stale = null_fd();
  const int wanted = null_fd();
  inbox.on_descriptors(std::vector<int>{stale}, 100);
  inbox.on_descriptors(std::vector<int>{wanted}, 150);
  EXPECT_EQ(inbox.take(200), wanted);
  EXPECT_FALSE(is_open(stale));
  for (const int fd : {first, second, wanted}) ::close(fd);
}

TEST(FdInbox, IsBounded) {
  std::vector<int> fds;
  {
    FdInbox inbox;
    for (size_t i = 0; i != 100; ++i) {
      fds.push_back(null_fd());
      inbox.on_descriptors(std::vector<int>{fds.back()}, i);
      EXPECT_LE(inbox.size(), FdInbox::kMost);
    }
    EXPECT_TRUE(is_open(fds.back()));
  }
  EXPECT_FALSE(is_open(fds.back()));
}

async::Task<void> use_names(async::RuntimeOptions::Engine) {
  file::FdSets sets;
  int socket = -1;
  int kept = -1;
  {
    ClientFds fds(sets, [](std::string_view) -> base::Result<int> {
      return base::fail(base::ErrorKind::kNotFound, "more");
    });
    EXPECT_EQ((co_await fds.getfd({.fdname = "x"})).error().text(),
              "No file descriptor supplied via SCM_RIGHTS");
    socket = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    fds.inbox().on_descriptors(std::vector<int>{socket}, 0);
    EXPECT_TRUE(co_await fds.getfd({.fdname = "s"}));
    kept = null_fd();
    fds.inbox().on_descriptors(std::vector<int>{kept}, 10);
    EXPECT_TRUE(co_await fds.getfd({.fdname = "f"}));
    EXPECT_EQ(fds.take_socket("f").error().text(), "File descriptor 'f' is not a socket");
    EXPECT_EQ(fds.take_socket("x").error().text(), "more");
    EXPECT_EQ(*fds.take_socket("s"), socket);
    EXPECT_EQ(fds.take_socket("s").error().text(), "more");
    EXPECT_EQ((co_await fds.closefd({.fdname = "s"})).error().text(),
              "File descriptor named 's' not found");
    const int refused = null_fd();
    fds.inbox().on_descriptors(std::vector<int>{refused}, 20);
    EXPECT_EQ((co_await fds.getfd({.fdname = "1"})).error().text(),
              "Parameter 'fdname' expects a name not starting with a digit");
    EXPECT_FALSE(is_open(refused));
    EXPECT_TRUE(is_open(kept));
  }
  EXPECT_FALSE(is_open(kept));
  EXPECT_TRUE(is_open(socket));  // its taker's
  ::close(socket);
}

async::Task<void> fill_names(async::RuntimeOptions::Engine) {
  file::FdSets sets;
  ClientFds fds(sets, [](std::string_view) -> base::Result<int> {
    return base::fail(base::ErrorKind::kNotFound, "more");
  });
  const auto keep = [&](std::string name, uint64_t at) {
    fds.inbox().on_descriptors(std::vector<int>{null_fd()}, at);
    return fds.getfd({.fdname = std::move(name)});
  };
  for (size_t i = 0; i != ClientFds::kMostNames; ++i) {
    EXPECT_TRUE(co_await keep("n" + std::to_string(i), i));
  }
  EXPECT_EQ((co_await keep("more", 100)).error().text(),
            "This client has 64 file descriptors already and keeps no more");
  EXPECT_TRUE(co_await keep("n7", 200)) << "in place of the one that has the name";
  EXPECT_TRUE(co_await fds.closefd({.fdname = "n0"}));
  EXPECT_TRUE(co_await keep("more", 300));
}
TEST(ClientFds, NamesAreBounded) { async::testing::run_on_loop(fill_names({})); }

TEST(ClientFds, NamesAreTheClients) { async::testing::run_on_loop(use_names({})); }

}  // namespace
}  // namespace firn::daemon
