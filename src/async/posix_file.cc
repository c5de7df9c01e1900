#include "async/posix_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <utility>

#include "async/file_calls.h"
#include "base/check.h"

namespace firn::async {
namespace {

base::Result<OpenedFile> inspect(int fd, const std::string& path, bool direct) {
  struct stat stat{};
  struct statfs store{};
  if (::fstat(fd, &stat) != 0 || ::fstatfs(fd, &store) != 0) {
    return base::fail(base::Error::from_errno(errno, fmt::format("Could not stat '{}'", path)));
  }
  OpenedFile opened{.fd = fd, .kind = kind_of_mode(stat.st_mode), .policy = {}, .direct = direct};
  opened.policy = choose_io_policy(opened.kind, static_cast<uint64_t>(store.f_type), direct);
  if (direct) opened.alignment = direct_alignment_of(fd, opened.kind);
  return opened;
}

int open_flags(const OpenOptions& options) {
  // Not blocking: a FIFO without a writer would hold the worker for ever.
  int flags = O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
  flags |= options.writable ? O_RDWR : O_RDONLY;
  if (options.create) flags |= O_CREAT;
  if (options.create && options.exclusive) flags |= O_EXCL;
  if (options.direct) flags |= O_DIRECT;
  return flags;
}

base::Result<OpenedFile> open_blocking(const std::string& path, const OpenOptions& options) {
  const int flags = open_flags(options);
  const int fd = ::open(path.c_str(), flags, static_cast<mode_t>(options.mode));
  if (fd < 0) {
    base::Error error = base::Error::from_errno(
        errno, fmt::format("Could not {} '{}'", options.create ? "create" : "open", path));
    if (options.direct && error.errno_value() == EINVAL) {
      error = std::move(error).with_hint(
          "The file system may not support O_DIRECT; open the file with the host's page cache.");
    }
    return base::fail(std::move(error));
  }
  // io_uring fails what would block on a descriptor that says O_NONBLOCK.
  ::fcntl(fd, F_SETFL, flags & (O_DIRECT | O_ACCMODE));
  auto opened = inspect(fd, path, options.direct);
  if (!opened) ::close(fd);
  return opened;
}

base::Result<OpenedFile> adopt_blocking(int fd, const std::string& name) {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0) {
    return base::fail(base::Error::from_errno(errno, fmt::format("Could not open '{}'", name)));
  }
  auto opened = inspect(fd, name, (flags & O_DIRECT) != 0);
  if (!opened) ::close(fd);
  return opened;
}

}  // namespace

// The file system ---------------------------------------------------------------------------------

FileRequest* PosixFileSystem::take_request() {
  if (free_request_ == nullptr) {
    requests_.push_back(std::make_unique<FileRequest>());
    return requests_.back().get();
  }
  return std::exchange(free_request_, free_request_->next_free);
}

void PosixFileSystem::give_back(FileRequest* request) {
  request->rest.clear();
  request->next_free = std::exchange(free_request_, request);
}

Task<base::Result<std::unique_ptr<File>>> PosixFileSystem::open(std::string path,
                                                                OpenOptions options) {
  auto opened = co_await loop_.on_worker([&] { return open_blocking(path, options); });
  if (!opened) co_return base::fail(std::move(opened).error());
  co_return std::make_unique<PosixFile>(loop_, *this, *opened, std::move(path), options.writable);
}

Task<base::Result<std::unique_ptr<File>>> PosixFileSystem::adopt(int fd, std::string name,
                                                                 bool writable) {
  auto opened = co_await loop_.on_worker([&] { return adopt_blocking(fd, name); });
  if (!opened) co_return base::fail(std::move(opened).error());
  co_return std::make_unique<PosixFile>(loop_, *this, *opened, std::move(name), writable);
}

base::Result<> PosixFileSystem::adopt_file(std::unique_ptr<File>& file) {
  auto* const own = dynamic_cast<PosixFile*>(file.get());
  CHECK(own != nullptr);
  own->move_to(loop_, *this);
  return {};
}

Task<base::Result<FileStat>> PosixFileSystem::stat(std::string path) {
  co_return co_await loop_.on_worker([&] { return stat_of_path(path); });
}

Task<base::Result<>> PosixFileSystem::unlink(std::string path) {
  co_return co_await loop_.on_worker([&]() -> base::Result<> {
    if (::unlink(path.c_str()) == 0) return {};
    return base::fail(base::Error::from_errno(errno, fmt::format("Could not remove '{}'", path)));
  });
}

Task<base::Result<>> PosixFileSystem::rename(std::string from, std::string to) {
  co_return co_await loop_.on_worker([&]() -> base::Result<> {
    if (::rename(from.c_str(), to.c_str()) == 0) return {};
    return base::fail(
        base::Error::from_errno(errno, fmt::format("Could not rename '{}' to '{}'", from, to)));
  });
}

