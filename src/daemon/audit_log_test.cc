#include "daemon/audit_log.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

#include "async/runtime.h"
#include "base/check.h"
#include "base/json.h"

namespace firn::daemon {
namespace {

using async::Task;

// While it lives, no file of this process grows beyond `bytes`: a full disk.
class FullDisk final {
 public:
  explicit FullDisk(uint64_t bytes) : handler_(signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &old_);
    rlimit limit{.rlim_cur = bytes, .rlim_max = old_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FullDisk() {
    setrlimit(RLIMIT_FSIZE, &old_);
    signal(SIGXFSZ, handler_);
  }

 private:
  rlimit old_{};
  void (*handler_)(int);
};

// What is said on standard error while it lives; a file's end could be the full disk's.
class StderrPipe final {
 public:
  StderrPipe() : old_(dup(STDERR_FILENO)) {
    CHECK(pipe2(fds_, O_NONBLOCK | O_CLOEXEC) == 0);
    dup2(fds_[1], STDERR_FILENO);
  }
  ~StderrPipe() {
    dup2(old_, STDERR_FILENO);
    for (int fd : {old_, fds_[0], fds_[1]}) close(fd);
  }
  std::string text() {
    char buffer[4096];
    const ssize_t length = read(fds_[0], buffer, sizeof buffer);
    return {buffer, length > 0 ? static_cast<size_t>(length) : 0};
  }

 private:
  int old_;
  int fds_[2];
};

class AuditLogTest : public testing::Test {
 public:
  AuditLogTest() : runtime_(*async::make_runtime({.worker_count = 2})) {
    std::string pattern = (std::filesystem::temp_directory_path() / "firn-audit-XXXXXX").string();
    folder_ = mkdtemp(pattern.data());
    path_ = folder_ + "/audit.log";
  }
  ~AuditLogTest() override { std::filesystem::remove_all(folder_); }

  std::vector<std::string> lines(const std::string& path) const {
    std::ifstream file(path);
    std::vector<std::string> found;
    for (std::string line; std::getline(file, line);) found.push_back(line);
    return found;
  }
  std::vector<std::string> lines() const { return lines(path_); }
  AuditFile open(bool sync = false) { return std::move(*AuditFile::open(path_, sync)); }
  void run(Task<void> (*body)(AuditLogTest&, AuditLog&)) {
    AuditLog log(open());
    async::run_until_done(*runtime_, run_body(body, log));
  }
  Task<void> run_body(Task<void> (*body)(AuditLogTest&, AuditLog&), AuditLog& log) {
    co_await body(*this, log);
    co_await log.close();
  }

