#include "drivers/raw/raw_driver.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "base/bytes.h"

namespace firn::raw {
namespace {

using async::IoVec;
using async::Task;
using base::ErrorKind;
using base::Result;
using block::Flags;

constexpr uint64_t kSectorBytes = 512;

class RawDriver final : public block::Driver {
 public:
  RawDriver(block::Edge& file, const Options& options) : file_(file), options_(options) {}

  std::string_view name() const override { return "raw"; }
  uint64_t size_bytes() const override {
    if (options_.size_bytes) return *options_.size_bytes;
    const uint64_t size = file_.size_bytes();
    return size > options_.offset_bytes ? size - options_.offset_bytes : 0;
  }
  block::Limits limits() const override {
    block::Limits limits = file_.child()->driver().limits();
    limits.request_alignment = 1;  // the file's edge mends what is not aligned there
    return limits;
  }

  Task<Result<>> read(uint64_t offset, const IoVec& iov, Flags flags) override {
    return file_.read(options_.offset_bytes + offset, iov, flags);
  }
  Task<Result<>> write(uint64_t offset, const IoVec& iov, Flags flags) override {
    return file_.write(options_.offset_bytes + offset, iov, flags);
  }
  Task<Result<>> write_zeroes(uint64_t offset, uint64_t length, Flags flags) override {
    return file_.write_zeroes(options_.offset_bytes + offset, length, flags);
  }
  Task<Result<>> discard(uint64_t offset, uint64_t length, Flags flags) override {
    return file_.discard(options_.offset_bytes + offset, length, flags);
  }
  Task<Result<>> flush() override { return file_.flush(); }

  Task<Result<block::Run>> status(uint64_t offset, uint64_t length) override {
    const uint64_t at = options_.offset_bytes + offset;
    block::Run run = CO_TRY(co_await file_.child()->driver().status(at, length));
    run.compressed = false;
    run.host_offset.reset();
    if (run.kind == block::RunKind::kData) run.host_offset = at;
    // A format below may leave a range to its own backing image; here it is data all the same.
    if (run.kind == block::RunKind::kUnallocated) run.kind = block::RunKind::kData;
    co_return run;
  }

  Task<Result<>> resize(uint64_t size_bytes) override {
    if (options_.size_bytes) {
      co_return base::fail(ErrorKind::kUnsupported, "Cannot resize fixed-size raw disks");
    }
    if (UINT64_MAX - options_.offset_bytes < size_bytes) {
      co_return base::fail(
          ErrorKind::kInvalidArgument,
          fmt::format("Disk size too large for the chosen offset ({})", options_.offset_bytes));
    }
    co_return co_await file_.child()->driver().resize(options_.offset_bytes + size_bytes);
  }
  Task<Result<>> set_read_only(bool read_only) override {
    if (read_only) CO_TRY(co_await file_.flush());
    co_return Result<>();
  }
  bool has_lost_data() const override { return file_.child()->driver().has_lost_data(); }
  void accept_loss() override { file_.child()->driver().accept_loss(); }
  Result<> move_to(async::Loop&) override { return {}; }
  Task<Result<>> close() override {
    if (file_.parent()->read_only()) co_return Result<>();
    co_return co_await file_.flush();
  }

  Task<Result<block::ImageFacts>> facts() override {
    block::ImageFacts facts = CO_TRY(co_await file_.child()->driver().facts());
    facts.format = "raw";
    facts.virtual_size_bytes = size_bytes();
    co_return facts;
  }
  std::string filename() const override {
    const bool window = options_.offset_bytes != 0 || options_.size_bytes.has_value();
    return window ? "" : file_.child()->driver().filename();
  }

