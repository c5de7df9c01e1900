// An NBD client that sends any bytes, in pieces of any size: the handshake, or the transmission
// phase over a small null node. What the server sends goes nowhere, except that now and then the
// client stops listening.
//
// The first byte chooses: bit 0 the phase; of transmission, bit 1 structured replies, bit 2
// contexts, bit 3 a writable export; bit 4 fails the second send. The second is the piece size.
#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "async/runtime.h"
#include "base/check.h"
#include "base/log.h"
#include "block/registry.h"
#include "block/root.h"
#include "drivers/null/null_driver.h"
#include "exports/nbd/negotiation.h"
#include "exports/nbd/session.h"

namespace {

using namespace firn;

constexpr uint64_t kSize = uint64_t{1} << 20;

// Gives its input and then ends.
class InputStream final : public async::Stream {
 public:
  InputStream(base::ConstByteSpan input, size_t piece_bytes, bool fails)
      : left_(input), piece_bytes_(std::max<size_t>(piece_bytes, 1)), fails_(fails) {}

  void shutdown_send() override {}
  void close() override { closed_ = true; }
  std::optional<async::PeerCredentials> peer_credentials() const override { return {}; }
  std::string peer_name() const override { return "fuzzer"; }

 protected:
  bool start(async::StreamOp& op) override {
    if (closed_) {
      op.result = -ECANCELED;
    } else if (op.kind == async::StreamOp::Kind::kSend) {
      op.result = fails_ && ++sends_ > 1 ? -EPIPE : static_cast<int64_t>(op.iov->size_bytes());
    } else {
      const size_t length = std::min({left_.size(), piece_bytes_, op.iov->size_bytes()});
      op.iov->copy_from(0, left_.first(length));
      left_ = left_.subspan(length);
      op.result = static_cast<int64_t>(length);
    }
    return true;
  }

 private:
  base::ConstByteSpan left_;
  size_t piece_bytes_;
  bool fails_;
  int sends_ = 0;
  bool closed_ = false;
};

class Exports final : public nbd::ExportDirectory {
 public:
  std::vector<Entry> list_exports() const override { return {{"", "default"}, {"a", ""}}; }
  async::Task<std::optional<nbd::ExportFacts>> describe_export(std::string name) override {
    if (!name.empty() && name != "a") co_return std::nullopt;
    nbd::ExportFacts facts;
    facts.name = name;
    facts.size_bytes = kSize;
    facts.allocation_depth = name == "a";
    co_return facts;
  }
};

async::Task<void> negotiate_with(InputStream* stream) {
  Exports exports;
  const auto chosen = co_await nbd::negotiate(*stream, exports);
  if (chosen) {
    CHECK(chosen->facts.name == "" || chosen->facts.name == "a");
    CHECK(chosen->agreement.structured_replies || !chosen->agreement.any_context());
  }
}

async::Task<void> transmit(std::unique_ptr<InputStream> stream, uint8_t choice) {
  block::Registry registry;
  null::register_drivers(registry);
  block::NodeSpec spec;
  spec.driver = "null-co";
  spec.node_name = "disk";
  auto options = std::make_unique<null::Options>();
  options->size_bytes = kSize;
  options->read_zeroes = true;
  spec.driver_options = std::move(options);
  auto tree = co_await block::open_tree(registry, std::move(spec));
  CHECK(tree.has_value());
  {
    block::Root root("the fuzzer");
    root.edge().attach(tree->top, block::permission::kConsistentRead | block::permission::kWrite,
                       block::permission::kAll);
    nbd::BufferPool pool;
    nbd::Agreement agreement{.size_bytes = kSize};
    agreement.structured_replies = (choice & 2) != 0;
    agreement.base_allocation = agreement.allocation_depth = (choice & 6) == 6;
    agreement.writable = (choice & 8) != 0;
    nbd::Session session(std::move(stream), root, pool, agreement, false, {.requests = 4});
    co_await session.run();
    CHECK(root.in_flight() == 0);
    root.edge().detach();
  }
  CHECK((co_await block::close_tree(std::move(*tree))).has_value());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::unique_ptr<async::Runtime> runtime = [] {
    base::set_log_level(base::LogLevel::kError);
    return async::make_runtime({.worker_count = 1}).value();
  }();
  if (size < 2) return 0;
  const base::ConstByteSpan input(reinterpret_cast<const std::byte*>(data + 2), size - 2);
  auto stream = std::make_unique<InputStream>(input, data[1], (data[0] & 16) != 0);
  if ((data[0] & 1) != 0) {
    async::run_until_done(*runtime, transmit(std::move(stream), data[0]));
  } else {
    async::run_until_done(*runtime, negotiate_with(stream.get()));
  }
  return 0;
}
