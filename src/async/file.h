// Files, as a loop sees them.
#pragma once

#include <coroutine>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "async/iovec.h"
#include "async/loop.h"
#include "async/task.h"
#include "base/result.h"

namespace firn::async {

enum class FileKind { kRegular, kBlockDevice, kCharacterDevice, kDirectory, kSocket, kOther };

struct FileStat {
  FileKind kind = FileKind::kOther;
  uint64_t size_bytes = 0;       // of a block device too, if we may open it; else 0
  uint64_t allocated_bytes = 0;  // what it takes of its store
  uint64_t device = 0;           // device and inode name the very file ...
  uint64_t inode = 0;
  uint64_t rdev = 0;  // ... and for a block device, the device's own number does
  int64_t modified_ns = 0;
  int64_t changed_ns = 0;
};

struct OpenOptions {
  bool writable = false;
  bool create = false;     // with `exclusive`: O_EXCL; else an existing file is opened as it is
  bool exclusive = false;  // kExists if there is one
  bool direct = false;   // O_DIRECT: memory, offsets and lengths are aligned to direct_alignment()
  uint32_t mode = 0644;  // of a file that is created, less the umask
};

// One operation in flight. It lives in the awaiting coroutine's frame.
struct FileOp {
  enum class Kind : uint8_t {
    kRead,          // iov; result: bytes read, fewer than asked only at the end of the file
    kWrite,         // iov; all of it or an error
    kSync,          // fsync
    kDataSync,      // fdatasync
    kZero,          // offset, length: reads as zeroes after, allocated; the file grows if need be
    kZeroAndUnmap,  // offset, length: reads as zeroes after, storage given back; never grows
    kDiscard,   // offset, length: storage given back; what is read after is not defined on devices
    kAllocate,  // offset, length: storage is reserved, contents kept, the file grows if need be
    kTruncate,  // length: the new size
  };
  Kind kind = Kind::kRead;
  uint64_t offset = 0;
  uint64_t length = 0;
  const IoVec* iov = nullptr;
  int64_t result = 0;  // bytes, or a negative errno
  std::coroutine_handle<> waiter;
  // For the implementation's use.
  FileOp* next = nullptr;
  void* context = nullptr;
  uint64_t done_bytes = 0;
};

struct Extent {
  bool data = true;  // false: a hole, reads as zeroes
  uint64_t length_bytes = 0;
};

enum class LockKind { kShared, kExclusive };

// An open file. Belongs to the loop that opened it; closed (on a worker where that may block) when
// it is destroyed, at which moment no operation may be in flight.
class File {
 public:
  virtual ~File() = default;

  const std::string& path() const { return path_; }  // as it was opened
  bool writable() const { return writable_; }
  // What O_DIRECT asks of memory, offsets and lengths; 1 without it.
  uint32_t direct_alignment() const { return direct_alignment_; }

  // The hot operations. Memory stays the caller's and must live until the end of the operation; an
  // IoVec that is passed must too. Errors are errno values with the file's path in the text.

  // Bytes read: all that was asked for, fewer only where the file ends.
  auto read(uint64_t offset, const IoVec& iov) {
    return Awaiter<uint64_t>(*this, {.kind = FileOp::Kind::kRead, .offset = offset, .iov = &iov});
  }
  auto write(uint64_t offset, const IoVec& iov) {
    return Awaiter<void>(*this, {.kind = FileOp::Kind::kWrite, .offset = offset, .iov = &iov});
  }
  // Everything written before is durable after. fdatasync: the size too, times not.
  auto sync_data() { return Awaiter<void>(*this, {.kind = FileOp::Kind::kDataSync}); }
  auto sync() { return Awaiter<void>(*this, {.kind = FileOp::Kind::kSync}); }
  // kUnsupported where the file system or device can't; nothing has changed then. Without `unmap`
  // a range beyond the end makes the file grow; with it nothing happens there.
  auto zero(uint64_t offset, uint64_t length, bool unmap) {
    return Awaiter<void>(*this, {.kind = unmap ? FileOp::Kind::kZeroAndUnmap : FileOp::Kind::kZero,
                                 .offset = offset,
                                 .length = length});
  }
  auto discard(uint64_t offset, uint64_t length) {
    return Awaiter<void>(*this,
                         {.kind = FileOp::Kind::kDiscard, .offset = offset, .length = length});
  }
  auto allocate(uint64_t offset, uint64_t length) {
    return Awaiter<void>(*this,
                         {.kind = FileOp::Kind::kAllocate, .offset = offset, .length = length});
  }
  auto truncate(uint64_t size) {
    return Awaiter<void>(*this, {.kind = FileOp::Kind::kTruncate, .length = size});
  }

