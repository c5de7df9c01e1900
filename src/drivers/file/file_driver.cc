#include "drivers/file/file_driver.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <utility>

#include "async/scope.h"
#include "async/sync.h"
#include "base/bytes.h"
#include "base/canary.h"
#include "base/units.h"
#include "drivers/file/fd_sets.h"
#include "drivers/file/image_lock.h"

namespace firn::file {
namespace {

using async::FileKind;
using async::IoVec;
using async::Task;
using base::ErrorKind;
using base::Result;
using block::Flags;
using block::Permissions;

// Sizes are given in whole sectors, as QEMU does; the rest of the last one reads as zeroes.
constexpr uint64_t kSectorBytes = 512;
constexpr uint64_t kZeroChunkBytes = 256 * base::kKiB;
constexpr uint32_t kMemoryAlignment = 4096;

// Not const, so that it takes no room in the program's file. Never stored to.
alignas(kMemoryAlignment) constinit std::array<std::byte, kZeroChunkBytes> kZeroes{};

base::Error open_error(const std::string& filename, base::Error error) {
  const std::string text = fmt::format("Could not open '{}'", filename);
  if (error.errno_value() != 0) return base::Error::from_errno(error.errno_value(), text);
  return std::move(error).with_context(text);
}

// A file, and for one of /dev/fdset/N what keeps its set from being closed.
struct Opened {
  std::unique_ptr<async::File> file;
  std::shared_ptr<void> in_use;
};

Task<Result<Opened>> open_path(std::string path, async::OpenOptions how) {
  async::FileSystem& files = async::Loop::current().files();
  const auto set = parse_fdset(path);
  if (!set) co_return Opened{.file = CO_TRY(co_await files.open(std::move(path), how))};
  const int64_t id = CO_TRY(*set);
  FdSets::Copy copy = CO_TRY(process_fd_sets().open(id, how.writable, how.direct));
  co_return Opened{.file = CO_TRY(co_await files.adopt(copy.fd, std::move(path), how.writable)),
                   .in_use = std::move(copy.in_use)};
}

// Memory that O_DIRECT takes, for callers whose own is not aligned.
class Bounce {
 public:
  Bounce(uint64_t size, uint32_t alignment)
      : bytes_(static_cast<std::byte*>(std::aligned_alloc(alignment, size))), size_(size) {
    CHECK(bytes_ != nullptr);
  }
  base::ByteSpan bytes() const { return {bytes_.get(), size_}; }

 private:
  struct Free {
    void operator()(std::byte* bytes) const { std::free(bytes); }
  };
  std::unique_ptr<std::byte, Free> bytes_;
  uint64_t size_;
};

class FileDriver final : public block::Driver {
 public:
  struct Setup {
    std::string_view name;
    std::string path;  // absolute
    uint64_t size_bytes = 0;
    bool is_device = false;
    bool lock = true;
    bool lock_if_possible = false;
    std::shared_ptr<void> in_use;  // of /dev/fdset/N
    async::FileStat stat;          // at opening
  };
  FileDriver(Setup setup, block::Node& node, std::unique_ptr<async::File> file)
      : setup_(std::move(setup)),
        node_(node),
        file_(std::move(file)),
        lock_(*file_),
        size_bytes_(setup_.size_bytes),
        known_(setup_.stat) {}

  std::string_view name() const override { return setup_.name; }
  bool is_protocol() const override { return true; }
  std::string filename() const override { return setup_.path; }
  uint64_t size_bytes() const override { return base::round_up(size_bytes_, kSectorBytes); }
  block::Limits limits() const override {
    block::Limits limits;
    limits.request_alignment = file_->direct_alignment();
    return limits;
  }

  Task<Result<>> read(uint64_t offset, const IoVec& iov, Flags) override {
    if (!fits_direct(iov)) [[unlikely]] {
      Bounce bounce(iov.size_bytes(), file_->direct_alignment());
      const IoVec aligned{bounce.bytes()};
      const uint64_t bytes = CO_TRY(co_await file_->read(offset, aligned));
      iov.copy_from(0, bounce.bytes().first(bytes));
      iov.fill_zero(bytes, iov.size_bytes() - bytes);
      co_return Result<>();
    }
    const uint64_t bytes = CO_TRY(co_await file_->read(offset, iov));
    if (bytes < iov.size_bytes()) iov.fill_zero(bytes, iov.size_bytes() - bytes);
    co_return Result<>();
  }