Task<base::Result<>> PosixFileSystem::make_directory(std::string path) {
  co_return co_await loop_.on_worker([&]() -> base::Result<> {
    if (::mkdir(path.c_str(), 0777) == 0) return {};
    return base::fail(base::Error::from_errno(errno, fmt::format("Could not create '{}'", path)));
  });
}

Task<base::Result<std::vector<std::string>>> PosixFileSystem::list(std::string path) {
  co_return co_await loop_.on_worker([&] { return list_directory(path); });
}

Task<base::Result<>> PosixFileSystem::sync_directory(std::string path) {
  co_return co_await loop_.on_worker([&] { return sync_directory_at(path); });
}

Task<base::Result<std::string>> PosixFileSystem::real_path(std::string path) {
  co_return co_await loop_.on_worker([&] { return real_path_of(path); });
}

Task<base::Result<StoreStat>> PosixFileSystem::store_of(std::string path) {
  co_return co_await loop_.on_worker([&] { return store_stat_of(path); });
}

// A file ------------------------------------------------------------------------------------------

PosixFile::PosixFile(KernelLoop& loop, PosixFileSystem& owner, const OpenedFile& opened,
                     std::string path, bool writable)
    : File(std::move(path), writable),
      loop_(&loop),
      owner_(&owner),
      fd_(opened.fd),
      kind_(opened.kind),
      policy_(opened.policy),
      direct_(opened.direct) {
  direct_alignment_ = opened.alignment;
}

PosixFile::~PosixFile() {
  CHECK(in_flight_ == 0);
  // The locks end now, so that whoever opens the file next meets none of them; closing may wait for
  // the store, and is left to a worker.
  if (has_locked_) {
    struct flock whole{};
    whole.l_type = F_UNLCK;
    whole.l_whence = SEEK_SET;
    ::fcntl(fd_, F_OFD_SETLK, &whole);
  }
  loop_->workers().run_detached([fd = fd_] { ::close(fd); });
}

void PosixFile::move_to(KernelLoop& loop, PosixFileSystem& owner) {
  CHECK(in_flight_ == 0);
  loop_ = &loop;
  owner_ = &owner;
}

bool PosixFile::start(FileOp& op) {
  op.done_bytes = 0;
  const IoRoute route = policy_.route(op);
  switch (route) {
    case IoRoute::kInline:
      op.result = perform(fd_, kind_, direct_alignment_, op);
      return loop_->may_go_on(op.waiter);
    case IoRoute::kCachedThenRing:
    case IoRoute::kCachedThenWorker:
      if (transfer_cached(op)) return loop_->may_go_on(op.waiter);
      break;
    case IoRoute::kRing:
    case IoRoute::kWorker:
      break;
  }
  const bool prefers_ring = route == IoRoute::kRing || route == IoRoute::kCachedThenRing;
  if (prefers_ring && loop_->has_ring()) {
    start_on_ring(op);
  } else {
    start_on_worker(op);
  }
  return false;
}

bool PosixFile::transfer_cached(FileOp& op) {
  const bool reads = op.kind == FileOp::Kind::kRead;
  bool& is_tried = reads ? cache_is_read_ : cache_is_written_;
  if (!is_tried) return false;
  const auto pieces = op.iov->pieces();
  const int count = static_cast<int>(std::min<size_t>(pieces.size(), IOV_MAX));
  const auto offset = static_cast<off_t>(op.offset);
  const ssize_t moved = reads ? ::preadv2(fd_, pieces.data(), count, offset, RWF_NOWAIT)
                              : ::pwritev2(fd_, pieces.data(), count, offset, RWF_NOWAIT);
  if (moved < 0) {
    if (errno == ENOTSUP || errno == ENOSYS) is_tried = false;
    // Any other error is met again, and reported, by the way that may wait.
    return false;
  }
  op.done_bytes = static_cast<uint64_t>(moved);
  op.result = moved;
  if (reads) return transfer_is_over(op, op.done_bytes, direct_alignment_);
  return op.done_bytes == op.iov->size_bytes();
}

void PosixFile::start_on_ring(FileOp& op) {
  FileRequest* const request = owner_->take_request();
  request->file = this;
  request->op = &op;
  ++in_flight_;
  request->RingRequest::complete = [](RingRequest& done, int32_t result) {
    auto& self = static_cast<FileRequest&>(done);
    self.file->on_ring_result(self, result);
  };
  submit_to_ring(*request);
}