  // The rest, which may take a worker each.

  virtual Task<base::Result<FileStat>> stat() = 0;
  // Data or hole at `offset`, and for how far (to the end of the file at most). All data where the
  // file system can't tell. kOutOfRange at and beyond the end.
  virtual Task<base::Result<Extent>> extent_at(uint64_t offset) = 0;

  // Open-file-description locks on one byte (fcntl F_OFD_SETLK), as QEMU locks images; they end
  // with the file. A lock that somebody else holds gives kBusy. Locks of the same File never
  // conflict.
  virtual base::Result<> lock_byte(uint64_t offset, LockKind kind) = 0;
  virtual base::Result<> unlock_byte(uint64_t offset) = 0;
  // kBusy if another open file holds a lock on the byte that `kind` would conflict with.
  virtual base::Result<> test_lock(uint64_t offset, LockKind kind) = 0;

 protected:
  File(std::string path, bool writable) : path_(std::move(path)), writable_(writable) {}
  uint32_t direct_alignment_ = 1;

  // Begins `op`. True if it is complete already (op.result is set); else op.waiter is resumed, in a
  // later step of this loop, once it is.
  virtual bool start(FileOp& op) = 0;

 private:
  static base::Error error_of(const File& file, const FileOp& op);

  template <typename R>
  class Awaiter {
   public:
    Awaiter(File& file, FileOp op) : file_(file), op_(op) {}
    // Not in await_ready: an operation that starts there could not yet name whom to resume.
    bool await_ready() const noexcept { return false; }
    bool await_suspend(std::coroutine_handle<> handle) {
      op_.waiter = handle;
      return !file_.start(op_);
    }
    [[nodiscard]] base::Result<R> await_resume() const {
      if (op_.result < 0) [[unlikely]]
        return std::unexpected(error_of(file_, op_));
      if constexpr (std::is_void_v<R>) {
        return {};
      } else {
        return static_cast<R>(op_.result);
      }
    }

   private:
    File& file_;
    FileOp op_;
  };

  std::string path_;
  bool writable_;
};

struct StoreStat {
  uint64_t free_bytes = 0;  // for unprivileged users
  uint64_t total_bytes = 0;
};

// Names and directories. Every call may take a worker. Errors carry the path.
class FileSystem {
 public:
  virtual ~FileSystem() = default;

  virtual Task<base::Result<std::unique_ptr<File>>> open(std::string path, OpenOptions options) = 0;
  // A file that somebody handed over as a descriptor; the descriptor is owned from then on.
  virtual Task<base::Result<std::unique_ptr<File>>> adopt(int fd, std::string name,
                                                          bool writable) = 0;
  // Moves `file`, opened on another loop, to this one, with its descriptor and its locks. It has no
  // operation in flight, and both loops keep still. After an error `file` is as it was.
  virtual base::Result<> adopt_file(std::unique_ptr<File>& file) = 0;
  virtual Task<base::Result<FileStat>> stat(std::string path) = 0;  // follows symbolic links
  virtual Task<base::Result<>> unlink(std::string path) = 0;
  virtual Task<base::Result<>> rename(std::string from, std::string to) = 0;
  virtual Task<base::Result<>> make_directory(std::string path) = 0;
  // Names in a directory, without "." and "..", sorted.
  virtual Task<base::Result<std::vector<std::string>>> list(std::string path) = 0;
  // The names in `path` are durable after.
  virtual Task<base::Result<>> sync_directory(std::string path) = 0;
  // Absolute, without symbolic links, "." and ".."; the last component need not exist.
  virtual Task<base::Result<std::string>> real_path(std::string path) = 0;
  virtual Task<base::Result<StoreStat>> store_of(std::string path) = 0;
};

}  // namespace firn::async