  Task<Result<>> write(uint64_t offset, const IoVec& iov, Flags flags) override {
    Result<> result;
    if (fits_direct(iov)) [[likely]] {
      result = co_await file_->write(offset, iov);
    } else {
      Bounce bounce(iov.size_bytes(), file_->direct_alignment());
      iov.copy_to(0, bounce.bytes());
      const IoVec aligned{bounce.bytes()};
      result = co_await file_->write(offset, aligned);
    }
    ++changes_;
    CO_TRY(std::move(result));
    grown_to(offset + iov.size_bytes());
    if ((flags & block::flag::kFua) != 0) co_return co_await flush();
    co_return Result<>();
  }

  Task<Result<>> write_zeroes(uint64_t offset, uint64_t length, Flags flags) override {
    auto result = co_await zero(offset, length, flags);
    ++changes_;
    CO_TRY(std::move(result));
    if ((flags & block::flag::kFua) != 0) co_return co_await flush();
    co_return Result<>();
  }

  Task<Result<>> discard(uint64_t offset, uint64_t length, Flags flags) override {
    if (!can_discard_ || offset >= size_bytes()) co_return Result<>();
    if (setup_.is_device) {
      const uint64_t begin = base::round_up(offset, kSectorBytes);
      const uint64_t end = base::round_down(offset + length, kSectorBytes);
      if (begin >= end) co_return Result<>();
      offset = begin;
      length = end - begin;
    }
    auto result = co_await file_->discard(offset, length);
    ++changes_;
    if (result) {
      ++discard_counts_.succeeded;
      discard_counts_.bytes += length;
    } else {
      ++discard_counts_.failed;
    }
    // A discard is a wish.
    if (!result && is_refused(result.error(), can_discard_)) co_return Result<>();
    CO_TRY(std::move(result));
    if ((flags & block::flag::kFua) != 0) co_return co_await flush();
    co_return Result<>();
  }

  block::DiscardCounts discard_counts() const override { return discard_counts_; }

  Task<Result<>> flush() override {
    if (node_.options().no_flush) co_return Result<>();
    // What was complete at this moment is durable after; what completes meanwhile is not counted.
    const uint64_t wanted = changes_;
    // One at a time: of two at once, the kernel would tell one of a lost write and let the other
    // succeed. Those who wait here mostly find that the one before them has done their work.
    const auto guard = co_await flushing_.lock();
    if (lost_writes_) {
      co_return base::fail(
          ErrorKind::kIo,
          fmt::format("'{}' has lost writes that an earlier flush reported", setup_.path));
    }
    if (flushed_ != kNever && flushed_ >= wanted) co_return Result<>();
    const uint64_t covered = changes_;
    auto result = co_await file_->sync_data();
    if (result) {
      flushed_ = covered;
    } else if (!node_.options().direct) {
      // The kernel drops what it could not write back and reports it once: a second flush that
      // succeeds would prove nothing.
      lost_writes_ = !base::canaries.failed_flush_forgotten;
    }
    co_return result;
  }

  Task<Result<block::Run>> status(uint64_t offset, uint64_t length) override {
    block::Run run;
    run.length_bytes = length;
    if (offset >= size_bytes_) {
      run.kind = block::RunKind::kZero;
      co_return run;
    }
    if (!setup_.is_device) {
      const async::Extent extent = CO_TRY(co_await file_->extent_at(offset));
      run.kind = extent.data ? block::RunKind::kData : block::RunKind::kZero;
      // The last sector's rest belongs to the run before it.
      const bool to_the_end = offset + extent.length_bytes >= size_bytes_;
      if (!to_the_end) run.length_bytes = std::min(length, extent.length_bytes);
      if (run.length_bytes == 0) run.length_bytes = length;
    }
    if (run.kind == block::RunKind::kData) run.host_offset = offset;
    co_return run;
  }

  Task<Result<>> resize(uint64_t size_bytes) override {
    if (setup_.is_device) {
      const async::FileStat stat = CO_TRY(co_await file_->stat());
      if (size_bytes > stat.size_bytes) {
        co_return base::fail(ErrorKind::kInvalidArgument, "Cannot grow device files");
      }
      if (size_bytes < stat.size_bytes) {
        co_return base::fail(ErrorKind::kUnsupported, "Cannot resize device files");
      }
      size_bytes_ = stat.size_bytes;
      co_return Result<>();
    }
    auto result = co_await file_->truncate(size_bytes);
    ++changes_;
    CO_TRY_CONTEXT(std::move(result), "Failed to resize the file");
    size_bytes_ = size_bytes;
    co_return Result<>();
  }

