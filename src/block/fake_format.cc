#include "block/fake_format.h"

#include <algorithm>
#include <memory>
#include <mutex>

#include "async/sync.h"
#include "base/bytes.h"

namespace firn::block {
namespace {

using base::ErrorKind;

constexpr uint64_t kMagic = 0x66616b65'666d7431;  // "fakefmt1"
constexpr uint64_t kHeaderBytes = kFakeCluster;
constexpr uint64_t kNameAt = 64;
constexpr uint64_t kMapAt = 8192;
constexpr uint32_t kDefaultAlignment = 1;
uint32_t g_alignment = kDefaultAlignment;

std::map<std::string, std::unique_ptr<FakeHooks>>& all_hooks() {
  static std::map<std::string, std::unique_ptr<FakeHooks>> hooks;
  return hooks;
}

class FakeDriver final : public Driver {
 public:
  FakeDriver(Node& node, std::vector<std::byte> header)
      : node_(node),
        file_(node.children().file),
        backing_(node.children().backing),
        hooks_(fake_hooks(node.name())),
        header_(std::move(header)) {}

  std::string_view name() const override { return "fake"; }
  bool supports_backing() const override { return true; }
  uint64_t size_bytes() const override { return base::load_be<uint64_t>(header_.data() + 8); }
  Limits limits() const override {
    Limits limits;
    limits.request_alignment = g_alignment;
    return limits;
  }

  Task<Result<>> read(uint64_t offset, const IoVec& iov, Flags flags) override {
    check_aligned(offset, iov.size_bytes());
    ++hooks_.reads_begun;
    co_await hooks_.reads.enter();
    for (uint64_t done = 0; done < iov.size_bytes();) {
      const uint64_t at = offset + done;
      const uint64_t part = std::min(iov.size_bytes() - done, kFakeCluster - at % kFakeCluster);
      const IoVec piece = iov.slice(done, part);
      if (has(at)) {
        CO_TRY(co_await file_.read(kHeaderBytes + at, piece));
      } else {
        CO_TRY(co_await backing_.read_below(at, piece, flags));
      }
      done += part;
    }
    co_return Result<>();
  }

  Task<Result<>> write(uint64_t offset, const IoVec& iov, Flags flags) override {
    check_aligned(offset, iov.size_bytes());
    ++hooks_.writes_begun;
    hooks_.last_flags = flags;
    co_await hooks_.writes.enter();
    if (hooks_.fail_writes) co_return base::fail(ErrorKind::kIo, "the test says so");
    for (uint64_t done = 0; done < iov.size_bytes();) {
      const uint64_t at = offset + done;
      const uint64_t part = std::min(iov.size_bytes() - done, kFakeCluster - at % kFakeCluster);
      if (!has(at)) CO_TRY(co_await copy_up(at - at % kFakeCluster, part == kFakeCluster));
      const IoVec piece = iov.slice(done, part);
      CO_TRY(co_await file_.write(kHeaderBytes + at, piece));
      mark(at);
      done += part;
    }
    co_return Result<>();
  }

  Task<Result<>> write_zeroes(uint64_t offset, uint64_t length, Flags flags) override {
    check_aligned(offset, length);
    ++hooks_.zeroings;
    hooks_.last_flags = flags;
    std::vector<std::byte> zeroes(length);
    const IoVec iov{base::ByteSpan(zeroes)};
    const int begun = hooks_.writes_begun;
    auto result = co_await write(offset, iov, flags);
    hooks_.writes_begun = begun;
    co_return result;
  }
  Task<Result<>> discard(uint64_t offset, uint64_t length, Flags flags) override {
    check_aligned(offset, length);
    ++hooks_.discards;
    hooks_.last_flags = flags;
    co_return Result<>();
  }
  Task<Result<>> flush() override {
    ++hooks_.flushes;
    co_await hooks_.flush_gate.enter();
    if (hooks_.fail_flush) co_return base::fail(ErrorKind::kIo, "the test says so");
    if (!node_.read_only()) {
      // Writes go on marking clusters while a worker stores the header.
      const auto guard = co_await flushing_.lock();
      std::vector<std::byte> header = header_;
      const IoVec iov{base::ByteSpan(header)};
      CO_TRY(co_await file_.write(0, iov));
    }
    co_return co_await file_.flush();
  }
  Task<Result<Run>> status(uint64_t offset, uint64_t length) override {
    Run run;
    run.kind = has(offset) ? RunKind::kData : RunKind::kUnallocated;
    run.length_bytes = std::min(length, kFakeCluster - offset % kFakeCluster);
    if (has(offset)) run.host_offset = kHeaderBytes + offset;
    co_return run;
  }
  Task<Result<>> resize(uint64_t size_bytes) override {
    base::store_be<uint64_t>(header_.data() + 8, size_bytes);
    co_return co_await flush();
  }
  bool has_lost_data() const override { return hooks_.lost_data; }
  void accept_loss() override { hooks_.lost_data = false; }
  Task<Result<>> set_read_only(bool read_only) override {
    if (hooks_.fail_read_only) co_return base::fail(ErrorKind::kIo, "the test says so");
    if (read_only) co_return co_await flush();
    co_return Result<>();
  }
  Result<> move_to(async::Loop&) override { return {}; }
  Task<Result<>> close() override {
    if (node_.read_only()) co_return Result<>();
    co_return co_await flush();
  }
  Task<Result<ImageFacts>> facts() override {
    ImageFacts facts;
    facts.filename = filename();
    facts.format = "fake";
    facts.virtual_size_bytes = size_bytes();
    facts.backing_filename = reinterpret_cast<const char*>(header_.data() + kNameAt);
    facts.backing_filename_full = facts.backing_filename;
    co_return facts;
  }
  std::string filename() const override { return file_.child()->driver().filename(); }
  Task<Result<>> set_backing_name(std::string filename, std::string) override {
    if (hooks_.fail_backing_name) co_return base::fail(ErrorKind::kIo, "the test says so");
    CHECK(!node_.read_only() && filename.size() < kMapAt - kNameAt);
    std::fill(header_.begin() + kNameAt, header_.begin() + kMapAt, std::byte{0});
    std::ranges::copy(std::as_bytes(std::span(filename)), header_.begin() + kNameAt);
    co_return co_await flush();
  }