void PosixFile::submit_to_ring(FileRequest& request) {
  const FileOp& op = *request.op;
  request.fd = fd_;
  switch (op.kind) {
    case FileOp::Kind::kSync:
      request.kind = RingRequest::Kind::kSync;
      break;
    case FileOp::Kind::kDataSync:
      request.kind = RingRequest::Kind::kDataSync;
      break;
    default: {
      request.kind =
          op.kind == FileOp::Kind::kRead ? RingRequest::Kind::kRead : RingRequest::Kind::kWrite;
      const auto pieces = rest_of(op, request.rest).pieces();
      request.pieces = pieces.data();
      request.piece_count = static_cast<unsigned>(std::min<size_t>(pieces.size(), IOV_MAX));
      request.offset = op.offset + op.done_bytes;
    }
  }
  loop_->submit(static_cast<RingRequest&>(request));
}

void PosixFile::on_ring_result(FileRequest& request, int32_t result) {
  FileOp& op = *request.op;
  if (result == -EINTR) return submit_to_ring(request);
  // What the ring can't do here, a worker can.
  if (result == -EAGAIN || result == -ENOTSUP || result == -ENOSYS) {
    return submit_to_worker(request);
  }
  const bool moves_data = op.kind == FileOp::Kind::kRead || op.kind == FileOp::Kind::kWrite;
  if (result < 0 || !moves_data) {
    op.result = result;
    return finish(request);
  }
  op.done_bytes += static_cast<uint64_t>(result);
  if (!transfer_is_over(op, static_cast<uint64_t>(result), direct_alignment_)) {
    return submit_to_ring(request);
  }
  const bool cut_off = op.kind == FileOp::Kind::kWrite && op.done_bytes != op.iov->size_bytes();
  op.result = cut_off ? -ENOSPC : static_cast<int64_t>(op.done_bytes);
  finish(request);
}

void PosixFile::start_on_worker(FileOp& op) {
  FileRequest* const request = owner_->take_request();
  request->file = this;
  request->op = &op;
  ++in_flight_;
  submit_to_worker(*request);
}

void PosixFile::submit_to_worker(FileRequest& request) {
  request.run = [](WorkItem& item) {
    auto& self = static_cast<FileRequest&>(item);
    const PosixFile& file = *self.file;
    self.op->result = perform(file.fd_, file.kind_, file.direct_alignment_, *self.op);
  };
  request.WorkItem::complete = [](WorkItem& item) {
    auto& self = static_cast<FileRequest&>(item);
    self.file->finish(self);
  };
  request.quick = request.op->kind == FileOp::Kind::kWrite && !direct_;
  loop_->submit(static_cast<WorkItem&>(request));
}

void PosixFile::finish(FileRequest& request) {
  --in_flight_;
  loop_->ready(request.op->waiter);
  owner_->give_back(&request);
}

Task<base::Result<FileStat>> PosixFile::stat() {
  if (policy_.query == IoRoute::kInline) co_return stat_of_fd(fd_, path());
  co_return co_await loop_->on_worker([&] { return stat_of_fd(fd_, path()); });
}

Task<base::Result<Extent>> PosixFile::extent_at(uint64_t offset) {
  if (policy_.query == IoRoute::kInline) co_return extent_of_fd(fd_, kind_, offset, path());
  co_return co_await loop_->on_worker([&] { return extent_of_fd(fd_, kind_, offset, path()); });
}

base::Result<> PosixFile::set_lock(uint64_t offset, short type, const char* verb) {
  struct flock lock{};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = static_cast<off_t>(offset);
  lock.l_len = 1;
  if (::fcntl(fd_, F_OFD_SETLK, &lock) == 0) return {};
  const int problem = errno;
  base::Error error = base::Error::from_errno(
      problem, fmt::format("Could not {} byte {} of '{}'", verb, offset, path()));
  if (problem == EACCES) error = std::move(error).with_kind(base::ErrorKind::kBusy);
  return base::fail(std::move(error));
}

base::Result<> PosixFile::lock_byte(uint64_t offset, LockKind kind) {
  has_locked_ = true;
  return set_lock(offset, kind == LockKind::kShared ? F_RDLCK : F_WRLCK, "lock");
}

base::Result<> PosixFile::unlock_byte(uint64_t offset) {
  return set_lock(offset, F_UNLCK, "unlock");
}

base::Result<> PosixFile::test_lock(uint64_t offset, LockKind kind) {
  struct flock lock{};
  lock.l_type = kind == LockKind::kShared ? F_RDLCK : F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = static_cast<off_t>(offset);
  lock.l_len = 1;
  if (::fcntl(fd_, F_OFD_GETLK, &lock) != 0) {
    return base::fail(base::Error::from_errno(
        errno, fmt::format("Could not test the lock on byte {} of '{}'", offset, path())));
  }
  if (lock.l_type == F_UNLCK) return {};
  return base::fail(base::ErrorKind::kBusy,
                    fmt::format("Byte {} of '{}' is locked by another process", offset, path()));
}

}  // namespace firn::async