  Task<Result<>> set_read_only(bool read_only) override {
    if (read_only) co_return co_await flush();
    if (file_->writable()) co_return Result<>();
    const async::OpenOptions options{.writable = true, .direct = node_.options().direct};
    auto opened = co_await open_path(setup_.path, options);
    if (!opened) co_return base::fail(open_error(setup_.path, std::move(opened).error()));
    const async::FileStat before = CO_TRY(co_await file_->stat());
    const async::FileStat now = CO_TRY(co_await opened->file->stat());
    if (before.device != now.device || before.inode != now.inode || before.rdev != now.rdev) {
      co_return base::fail(
          ErrorKind::kGeneric,
          fmt::format("'{}' is another file now than when it was opened", setup_.path));
    }
    co_await looking_.join();
    ImageLock old_lock = lock_;
    if (setup_.lock) CO_TRY(lock_.rebind(*opened->file));
    lock_.moved(*opened->file);
    // Requests may be in flight on the old one, which only read: it stays open, without locks.
    if (setup_.lock) (void)old_lock.set(0, block::permission::kAll);
    read_file_ = std::exchange(file_, std::move(opened->file));
    setup_.in_use = std::move(opened->in_use);
    co_return Result<>();
  }

  bool has_lost_data() const override { return lost_writes_; }
  void accept_loss() override {
    lost_writes_ = false;
    flushed_ = kNever;
  }

  Result<> set_permissions(Permissions used, Permissions shared) override {
    if (!setup_.lock) return {};
    auto result = lock_.set(used, shared);
    if (!result && setup_.lock_if_possible && result.error().kind() == ErrorKind::kUnsupported) {
      setup_.lock = false;
      return {};
    }
    return result;
  }

  Result<> move_to(async::Loop& loop) override {
    if (looking_.running() != 0) {
      return base::fail(ErrorKind::kBusy, fmt::format("'{}' does not answer", setup_.path));
    }
    read_file_.reset();
    TRY(loop.files().adopt_file(file_));
    lock_.moved(*file_);
    return {};
  }

  Task<Result<>> close() override {
    // A writer's data is not left to the kernel's mercy.
    Result<> result;
    if (changes_ != 0) result = co_await flush();
    co_await looking_.join();
    // Locks end with the file, unless it is a copy of a descriptor that stays.
    if (setup_.in_use != nullptr && setup_.lock) (void)lock_.set(0, block::permission::kAll);
    read_file_.reset();
    file_.reset();
    setup_.in_use.reset();
    co_return result;
  }

  Task<Result<block::ImageFacts>> facts() override {
    co_await look();
    const async::FileStat stat = CO_TRY(known_);
    block::ImageFacts facts;
    facts.filename = setup_.path;
    facts.format = setup_.name;
    facts.virtual_size_bytes = size_bytes();
    facts.actual_size_bytes = stat.allocated_bytes;
    facts.dirty = false;
    co_return facts;
  }
  Task<Result<async::FileStat>> identity() override { co_return setup_.stat; }

 private:
  static constexpr uint64_t kNever = UINT64_MAX;
  static constexpr auto kPatience = std::chrono::milliseconds(100);  // with a file's stat

  bool fits_direct(const IoVec& iov) const {
    const uint32_t alignment = file_->direct_alignment();
    if (alignment == 1) [[likely]]
      return true;
    return std::ranges::all_of(iov.pieces(), [&](const iovec& piece) {
      return base::is_aligned(reinterpret_cast<uintptr_t>(piece.iov_base) | piece.iov_len,
                              alignment);
    });
  }

  // The padding of a last block that O_DIRECT writes whole makes no disk larger.
  void grown_to(uint64_t end) {
    const uint64_t padded = base::round_up(size_bytes_, file_->direct_alignment());
    if (end > padded || file_->direct_alignment() == 1) size_bytes_ = std::max(size_bytes_, end);
  }

  // True if the store does not do this, so that there may be another way. What it never does is not
  // tried again; but a block device refuses parts of its sectors, however large those are.
  bool is_refused(const base::Error& error, bool& can_do) const {
    if (error.kind() == ErrorKind::kUnsupported) {
      can_do = false;
      return true;
    }
    return setup_.is_device && error.errno_value() == EINVAL;
  }

  // A block device zeroes whole sectors: parts of them are written.
  Task<Result<>> zero(uint64_t offset, uint64_t length, Flags flags) {
    if (!setup_.is_device) co_return co_await zero_whole(offset, length, flags);
    const uint64_t end = offset + length;
    const uint64_t begin = std::min(end, base::round_up(offset, kSectorBytes));
    const uint64_t whole_end = std::max(begin, base::round_down(end, kSectorBytes));
    CO_TRY(co_await write_out_zeroes(offset, begin - offset));
    if (begin < whole_end) CO_TRY(co_await zero_whole(begin, whole_end - begin, flags));
    co_return co_await write_out_zeroes(whole_end, end - whole_end);
  }