 private:
  block::Edge& file_;
  Options options_;
};

Result<> check(const Options& options, uint64_t file_size) {
  const uint64_t offset = options.offset_bytes;
  if (offset > file_size) {
    return base::fail(ErrorKind::kInvalidArgument,
                      fmt::format("Offset ({}) cannot be greater than size of the containing file "
                                  "({})",
                                  offset, file_size));
  }
  if (!options.size_bytes) return {};
  if (!base::is_aligned(*options.size_bytes, kSectorBytes)) {
    return base::fail(ErrorKind::kInvalidArgument,
                      fmt::format("Specified size is not multiple of {}", kSectorBytes));
  }
  if (*options.size_bytes > file_size - offset) {
    return base::fail(ErrorKind::kInvalidArgument,
                      fmt::format("The sum of offset ({}) and size ({}) has to be smaller or equal "
                                  "to the actual size of the containing file ({})",
                                  offset, *options.size_bytes, file_size));
  }
  return {};
}

Task<Result<std::unique_ptr<block::Driver>>> open(block::OpenContext&, block::Node& node,
                                                  const block::DriverOptions* options) {
  const Options defaults;
  const auto* chosen = static_cast<const Options*>(options);
  if (chosen == nullptr) chosen = &defaults;
  block::Edge& file = node.children().file;
  CO_TRY(check(*chosen, file.size_bytes()));
  co_return std::make_unique<RawDriver>(file, *chosen);
}

enum class Preallocation { kOff, kFalloc, kFull };

Result<Preallocation> read_request(const block::DriverEntry::CreateRequest& request) {
  if (!request.backing_filename.empty()) {
    return base::fail(ErrorKind::kUnsupported, "Backing file not supported for file format 'raw'");
  }
  Preallocation preallocation = Preallocation::kOff;
  for (const auto& [name, value] : request.options) {
    if (name != "preallocation") {
      return base::fail(ErrorKind::kInvalidArgument, fmt::format("Invalid parameter '{}'", name));
    }
    if (value == "off") {
      preallocation = Preallocation::kOff;
    } else if (value == "falloc") {
      preallocation = Preallocation::kFalloc;
    } else if (value == "full") {
      preallocation = Preallocation::kFull;
    } else {
      return base::fail(ErrorKind::kInvalidArgument,
                        fmt::format("Parameter 'preallocation' does not accept value '{}'", value));
    }
  }
  return preallocation;
}

Task<Result<>> write_out_zeroes(block::Edge& file, uint64_t size_bytes) {
  constexpr size_t kChunkBytes = size_t{1} << 20;
  const std::vector<std::byte> zeroes(std::min<uint64_t>(kChunkBytes, size_bytes));
  for (uint64_t at = 0; at < size_bytes;) {
    const size_t now = std::min<uint64_t>(zeroes.size(), size_bytes - at);
    const block::IoVec iov{base::ConstByteSpan(zeroes).first(now)};
    CO_TRY(co_await file.write(at, iov));
    at += now;
    if (async::Loop::current().turn_is_over()) co_await async::Loop::current().yield();
  }
  co_return Result<>();
}

// A device keeps its size, which must do.
Task<Result<>> set_size(block::Edge& file, uint64_t size_bytes) {
  auto stat = co_await file.child()->driver().identity();
  if (!stat || stat->kind != async::FileKind::kBlockDevice) {
    co_return co_await file.child()->driver().resize(size_bytes);
  }
  if (stat->size_bytes < size_bytes) {
    co_return base::fail(ErrorKind::kNoSpace,
                         fmt::format("The device has {} bytes, the image is to have {}",
                                     stat->size_bytes, size_bytes));
  }
  co_return Result<>();
}

Task<Result<>> create(block::Edge& file, const block::DriverEntry::CreateRequest& request) {
  const Preallocation preallocation = CO_TRY(read_request(request));
  CO_TRY(co_await set_size(file, request.size_bytes));
  if (preallocation == Preallocation::kFalloc && request.size_bytes != 0) {
    CO_TRY(co_await file.write_zeroes(0, request.size_bytes));
  } else if (preallocation == Preallocation::kFull) {
    CO_TRY(co_await write_out_zeroes(file, request.size_bytes));
  }
  co_return co_await file.flush();
}

}  // namespace

Result<> check_create(const block::DriverEntry::CreateRequest& request) {
  (void)TRY(read_request(request));
  return {};
}

void register_drivers(block::Registry& registry) {
  registry.add({.name = "raw", .is_transparent = true, .open = &open, .create = &create});
}

}  // namespace firn::raw
