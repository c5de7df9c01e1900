#include "drivers/file/fd_sets.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace firn::file {
namespace {

int null_fd(int flags) {
  const int fd = ::open("/dev/null", flags | O_CLOEXEC);
  EXPECT_GE(fd, 0);
  return fd;
}
bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }
std::string error_of(const auto& result) { return result ? "no error" : result.error().text(); }

TEST(FdSets, Names) {
  EXPECT_FALSE(parse_fdset("/dev/null"));
  EXPECT_FALSE(parse_fdset("dev/fdset/1"));
  EXPECT_EQ(**parse_fdset("/dev/fdset/12"), 12);
  for (const char* name : {"/dev/fdset/", "/dev/fdset/-1", "/dev/fdset/1x", "/dev/fdset/x"}) {
    EXPECT_EQ(error_of(*parse_fdset(name)), std::string("Could not parse fdset ") + name);
  }
}

TEST(FdSets, AreAddedToListedAndRemoved) {
  FdSets sets;
  const int first = null_fd(O_RDONLY);
  const int second = null_fd(O_RDWR);
  const int third = null_fd(O_RDWR);
  EXPECT_EQ(sets.add(first, std::nullopt, "a")->set, 0);
  EXPECT_EQ(sets.add(second, 0, std::nullopt)->fd, second);
  EXPECT_EQ(sets.add(third, 2, std::nullopt)->set, 2);
  EXPECT_EQ(sets.add(null_fd(O_RDONLY), std::nullopt, std::nullopt)->set, 1);
  const int refused = null_fd(O_RDONLY);
  EXPECT_EQ(error_of(sets.add(refused, -1, std::nullopt)),
            "Parameter 'fdset-id' expects a non-negative value");
  EXPECT_FALSE(is_open(refused));
  const auto list = sets.list();
  ASSERT_EQ(list.size(), 3u);
  EXPECT_EQ(list[0].fds.at(0).fd, second);  // the latest first
  EXPECT_EQ(list[0].fds.at(1).opaque, "a");
  EXPECT_EQ(error_of(sets.remove(7, std::nullopt)), "File descriptor named 'fdset-id:7' not found");
  EXPECT_EQ(error_of(sets.remove(0, third)),
            "File descriptor named 'fdset-id:0, fd:" + std::to_string(third) + "' not found");
  EXPECT_TRUE(sets.remove(0, first));
  EXPECT_FALSE(is_open(first));
  EXPECT_TRUE(sets.remove(0, std::nullopt));
  EXPECT_EQ(sets.list().size(), 2u);
  EXPECT_TRUE(sets.remove(2, std::nullopt));
  EXPECT_FALSE(is_open(third));
}

TEST(FdSets, OpenWhatFits) {
  FdSets sets;
  sets.set_has_clients(true);
  const int reads = null_fd(O_RDONLY);
  EXPECT_EQ(error_of(sets.open(3, false, false)),
            "Could not dup FD for /dev/fdset/3 flags 0: No such file or directory");
  EXPECT_TRUE(sets.add(reads, 3, std::nullopt));
  EXPECT_EQ(error_of(sets.open(3, true, false)),
            "Could not dup FD for /dev/fdset/3 flags 2: Permission denied");
  auto copy = sets.open(3, false, false);
  ASSERT_TRUE(copy) << copy.error().text();
  EXPECT_NE(copy->fd, reads);
  EXPECT_TRUE(::fcntl(copy->fd, F_GETFD) & FD_CLOEXEC);
  // A copy outlives the set's own.
  EXPECT_TRUE(sets.remove(3, std::nullopt));
  EXPECT_FALSE(is_open(reads));
  EXPECT_TRUE(is_open(copy->fd));
  EXPECT_TRUE(sets.list().empty());
  ::close(copy->fd);
}

TEST(FdSets, WithoutClientsOnlyWhatIsUsedStays) {
  FdSets sets;
  sets.set_has_clients(true);
  const int used = null_fd(O_RDONLY);
  const int unused = null_fd(O_RDONLY);
  EXPECT_TRUE(sets.add(used, 1, std::nullopt));
  EXPECT_TRUE(sets.add(unused, 2, std::nullopt));
  auto copy = *sets.open(1, false, false);
  sets.set_has_clients(false);
  EXPECT_TRUE(is_open(used));
  EXPECT_FALSE(is_open(unused));
  ::close(copy.fd);
  copy.in_use.reset();
  EXPECT_FALSE(is_open(used));
  EXPECT_TRUE(sets.list().empty());
}

}  // namespace
}  // namespace firn::file
