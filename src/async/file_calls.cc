#include "async/file_calls.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <memory>

namespace firn::async {
namespace {

// -1 with errno, or the bytes moved by one call.
ssize_t transfer_once(int fd, const FileOp& op) {
  IoVec storage;
  const IoVec& rest = rest_of(op, storage);
  const auto pieces = rest.pieces();
  const int count = static_cast<int>(std::min<size_t>(pieces.size(), IOV_MAX));
  const off_t offset = static_cast<off_t>(op.offset + op.done_bytes);
  if (op.kind == FileOp::Kind::kRead) {
    return count == 1 ? ::pread(fd, pieces[0].iov_base, pieces[0].iov_len, offset)
                      : ::preadv(fd, pieces.data(), count, offset);
  }
  return count == 1 ? ::pwrite(fd, pieces[0].iov_base, pieces[0].iov_len, offset)
                    : ::pwritev(fd, pieces.data(), count, offset);
}

int64_t transfer(int fd, uint32_t alignment, FileOp& op) {
  while (op.done_bytes != op.iov->size_bytes()) {
    const ssize_t moved = transfer_once(fd, op);
    if (moved < 0) {
      if (errno == EINTR) continue;
      return -errno;
    }
    op.done_bytes += static_cast<uint64_t>(moved);
    if (transfer_is_over(op, static_cast<uint64_t>(moved), alignment)) break;
  }
  if (op.kind == FileOp::Kind::kWrite && op.done_bytes != op.iov->size_bytes()) return -ENOSPC;
  return static_cast<int64_t>(op.done_bytes);
}

// Runs `call` again while signals interrupt it. 0 or a negative errno.
template <typename Call>
int64_t uninterrupted(Call call) {
  while (call() != 0) {
    if (errno != EINTR) return -errno;
  }
  return 0;
}

// One name for the many ways in which the kernel says that it has no such operation.
int64_t with_unsupported(int64_t result) {
  return result == -ENODEV || result == -ENOSYS || result == -ENOTTY ? -ENOTSUP : result;
}

int64_t allocate(int fd, int mode, const FileOp& op) {
  return with_unsupported(uninterrupted([&] {
    return ::fallocate(fd, mode, static_cast<off_t>(op.offset), static_cast<off_t>(op.length));
  }));
}

int64_t block_device_call(int fd, unsigned long request, const FileOp& op) {
  std::array<uint64_t, 2> range = {op.offset, op.length};
  return with_unsupported(uninterrupted([&] { return ::ioctl(fd, request, range.data()); }));
}

constexpr int kPunchHole = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

int64_t zero(int fd, FileKind kind, const FileOp& op) {
  if (kind == FileKind::kBlockDevice) {
    const int64_t result = allocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, op);
    return result == -ENOTSUP ? block_device_call(fd, BLKZEROOUT, op) : result;
  }
  const int64_t result = allocate(fd, FALLOC_FL_ZERO_RANGE, op);
  if (result != -ENOTSUP) return result;
  // tmpfs: a hole, filled again with pages that read as zeroes.
  const int64_t punched = allocate(fd, kPunchHole, op);
  return punched < 0 ? punched : allocate(fd, 0, op);
}

int64_t discard(int fd, FileKind kind, const FileOp& op) {
  if (kind == FileKind::kBlockDevice) return block_device_call(fd, BLKDISCARD, op);
  return allocate(fd, kPunchHole, op);
}

base::Result<uint64_t> block_device_size(int fd, std::string_view path) {
  uint64_t size = 0;
  if (::ioctl(fd, BLKGETSIZE64, &size) == 0) return size;
  return base::fail(
      base::Error::from_errno(errno, fmt::format("Could not get the size of '{}'", path)));
}

base::Result<FileStat> convert(const struct stat& from, int fd, std::string_view path) {
  FileStat stat;
  stat.kind = kind_of_mode(from.st_mode);
  stat.size_bytes = static_cast<uint64_t>(from.st_size);
  stat.allocated_bytes = static_cast<uint64_t>(from.st_blocks) * 512;
  stat.device = from.st_dev;
  stat.inode = from.st_ino;
  stat.rdev = from.st_rdev;
  stat.modified_ns = from.st_mtim.tv_sec * 1'000'000'000 + from.st_mtim.tv_nsec;
  stat.changed_ns = from.st_ctim.tv_sec * 1'000'000'000 + from.st_ctim.tv_nsec;
  if (stat.kind == FileKind::kBlockDevice && fd >= 0) {
    stat.size_bytes = TRY(block_device_size(fd, path));
    stat.allocated_bytes = stat.size_bytes;
  }
  return stat;
}

std::unexpected<base::Error> error_at(const char* what, std::string_view path) {
  return base::fail(base::Error::from_errno(errno, fmt::format("Could not {} '{}'", what, path)));
}

}  // namespace