 private:
  static void check_aligned(uint64_t offset, uint64_t length) {
    CHECK(length != 0 && base::is_aligned(offset | length, g_alignment));
  }
  bool has(uint64_t offset) const {
    return header_[kMapAt + offset / kFakeCluster] != std::byte{0};
  }
  void mark(uint64_t offset) { header_[kMapAt + offset / kFakeCluster] = std::byte{1}; }

  Task<Result<>> copy_up(uint64_t cluster, bool whole) {
    if (whole) co_return Result<>();
    ++hooks_.copies;
    std::vector<std::byte> bytes(kFakeCluster);
    const IoVec iov{base::ByteSpan(bytes)};
    CO_TRY(co_await backing_.read_below(cluster, iov, flag::kStable));
    co_return co_await file_.write(kHeaderBytes + cluster, iov);
  }

  Node& node_;
  Edge& file_;
  Edge& backing_;
  FakeHooks& hooks_;
  std::vector<std::byte> header_;
  async::Mutex flushing_;
};

int probe(base::ConstByteSpan first_bytes) {
  return first_bytes.size() >= 8 && base::load_be<uint64_t>(first_bytes.data()) == kMagic ? 100 : 0;
}

Task<Result<std::unique_ptr<Driver>>> open(OpenContext& context, Node& node, const DriverOptions*) {
  std::vector<std::byte> header(kHeaderBytes);
  const IoVec iov{base::ByteSpan(header)};
  CO_TRY(co_await node.children().file.read(0, iov));
  if (probe(header) == 0) co_return base::fail(ErrorKind::kGeneric, "Image is not in fake format");
  const std::string backing = reinterpret_cast<const char*>(header.data() + kNameAt);
  if (!backing.empty() && context.create_backing) {
    CO_TRY(co_await context.open_backing(node, backing, ""));
  }
  co_return std::make_unique<FakeDriver>(node, std::move(header));
}

Task<Result<>> create(Edge& file, const DriverEntry::CreateRequest& request) {
  for (const auto& [name, value] : request.options) {
    if (name == kFakeFailCreate) {
      co_return base::fail(base::Error::from_errno(28, "Could not write fake header"));
    }
  }
  std::vector<std::byte> header(kHeaderBytes);
  base::store_be<uint64_t>(header.data(), kMagic);
  base::store_be<uint64_t>(header.data() + 8, request.size_bytes);
  CHECK(request.backing_filename.size() < kMapAt - kNameAt);
  std::ranges::copy(std::as_bytes(std::span(request.backing_filename)), header.begin() + kNameAt);
  const IoVec iov{base::ByteSpan(header)};
  CO_TRY(co_await file.write(0, iov));
  co_return co_await file.flush();
}

}  // namespace

FakeHooks& fake_hooks(const std::string& node_name) {
  static std::mutex mutex;  // nodes open on several loops
  const std::lock_guard lock(mutex);
  auto& hooks = all_hooks()[node_name];
  if (hooks == nullptr) hooks = std::make_unique<FakeHooks>();
  return *hooks;
}

void reset_fake_hooks() { all_hooks().clear(); }

void register_fake_format(Registry& registry, uint32_t alignment) {
  g_alignment = alignment;
  registry.add({.name = "fake",
                .supports_backing = true,
                .probe = &probe,
                .open = &open,
                .create = &create});
}

}  // namespace firn::block