  Task<Result<>> zero_whole(uint64_t offset, uint64_t length, Flags flags) {
    const bool may_unmap = (flags & block::flag::kMayUnmap) != 0;
    if (!may_unmap && can_zero_) {
      auto result = co_await file_->zero(offset, length, false);
      if (result) co_return co_await extend(offset + length);
      if (!is_refused(result.error(), can_zero_)) co_return result;
    }
    if (can_punch_) {
      auto result = co_await file_->zero(offset, length, true);
      if (result) {
        if (!may_unmap) CO_TRY(co_await reserve(offset, length));
        co_return co_await extend(offset + length);
      }
      if (!is_refused(result.error(), can_punch_)) co_return result;
    }
    if ((flags & block::flag::kNoFallback) != 0) {
      co_return base::fail(ErrorKind::kUnsupported,
                           fmt::format("'{}' can't be zeroed without writing", setup_.path));
    }
    co_return co_await write_out_zeroes(offset, length);
  }

  // Storage for a range that keeps its place although it reads as zeroes. Where the file system
  // can't reserve, the zeroes are as good without.
  Task<Result<>> reserve(uint64_t offset, uint64_t length) {
    auto result = co_await file_->allocate(offset, length);
    if (!result && result.error().kind() == ErrorKind::kUnsupported) co_return Result<>();
    co_return result;
  }

  // Zeroing beyond the end makes the file grow. Its last block is written, not the file truncated
  // to its new size: a truncation could take what another write puts behind it meanwhile.
  Task<Result<>> extend(uint64_t end) {
    if (end <= size_bytes_ || setup_.is_device) co_return Result<>();
    const uint64_t block = file_->direct_alignment();
    const IoVec last{base::ByteSpan(kZeroes).first(block)};
    CO_TRY(co_await file_->write(end - block, last));
    grown_to(end);
    co_return Result<>();
  }

  Task<Result<>> write_out_zeroes(uint64_t offset, uint64_t length) {
    while (length != 0) {
      const uint64_t part = std::min(length, kZeroChunkBytes);
      const IoVec zeroes{base::ByteSpan(kZeroes).first(part)};
      CO_TRY(co_await file_->write(offset, zeroes));
      offset += part;
      length -= part;
      grown_to(offset);
    }
    co_return Result<>();
  }

  // Asks the file for its figures, and waits for them; but for a store that does not answer only
  // once, and not for long: queries go on with what was known before.
  Task<void> look() {
    if (answered_ == nullptr) {
      answered_ = std::make_shared<async::CancelSource>();
      asked_ = async::Loop::current().now();
      looking_.spawn(ask());
    }
    const auto answered = answered_;
    if (answered == nullptr) co_return;  // it was quick
    (void)co_await async::Loop::current().sleep_until(asked_ + kPatience, answered->token());
  }

  Task<void> ask() {
    known_ = co_await file_->stat();
    std::exchange(answered_, nullptr)->cancel();
  }

