#include "exports/nbd/export.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <utility>

#include "base/bytes.h"
#include "base/check.h"
#include "base/log.h"

namespace firn::nbd {
namespace {

uint64_t next_serial() {
  static uint64_t last = 0;  // the control loop's
  return ++last;
}

async::Task<bool> read_only_at_home(block::Node& node) { co_return node.read_only(); }

// A node that was removed meanwhile is not: attaching to it fails.
async::Task<bool> is_read_only(block::Graph& graph, block::Node& node) {
  const auto reading = co_await graph.read_nodes();
  if (!graph.has_node(&node)) co_return false;
  co_return co_await async::call_on(node.home(), read_only_at_home(node));
}

// What clients are told to align to. The minimum must divide the size, or the tail could not be
// reached; whatever is not aligned is rounded below, at a cost.
InfoBlockSize block_sizes(const block::Limits& limits, uint64_t size_bytes) {
  uint32_t minimum = std::max<uint32_t>(limits.request_alignment, 1);
  while (size_bytes % minimum != 0) minimum /= 2;
  uint32_t preferred = std::bit_ceil(std::max<uint32_t>(limits.optimal_alignment, 4096));
  preferred = std::clamp(preferred, minimum, kMaxPayloadBytes);
  return {.minimum = minimum, .preferred = preferred, .maximum = kMaxPayloadBytes};
}

}  // namespace

Export::Export(block::Graph& graph, ExportOptions options)
    : graph_(graph),
      options_(std::move(options)),
      serial_(next_serial()),
      root_(fmt::format("block export '{}'", options_.id)) {}

Export::~Export() { CHECK(closed_ && user_count_ == 0 && sessions_.empty()); }

async::Task<base::Result<std::unique_ptr<Export>>> Export::open(block::Graph& graph,
                                                                block::Node& node,
                                                                ExportOptions options) {
  const auto check_text = [](std::string_view text) { return text.size() <= kMaxStringBytes; };
  if (!check_text(options.name)) {
    co_return base::fail(base::ErrorKind::kInvalidArgument,
                         fmt::format("export name '{}' too long", options.name));
  }
  if (!check_text(options.description)) {
    co_return base::fail(base::ErrorKind::kInvalidArgument,
                         fmt::format("description '{}' too long", options.description));
  }
  if (options.writable && co_await is_read_only(graph, node)) {
    co_return base::fail(base::ErrorKind::kReadOnly, "Cannot export read-only node as writable");
  }
  std::unique_ptr<Export> made(new Export(graph, std::move(options)));
  block::Permissions used = block::permission::kConsistentRead;
  if (made->options_.writable) used |= block::permission::kWrite;
  const base::Result<> attached =
      co_await graph.attach(made->root_, node, used, block::permission::kAll);
  if (!attached) {
    made->closed_ = true;
    co_return base::fail(attached.error());
  }
  made->home_ = &node.home();
  co_return made;
}

async::Task<ExportFacts> Export::facts() {
  ++user_count_;
  ExportFacts found = co_await async::call_on(*home_, facts_here());
  if (--user_count_ == 0) unused_.wake_all();
  co_return found;
}

async::Task<ExportFacts> Export::facts_here() {
  using namespace transmission_flag;
  ExportFacts found;
  found.serial = serial_;
  found.name = options_.name;
  found.description = options_.description;
  found.size_bytes = root_.size_bytes();
  found.block_sizes = block_sizes(root_.limits(), found.size_bytes);
  found.writable = options_.writable;
  found.allocation_depth = options_.allocation_depth;
  // One loop serves all connections to a device and a flush covers them all.
  found.transmission_flags = kHasFlags | kSendFlush | kSendFua | kSendCache | kCanMultiConn;
  found.transmission_flags |=
      options_.writable ? kSendTrim | kSendWriteZeroes | kSendFastZero : kReadOnly;
  co_return found;
}

async::Task<void> Export::serve(std::unique_ptr<async::Stream> stream, Agreement agreement) {
  ++user_count_;
  ++client_count_;
  co_await async::call_on(*home_, serve_here(std::move(stream), agreement));
  --client_count_;
  if (--user_count_ == 0) unused_.wake_all();
}

async::Task<void> Export::serve_here(std::unique_ptr<async::Stream> stream, Agreement agreement) {
  auto adopted = async::Loop::current().network().adopt(std::move(stream));
  if (!adopted) {
    base::log_error(fmt::format("nbd: {}", adopted.error().text()));
    co_return;
  }
  if (disconnecting_) co_return;
  Session session(std::move(*adopted), root_, pool_, agreement, options_.writethrough);
  sessions_.push_back(&session);
  co_await session.run();
  std::erase(sessions_, &session);
}

async::Task<void> Export::disconnect_here() {
  disconnecting_ = true;
  for (Session* session : sessions_) session->disconnect();
  co_return;
}

async::Task<void> Export::close() {
  CHECK(!closed_);
  co_await async::call_on(*home_, disconnect_here());
  while (user_count_ != 0) co_await unused_.wait();
  co_await graph_.detach(root_);
  closed_ = true;
}

}  // namespace firn::nbd