const IoVec& rest_of(const FileOp& op, IoVec& storage) {
  if (op.done_bytes == 0) return *op.iov;
  storage = op.iov->slice(op.done_bytes, op.iov->size_bytes() - op.done_bytes);
  return storage;
}

bool transfer_is_over(const FileOp& op, uint64_t moved, uint32_t alignment) {
  return moved == 0 || op.done_bytes == op.iov->size_bytes() || op.done_bytes % alignment != 0;
}

int64_t perform(int fd, FileKind kind, uint32_t alignment, FileOp& op) {
  switch (op.kind) {
    case FileOp::Kind::kRead:
    case FileOp::Kind::kWrite:
      return transfer(fd, alignment, op);
    case FileOp::Kind::kSync:
      return uninterrupted([&] { return ::fsync(fd); });
    case FileOp::Kind::kDataSync:
      return uninterrupted([&] { return ::fdatasync(fd); });
    case FileOp::Kind::kTruncate:
      return uninterrupted([&] { return ::ftruncate(fd, static_cast<off_t>(op.length)); });
    case FileOp::Kind::kZero:
      return op.length == 0 ? 0 : zero(fd, kind, op);
    case FileOp::Kind::kZeroAndUnmap:
      return op.length == 0 ? 0 : allocate(fd, kPunchHole, op);
    case FileOp::Kind::kDiscard:
      return op.length == 0 ? 0 : discard(fd, kind, op);
    case FileOp::Kind::kAllocate:
      return op.length == 0 ? 0 : allocate(fd, 0, op);
  }
  return -ENOTSUP;
}

FileKind kind_of_mode(mode_t mode) {
  if (S_ISREG(mode)) return FileKind::kRegular;
  if (S_ISBLK(mode)) return FileKind::kBlockDevice;
  if (S_ISCHR(mode)) return FileKind::kCharacterDevice;
  if (S_ISDIR(mode)) return FileKind::kDirectory;
  if (S_ISSOCK(mode)) return FileKind::kSocket;
  return FileKind::kOther;
}

base::Result<FileStat> stat_of_fd(int fd, std::string_view path) {
  struct stat from{};
  if (::fstat(fd, &from) != 0) return error_at("stat", path);
  return convert(from, fd, path);
}

base::Result<FileStat> stat_of_path(const std::string& path) {
  struct stat from{};
  if (::stat(path.c_str(), &from) != 0) return error_at("stat", path);
  if (!S_ISBLK(from.st_mode)) return convert(from, -1, path);
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return convert(from, -1, path);  // who it is can be said all the same
  auto result = convert(from, fd, path);
  ::close(fd);
  return result;
}

base::Result<Extent> extent_of_fd(int fd, FileKind kind, uint64_t offset, std::string_view path) {
  const uint64_t size = TRY(stat_of_fd(fd, path)).size_bytes;
  if (offset >= size) {
    return base::fail(
        base::ErrorKind::kOutOfRange,
        fmt::format("Offset {} is beyond the end of '{}' ({} bytes)", offset, path, size));
  }
  const Extent all_data{.data = true, .length_bytes = size - offset};
  if (kind != FileKind::kRegular) return all_data;
  const off_t start = static_cast<off_t>(offset);
  const off_t data = ::lseek(fd, start, SEEK_DATA);
  if (data < 0) {
    // ENXIO: no data from here to the end.
    if (errno == ENXIO) return Extent{.data = false, .length_bytes = size - offset};
    if (errno == EINVAL || errno == ENOTSUP) return all_data;
    return error_at("map", path);
  }
  if (data > start) {
    const uint64_t end = std::min(static_cast<uint64_t>(data), size);
    return Extent{.data = false, .length_bytes = end - offset};
  }
  const off_t hole = ::lseek(fd, start, SEEK_HOLE);
  if (hole <= start) return all_data;  // the file changes at this very moment
  return Extent{.data = true, .length_bytes = static_cast<uint64_t>(hole) - offset};
}