  Setup setup_;
  block::Node& node_;
  std::unique_ptr<async::File> file_;
  std::unique_ptr<async::File> read_file_;  // as it was before the node became writable
  ImageLock lock_;
  uint64_t size_bytes_;
  uint64_t changes_ = 0;       // mutating requests that have completed
  uint64_t flushed_ = kNever;  // of these, what a flush has made durable
  bool lost_writes_ = false;
  async::Mutex flushing_;
  bool can_zero_ = true;
  bool can_punch_ = true;
  bool can_discard_ = true;
  block::DiscardCounts discard_counts_;
  Result<async::FileStat> known_;                  // what the file said of itself last
  std::shared_ptr<async::CancelSource> answered_;  // while it is asked
  async::TimePoint asked_;
  async::TaskScope looking_;
};

Result<> check_kind(std::string_view driver, bool device, const std::string& filename,
                    FileKind kind) {
  if (device) {
    if (kind == FileKind::kBlockDevice) return {};
    if (kind == FileKind::kCharacterDevice) {
      return base::fail(ErrorKind::kUnsupported,
                        fmt::format("'{}' is a character device; only block devices and files "
                                    "are opened here",
                                    filename));
    }
    return base::fail(ErrorKind::kInvalidArgument,
                      fmt::format("'{}' driver requires '{}' to be either a character or block "
                                  "device",
                                  driver, filename));
  }
  if (kind == FileKind::kRegular) return {};
  return base::fail(
      base::Error(ErrorKind::kInvalidArgument,
                  fmt::format("'{}' driver requires '{}' to be a regular file", driver, filename))
          .with_hint(kind == FileKind::kBlockDevice ? "use the driver 'host_device'" : ""));
}

// For writing if the node asks for it, with the fallback that it allows.
Task<Result<Opened>> open_file(block::Node& node, std::string path) {
  async::OpenOptions how{.writable = !node.read_only(), .direct = node.options().direct};
  auto opened = co_await open_path(path, how);
  if (!opened && how.writable && node.options().auto_read_only) {
    const ErrorKind kind = opened.error().kind();
    if (kind == ErrorKind::kPermission || kind == ErrorKind::kReadOnly) {
      how.writable = false;
      auto fallback = co_await open_path(path, how);
      if (fallback) {
        node.set_read_only_mark(true);
        co_return fallback;
      }
    }
  }
  co_return opened;
}

// Where `filename` leads, absolute, after a look at what it is: opening a pipe or a tape may block
// or do something.
Task<Result<std::string>> check_before_opening(bool device, std::string filename) {
  if (parse_fdset(filename)) co_return filename;
  async::FileSystem& files = async::Loop::current().files();
  auto before = co_await files.stat(filename);
  if (!before) co_return base::fail(open_error(filename, std::move(before).error()));
  if (before->kind == FileKind::kDirectory) {
    co_return base::fail(
        base::Error::from_errno(EISDIR, fmt::format("Could not open '{}'", filename)));
  }
  CO_TRY(check_kind(device ? "host_device" : "file", device, filename, before->kind));
  auto path = co_await files.real_path(filename);
  if (!path) co_return base::fail(open_error(filename, std::move(path).error()));
  co_return *std::move(path);
}

Task<Result<std::unique_ptr<block::Driver>>> open_as(bool device, block::Node& node,
                                                     const Options* options) {
  if (options == nullptr || options->filename.empty()) {
    co_return base::fail(
        ErrorKind::kInvalidArgument,
        fmt::format("The '{}' block driver requires a file name", device ? "host_device" : "file"));
  }
  if (options->aio == Options::Aio::kNative && !node.options().direct) {
    co_return base::fail(ErrorKind::kInvalidArgument,
                         "aio=native was specified, but it requires cache.direct=on, which was "
                         "not specified.");
  }
  const std::string& filename = options->filename;
  const std::string_view driver = device ? "host_device" : "file";
  std::string path = CO_TRY(co_await check_before_opening(device, filename));
  const bool is_passed = parse_fdset(path).has_value();
  auto opened = co_await open_file(node, path);
  if (!opened && is_passed) co_return base::fail(std::move(opened).error());
  if (!opened) co_return base::fail(open_error(filename, std::move(opened).error()));
  const async::FileStat stat = CO_TRY(co_await opened->file->stat());
  CO_TRY(check_kind(driver, device, filename, stat.kind));
  FileDriver::Setup setup{.name = driver,
                          .path = std::move(path),
                          .size_bytes = stat.size_bytes,
                          .is_device = device,
                          .lock = options->locking != Options::Locking::kOff,
                          .lock_if_possible = options->locking == Options::Locking::kAuto,
                          .in_use = std::move(opened->in_use),
                          .stat = stat};
  co_return std::make_unique<FileDriver>(std::move(setup), node, std::move(opened->file));
}

Task<Result<std::unique_ptr<block::Driver>>> open_regular(block::OpenContext&, block::Node& node,
                                                          const block::DriverOptions* options) {
  return open_as(false, node, static_cast<const Options*>(options));
}

Task<Result<std::unique_ptr<block::Driver>>> open_device(block::OpenContext&, block::Node& node,
                                                         const block::DriverOptions* options) {
  return open_as(true, node, static_cast<const Options*>(options));
}

std::unique_ptr<block::DriverOptions> options_of_filename(std::string filename) {
  auto options = std::make_unique<Options>();
  options->filename = std::move(filename);
  return options;
}

}  // namespace

void register_drivers(block::Registry& registry) {
  registry.add({.name = "file",
                .is_protocol = true,
                .open = &open_regular,
                .options_of_filename = &options_of_filename});
  registry.add({.name = "host_device",
                .is_protocol = true,
                .open = &open_device,
                .options_of_filename = &options_of_filename,
                .for_block_devices = true});
}

}  // namespace firn::file
