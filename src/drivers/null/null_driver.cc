#include "drivers/null/null_driver.h"

#include <memory>

namespace firn::null {
namespace {

using async::IoVec;
using async::Task;
using base::Result;
using block::Flags;

class NullDriver final : public block::Driver {
 public:
  NullDriver(std::string_view name, const Options& options, async::Loop& loop)
      : name_(name), options_(options), loop_(&loop) {}

  std::string_view name() const override { return name_; }
  bool is_protocol() const override { return true; }
  uint64_t size_bytes() const override {
    // Devices have whole sectors.
    constexpr uint64_t kSectorBytes = 512;
    const uint64_t size = options_.size_bytes.value_or(base::kGiB);
    return size / kSectorBytes * kSectorBytes + (size % kSectorBytes != 0 ? kSectorBytes : 0);
  }
  block::Limits limits() const override { return {}; }

  Task<Result<>> read(uint64_t, const IoVec& iov, Flags) override {
    if (reads_zeroes()) iov.fill_zero(0, iov.size_bytes());
    return take_time();
  }
  Task<Result<>> write(uint64_t, const IoVec&, Flags) override { return take_time(); }
  Task<Result<>> write_zeroes(uint64_t, uint64_t, Flags) override { return take_time(); }
  Task<Result<>> discard(uint64_t, uint64_t, Flags) override { return take_time(); }
  Task<Result<>> flush() override { return take_time(); }

  Task<Result<block::Run>> status(uint64_t offset, uint64_t length) override {
    block::Run run;
    run.kind = reads_zeroes() ? block::RunKind::kZero : block::RunKind::kData;
    run.length_bytes = length;
    if (!reads_zeroes()) run.host_offset = offset;
    co_return run;
  }
  Task<Result<>> resize(uint64_t) override {
    co_return base::fail(base::ErrorKind::kUnsupported,
                         "Image format driver does not support resize");
  }
  Task<Result<>> set_read_only(bool) override { co_return Result<>(); }
  Result<> move_to(async::Loop& loop) override {
    loop_ = &loop;
    return {};
  }
  Task<Result<>> close() override { co_return Result<>(); }

  Task<Result<block::ImageFacts>> facts() override {
    block::ImageFacts facts;
    facts.filename = filename();
    facts.format = name_;
    facts.virtual_size_bytes = size_bytes();
    facts.actual_size_bytes = 0;
    co_return facts;
  }
  // As QEMU names it: by all that makes a difference.
  std::string filename() const override {
    if (!options_.size_bytes && !options_.read_zeroes) return name_ + "://";
    std::string text = "json:{";
    if (options_.read_zeroes) {
      text += *options_.read_zeroes ? "\"read-zeroes\": true, " : "\"read-zeroes\": false, ";
    }
    text += "\"driver\": \"" + name_ + "\"";
    if (options_.size_bytes) text += ", \"size\": " + std::to_string(*options_.size_bytes);
    return text + "}";
  }

 private:
  bool reads_zeroes() const { return options_.read_zeroes.value_or(false); }
  Task<Result<>> take_time() {
    if (options_.latency_ns != 0) {
      (void)co_await loop_->sleep_for(async::Duration(options_.latency_ns));
    }
    co_return Result<>();
  }

  std::string name_;
  Options options_;
  async::Loop* loop_;
};

template <const char* kName>
Task<Result<std::unique_ptr<block::Driver>>> open(block::OpenContext&, block::Node& node,
                                                  const block::DriverOptions* options) {
  const Options defaults;
  const auto* chosen = static_cast<const Options*>(options);
  // What an offset reaches, in whole GiB, as QEMU bounds it.
  constexpr uint64_t kMaxBytes = (uint64_t{INT64_MAX} >> 30) << 30;
  if (chosen != nullptr && chosen->size_bytes.value_or(0) > kMaxBytes) {
    co_return base::fail(base::ErrorKind::kInvalidArgument,
                         "Could not refresh total sector count: File too large");
  }
  co_return std::make_unique<NullDriver>(kName, chosen != nullptr ? *chosen : defaults,
                                         node.home());
}

constexpr char kNullCo[] = "null-co";
constexpr char kNullAio[] = "null-aio";

}  // namespace

void register_drivers(block::Registry& registry) {
  registry.add({.name = kNullCo, .is_protocol = true, .open = &open<kNullCo>});
  registry.add({.name = kNullAio, .is_protocol = true, .open = &open<kNullAio>});
}

}  // namespace firn::null