base::Result<std::vector<std::string>> list_directory(const std::string& path) {
  std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(path.c_str()), ::closedir);
  if (!directory) return error_at("list", path);
  std::vector<std::string> names;
  while (true) {
    errno = 0;
    const dirent* entry = ::readdir(directory.get());
    if (entry == nullptr) break;
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  if (errno != 0) return error_at("list", path);
  std::ranges::sort(names);
  return names;
}

base::Result<> sync_directory_at(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return error_at("open", path);
  const int64_t result = uninterrupted([&] { return ::fsync(fd); });
  ::close(fd);
  // EINVAL: a file system whose names are durable by themselves, or never.
  if (result == 0 || result == -EINVAL) return {};
  errno = static_cast<int>(-result);
  return error_at("flush", path);
}

base::Result<std::string> real_path_of(const std::string& path) {
  using Text = std::unique_ptr<char, void (*)(void*)>;
  const Text whole(::realpath(path.c_str(), nullptr), ::free);
  if (whole) return std::string(whole.get());
  if (errno != ENOENT || path.empty()) return error_at("resolve", path);

  std::string_view trimmed = path;
  while (trimmed.size() > 1 && trimmed.ends_with('/')) trimmed.remove_suffix(1);
  const size_t slash = trimmed.rfind('/');
  const std::string name(trimmed.substr(slash == std::string_view::npos ? 0 : slash + 1));
  if (name.empty() || name == "." || name == "..") return error_at("resolve", path);
  std::string parent = ".";
  if (slash != std::string_view::npos) parent = slash == 0 ? "/" : trimmed.substr(0, slash);

  // A link that leads to what is not there: what it says is resolved in its stead.
  std::array<char, PATH_MAX> target;
  const std::string own = parent + "/" + name;
  const ssize_t length = ::readlink(own.c_str(), target.data(), target.size());
  if (length > 0) {
    const std::string_view said(target.data(), static_cast<size_t>(length));
    return real_path_of(said.starts_with('/') ? std::string(said)
                                              : parent + "/" + std::string(said));
  }
  const Text directory(::realpath(parent.c_str(), nullptr), ::free);
  if (!directory) return error_at("resolve", path);
  const std::string_view base = directory.get();
  return base == "/" ? "/" + name : std::string(base) + "/" + name;
}

base::Result<StoreStat> store_stat_of(const std::string& path) {
  struct statvfs from{};
  if (::statvfs(path.c_str(), &from) != 0) return error_at("stat the file system of", path);
  return StoreStat{.free_bytes = from.f_bavail * from.f_frsize,
                   .total_bytes = from.f_blocks * from.f_frsize};
}

uint32_t direct_alignment_of(int fd, FileKind kind) {
  constexpr uint32_t kSafe = 4096;
#ifdef STATX_DIOALIGN
  struct statx wide{};
  if (::statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &wide) == 0 &&
      (wide.stx_mask & STATX_DIOALIGN) && wide.stx_dio_offset_align != 0) {
    return std::max(wide.stx_dio_mem_align, wide.stx_dio_offset_align);
  }
#endif
  if (kind == FileKind::kBlockDevice) {
    int sector_bytes = 0;
    if (::ioctl(fd, BLKSSZGET, &sector_bytes) == 0 && sector_bytes > 0) return sector_bytes;
    return kSafe;
  }
  // A read that the file system takes shows what it takes; at the end of an empty file too.
  alignas(4096) std::array<std::byte, 8192> memory;
  for (const uint32_t alignment : {512u, 1024u, 2048u}) {
    if (::pread(fd, memory.data() + alignment, alignment, alignment) >= 0) return alignment;
  }
  return kSafe;
}

}  // namespace firn::async
