#include "chardev/listen_fds.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>

namespace firn::chardev {
namespace {

void set_variables(int pid, const char* count, const char* names) {
  ::setenv("LISTEN_PID", std::to_string(pid).c_str(), 1);
  ::setenv("LISTEN_FDS", count, 1);
  names != nullptr ? ::setenv("LISTEN_FDNAMES", names, 1) : ::unsetenv("LISTEN_FDNAMES");
}

std::string error_of(const auto& result) { return result ? "no error" : result.error().text(); }

// In a process of its own, where descriptors 3 to 5 are sockets and 6 is a file.
template <typename Check>
void in_process_with_sockets(Check check) {
  GTEST_FLAG_SET(death_test_style, "fast");
  EXPECT_EXIT(
      {
        for (int fd = 3; fd != 6; ++fd) {
          const int made = ::socket(AF_UNIX, SOCK_STREAM, 0);
          ::dup2(made, fd);
        }
        ::dup2(::open("/dev/null", O_RDONLY), 6);
        check();
        std::_Exit(testing::Test::HasFailure() ? 1 : 0);
      },
      testing::ExitedWithCode(0), "");
}

TEST(InheritedSockets, AreTakenByNameAndByNumber) {
  in_process_with_sockets([] {
    set_variables(::getpid(), "4", "qmp:nbd:nbd:file");
    auto sockets = InheritedSockets::from_environment();
    ASSERT_TRUE(sockets) << sockets.error().text();
    for (const char* name : {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}) {
      EXPECT_EQ(std::getenv(name), nullptr) << name;
    }
    for (int fd = 3; fd != 7; ++fd) EXPECT_TRUE(::fcntl(fd, F_GETFD) & FD_CLOEXEC) << fd;
    EXPECT_EQ(*sockets->take("nbd"), 4);
    EXPECT_EQ(*sockets->take("3"), 3);
    EXPECT_EQ(error_of(sockets->take("3")), "File descriptor '3' is already in use");
    EXPECT_EQ(error_of(sockets->take("qmp")), "Unable to parse FD number qmp");
    EXPECT_EQ(sockets->take("qmp").error().hint(),
              "Sockets of the service manager that are left: 'nbd' 'file'");
    EXPECT_EQ(*sockets->take_named("nbd"), 5);
    EXPECT_EQ(error_of(sockets->take_named("5")), "File descriptor named '5' has not been found");
    EXPECT_EQ(error_of(sockets->take("5")), "File descriptor '5' is already in use");
    EXPECT_EQ(error_of(sockets->take("file")), "Unable to parse FD number file");
    EXPECT_EQ(error_of(sockets->take("6")), "File descriptor '6' is not a socket");
    EXPECT_EQ(error_of(sockets->take("77")), "File descriptor '77' is not a socket");
    EXPECT_EQ(error_of(sockets->take("")), "Unable to parse FD number ");
  });
}

TEST(InheritedSockets, AreForTheirProcessAlone) {
  in_process_with_sockets([] {
    set_variables(::getpid() + 1, "3", nullptr);
    auto sockets = InheritedSockets::from_environment();
    ASSERT_TRUE(sockets);
    EXPECT_TRUE(sockets->sockets().empty());
    EXPECT_EQ(std::getenv("LISTEN_FDS"), nullptr);
    EXPECT_EQ(*sockets->take("3"), 3);  // it is open, whoever meant it for whom
  });
}

TEST(InheritedSockets, VariablesThatMakeNoSenseAreErrors) {
  in_process_with_sockets([] {
    set_variables(::getpid(), "x", nullptr);
    EXPECT_EQ(error_of(InheritedSockets::from_environment()),
              "LISTEN_FDS=x: expected a number from 0 to 1024");
    set_variables(::getpid(), "2", "a");
    EXPECT_EQ(error_of(InheritedSockets::from_environment()),
              "LISTEN_FDNAMES=a: 1 names for 2 descriptors");
    set_variables(::getpid(), "500", nullptr);
    EXPECT_EQ(error_of(InheritedSockets::from_environment()).substr(0, 15), "LISTEN_FDS=500:");
    set_variables(::getpid(), "2", nullptr);
    EXPECT_EQ(InheritedSockets::from_environment()->sockets().at(1).name, "unknown");
  });
}

}  // namespace
}  // namespace firn::chardev