  std::unique_ptr<async::Runtime> runtime_;
  std::string folder_;
  std::string path_;
};

using Lines = std::vector<std::string>;

TEST_F(AuditLogTest, FilesAreTheirOwnersAlone) {
  const mode_t umask_before = umask(0);
  AuditFile file = open();
  umask(umask_before);
  struct stat stat{};
  ASSERT_EQ(::stat(path_.c_str(), &stat), 0);
  EXPECT_EQ(stat.st_mode & 07777, 0600u);
}

TEST_F(AuditLogTest, OnlyRegularFilesWillDo) {
  ASSERT_EQ(mkfifo(path_.c_str(), 0600), 0);
  EXPECT_FALSE(AuditFile::open(path_, false));
  EXPECT_EQ(AuditFile::open("/dev/null", false).error().text(),
            "Could not open audit log '/dev/null': it is not a regular file");
  EXPECT_EQ(AuditFile::open(folder_ + "/no/x", false).error().text(),
            "Could not open audit log '" + folder_ + "/no/x': No such file or directory");
}

TEST_F(AuditLogTest, AppendsToWhatIsThere) {
  std::ofstream(path_) << "old\ntorn";
  AuditFile file = open(true);
  EXPECT_TRUE(file.append("new\n").result);
  EXPECT_TRUE(file.append("newer\n").result);
  EXPECT_EQ(lines(), (Lines{"old", "torn", "new", "newer"}));
}

TEST_F(AuditLogTest, FollowsRotationOfEitherKind) {
  AuditFile file = open();
  EXPECT_TRUE(file.append("1\n").result);
  std::filesystem::rename(path_, path_ + ".1");
  EXPECT_TRUE(file.append("2\n").result);
  EXPECT_EQ(lines(path_ + ".1"), Lines{"1"});
  EXPECT_EQ(lines(), Lines{"2"});
  // copytruncate
  std::filesystem::resize_file(path_, 0);
  EXPECT_TRUE(file.append("3\n").result);
  EXPECT_EQ(lines(), Lines{"3"});
  EXPECT_EQ(std::filesystem::file_size(path_), 2u);
}

TEST_F(AuditLogTest, TellsHowMuchOfItIsWritten) {
  AuditFile file = open();
  {
    FullDisk disk(7);
    auto appended = file.append("1234\n5678\n");
    EXPECT_FALSE(appended.result);
    EXPECT_EQ(appended.written, 7u);
    EXPECT_FALSE(file.append("x\n").result);
  }
  EXPECT_TRUE(file.append("next\n").result);
  EXPECT_EQ(lines(), (Lines{"1234", "56", "next"}));
}

TEST_F(AuditLogTest, KeepsTheOrderOfLines) {
  run([](AuditLogTest& test, AuditLog& log) -> Task<void> {
    Lines expected;
    for (int i = 0; i < 5000; ++i) {
      expected.push_back(std::to_string(i) + std::string(200, '.'));
      if (i % 50 == 49) {
        EXPECT_TRUE(co_await log.write(expected.back()));
        EXPECT_EQ(test.lines().size(), expected.size());
      } else {
        log.post(expected.back(), true);
      }
    }
    EXPECT_EQ(test.lines(), expected);
  });
}

TEST_F(AuditLogTest, ClosingWritesWhatWaits) {
  run([](AuditLogTest&, AuditLog& log) -> Task<void> {
    log.post("a", true);
    log.post("b", false);
    co_return;
  });
  EXPECT_EQ(lines(), (Lines{"a", "b"}));
}

TEST_F(AuditLogTest, AFullDiskFailsWritersAndKeepsWhatMustStay) {
  StderrPipe errors;
  run([](AuditLogTest& test, AuditLog& log) -> Task<void> {
    EXPECT_TRUE(co_await log.write("first"));
    {
      FullDisk disk(6);
      auto failed = co_await log.write("second");
      EXPECT_FALSE(failed);
      EXPECT_EQ(failed.error().text(), "Could not write to '" + test.path_ + "': File too large");
      log.post("kept", true);
      for (size_t i = 0; i < AuditLog::kMaxWaiting + 5; ++i) log.post("dropped", false);
      EXPECT_FALSE(co_await log.write("third"));
    }
    EXPECT_TRUE(co_await log.write("fourth"));
    Lines found = test.lines();
    EXPECT_EQ(found.size(), AuditLog::kMaxWaiting + 3);
    EXPECT_EQ(found[0], "first");
    EXPECT_EQ(found[1], "kept");
    EXPECT_EQ(found[2], "dropped");
    EXPECT_EQ(found.back(), "fourth");
    EXPECT_TRUE(co_await log.write("fifth"));
    found = test.lines();
    auto lost = base::parse_json(found[found.size() - 2]);
    EXPECT_TRUE(lost) << found[found.size() - 2];
    EXPECT_EQ(lost->at("event"), "lost");
    EXPECT_EQ(lost->at("count"), 5);
  });
  const std::string said = errors.text();
  EXPECT_NE(said.find("commands that change something are refused"), std::string::npos) << said;
  EXPECT_NE(said.find("can be written again"), std::string::npos) << said;
}

TEST_F(AuditLogTest, RecoversWithoutBeingAsked) {
  StderrPipe errors;
  run([](AuditLogTest& test, AuditLog& log) -> Task<void> {
    {
      FullDisk disk(0);
      EXPECT_FALSE(co_await log.write("x"));
      log.post("kept", true);
      // Long enough for a try that fails.
      co_await async::Loop::current().sleep_for(std::chrono::milliseconds(50));
    }
    for (int i = 0; i < 500 && test.lines().empty(); ++i) {
      co_await async::Loop::current().sleep_for(std::chrono::milliseconds(10));
    }
    EXPECT_EQ(test.lines(), Lines{"kept"});
  });
}

TEST_F(AuditLogTest, ClosingOnAFullDiskSaysWhatIsLost) {
  StderrPipe errors;
  run([](AuditLogTest&, AuditLog& log) -> Task<void> {
    FullDisk disk(0);
    EXPECT_FALSE(co_await log.write("x"));
    log.post("a", true);
    log.post("b", false);
    co_await async::Loop::current().sleep_for(std::chrono::milliseconds(50));
    co_await log.close();
  });
  const std::string said = errors.text();
  EXPECT_NE(said.find("2 lines could not be written"), std::string::npos) << said;
}

}  // namespace
}  // namespace firn::daemon
