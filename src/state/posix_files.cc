#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <fstream>

#include "state/files.h"

namespace firn::state {
namespace {

class PosixFile final : public BlockingFile {
 public:
  explicit PosixFile(int fd) : fd_(fd) {}
  ~PosixFile() override { ::close(fd_); }

  int64_t read(uint64_t offset, base::ByteSpan into) override {
    size_t done = 0;
    while (done < into.size()) {
      const ssize_t got =
          ::pread(fd_, into.data() + done, into.size() - done, static_cast<off_t>(offset + done));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return -errno;
      if (got == 0) break;
      done += static_cast<size_t>(got);
    }
    return static_cast<int64_t>(done);
  }

  int write(uint64_t offset, base::ConstByteSpan bytes) override {
    size_t done = 0;
    while (done < bytes.size()) {
      const ssize_t put = ::pwrite(fd_, bytes.data() + done, bytes.size() - done,
                                   static_cast<off_t>(offset + done));
      if (put < 0 && errno == EINTR) continue;
      if (put <= 0) return put < 0 ? -errno : -ENOSPC;
      done += static_cast<size_t>(put);
    }
    return 0;
  }

  int truncate(uint64_t size_bytes) override {
    return ::ftruncate(fd_, static_cast<off_t>(size_bytes)) == 0 ? 0 : -errno;
  }
  int sync() override { return ::fsync(fd_) == 0 ? 0 : -errno; }

  int64_t size_bytes() override {
    struct stat stat{};
    return ::fstat(fd_, &stat) == 0 ? stat.st_size : -errno;
  }

  int lock() override {
    struct flock lock{};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    if (::fcntl(fd_, F_OFD_SETLK, &lock) == 0) return 0;
    return errno == EACCES ? -EAGAIN : -errno;
  }

 private:
  int fd_;
};

class PosixFiles final : public Files {
 public:
  std::unique_ptr<BlockingFile> open(const std::string& path, Mode mode, int& error) override {
    int flags = O_CLOEXEC | (mode.read_only ? O_RDONLY : O_RDWR);
    if (mode.create) flags |= O_CREAT;
    if (mode.exclusive) flags |= O_EXCL;
    // The paths of all images, and who may reach them: nobody's business but the owner's.
    const int fd = ::open(path.c_str(), flags, 0600);
    if (fd < 0) {
      error = errno;
      return nullptr;
    }
    return std::make_unique<PosixFile>(fd);
  }

  int remove(const std::string& path) override { return ::unlink(path.c_str()) == 0 ? 0 : -errno; }

  bool exists(const std::string& path) override { return ::access(path.c_str(), F_OK) == 0; }

  int sync_folder_of(const std::string& path) override {
    std::string folder = std::filesystem::path(path).parent_path().string();
    if (folder.empty()) folder = ".";
    const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return -errno;
    const int result = ::fsync(fd) == 0 ? 0 : -errno;
    ::close(fd);
    return result;
  }

  base::Result<FileIdentity> identity(const std::string& path) override {
    struct stat stat{};
    if (::stat(path.c_str(), &stat) != 0) {
      return base::fail(base::Error::from_errno(errno, "'" + path + "'"));
    }
    FileIdentity identity;
    identity.device = stat.st_dev;
    identity.inode = stat.st_ino;
    identity.modified_ns = int64_t{stat.st_mtim.tv_sec} * 1'000'000'000 + stat.st_mtim.tv_nsec;
    identity.is_block_device = S_ISBLK(stat.st_mode);
    if (identity.is_block_device) {
      identity.rdev = stat.st_rdev;
    } else {
      identity.size_bytes = static_cast<uint64_t>(stat.st_size);
    }
    return identity;
  }

  int64_t wall_clock_us() override {
    return std::chrono::duration_cast<std::chrono::microseconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
  }

  void fill_random(base::ByteSpan bytes) override {
    size_t done = 0;
    while (done < bytes.size()) {
      const ssize_t got = ::getrandom(bytes.data() + done, bytes.size() - done, 0);
      if (got > 0) done += static_cast<size_t>(got);
    }
  }

  std::string boot_id() override {
    std::ifstream file("/proc/sys/kernel/random/boot_id");
    std::string id;
    std::getline(file, id);
    return id;
  }
};

}  // namespace

Files& posix_files() {
  static PosixFiles files;
  return files;
}

}  // namespace firn::state
