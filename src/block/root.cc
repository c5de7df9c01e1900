#include "block/root.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/canary.h"
#include "base/check.h"
#include "block/aligned.h"

namespace firn::block {

using base::ErrorKind;

// One request between admission and completion: what it counts, and the head that it keeps.
class Root::Admission {
 public:
  Admission(Root& root, IoCounters RootStats::* counters, uint64_t bytes)
      : root_(root), counters_(counters), bytes_(bytes), begun_(root.head()->home().now()) {
    half_ = root_.enter();
  }
  ~Admission() {
    const async::TimePoint now = async::Loop::current().now();
    count(root_.stats_, now);
    for (const Edge* edge : root_.head()->parents()) {
      if (edge->root() != nullptr && edge->root()->collects_stats_)
        count(edge->root()->stats_, now);
    }
    root_.leave(half_);
  }
  Admission(const Admission&) = delete;
  Admission& operator=(const Admission&) = delete;

  Result<> done(Result<> result) {
    ok_ = result.has_value();
    return result;
  }

 private:
  void count(RootStats& stats, async::TimePoint now) const {
    IoCounters& counters = stats.*counters_;
    ++counters.operations;
    if (ok_) {
      counters.bytes += bytes_;
    } else {
      ++counters.failed;
    }
    counters.total_ns += static_cast<uint64_t>((now - begun_).count());
    stats.last_end = now;
  }

  Root& root_;
  IoCounters RootStats::* counters_;
  uint64_t bytes_;
  async::TimePoint begun_;
  unsigned half_ = 0;
  bool ok_ = false;
};

namespace {

std::unexpected<base::Error> no_medium(const Edge& edge) {
  return base::fail(ErrorKind::kIo, fmt::format("{} has no medium", edge.parent_text()));
}

bool fits(uint64_t offset, uint64_t length, uint64_t size) {
  return offset <= size && length <= size - offset;
}

// The head, and every old head whose seal is not done: what was acknowledged before a pivot lies
// there.
Task<Result<>> flush_unsealed(Node& node) {
  if (Node* below = node.unsealed_below; below != nullptr && !base::canaries.flush_head_only) {
    if (below->seal_failed) {
      co_return base::fail(ErrorKind::kIo,
                           fmt::format("node '{}' below '{}' could not be sealed: what was written "
                                       "there before the snapshot may not be durable",
                                       below->name(), node.name()));
    }
    CO_TRY(co_await flush_unsealed(*below));
  }
  co_return co_await node.flush();
}

}  // namespace

Root::~Root() {
  CHECK(in_flight() == 0);
  CHECK(!edge_);
}

uint64_t Root::size_bytes() const { return head() ? head()->driver().size_bytes() : 0; }

Limits Root::limits() const { return head() ? head()->driver().limits() : Limits{}; }

bool Root::writable() const {
  return head() != nullptr && (edge_.used() & permission::kWrite) != 0 && !head()->read_only();
}

Task<void> Root::pass_gate() {
  while (!gate_.is_open()) co_await gate_.enter();
}

Result<> Root::check_mutation(uint64_t offset, uint64_t length) const {
  if (head() == nullptr) return no_medium(edge_);
  if (!writable()) {
    return base::fail(
        ErrorKind::kReadOnly,
        fmt::format("{} may not write to node '{}', which is {}", edge_.parent_text(),
                    head()->name(), head()->read_only() ? "read-only" : "attached for reading"));
  }
  if (!fits(offset, length, head()->driver().size_bytes())) {
    return base::fail(ErrorKind::kNoSpace,
                      fmt::format("a write of {} bytes at {} goes beyond the end of node '{}' ({} "
                                  "bytes)",
                                  length, offset, head()->name(), head()->driver().size_bytes()));
  }
  return {};
}

Task<Result<>> Root::read(uint64_t offset, const IoVec& iov) {
  if (!gate_.is_open()) [[unlikely]]
    co_await pass_gate();
  Node* const node = head();
  if (node == nullptr) co_return no_medium(edge_);
  if (!fits(offset, iov.size_bytes(), node->driver().size_bytes())) [[unlikely]] {
    co_return base::fail(
        ErrorKind::kOutOfRange,
        fmt::format("a read of {} bytes at {} goes beyond the end of node '{}' "
                    "({} bytes)",
                    iov.size_bytes(), offset, node->name(), node->driver().size_bytes()));
  }
  if (iov.empty()) co_return Result<>();
  Admission admission(*this, &RootStats::read, iov.size_bytes());
  co_return admission.done(co_await read_node(*node, offset, iov, flag::kNone));
}

Task<Result<>> Root::write(uint64_t offset, const IoVec& iov, Flags flags) {
  if (!gate_.is_open()) [[unlikely]]
    co_await pass_gate();
  CO_TRY(check_mutation(offset, iov.size_bytes()));
  if (iov.empty()) co_return Result<>();
  Node& node = *head();
  Admission admission(*this, &RootStats::write, iov.size_bytes());
  Mutation mutation(node, offset, iov.size_bytes());
  const DetectZeroes detect = node.options().detect_zeroes;
  if (detect != DetectZeroes::kOff && iov.is_zero()) {
    if (detect == DetectZeroes::kUnmap && node.options().unmap) flags |= flag::kMayUnmap;
    co_return admission.done(co_await zero_node(node, offset, iov.size_bytes(), flags));
  }
  co_return admission.done(co_await write_node(node, offset, iov, flags & flag::kFua));
}

Task<Result<>> Root::write_zeroes(uint64_t offset, uint64_t length, Flags flags) {
  if (!gate_.is_open()) [[unlikely]]
    co_await pass_gate();
  CO_TRY(check_mutation(offset, length));
  if (length == 0) co_return Result<>();
  Node& node = *head();
  Admission admission(*this, &RootStats::zero, length);
  Mutation mutation(node, offset, length);
  if (!node.options().unmap) flags &= ~flag::kMayUnmap;
  co_return admission.done(co_await zero_node(node, offset, length, flags));
}

Task<Result<>> Root::discard(uint64_t offset, uint64_t length, Flags flags) {
  if (!gate_.is_open()) [[unlikely]]
    co_await pass_gate();
  CO_TRY(check_mutation(offset, length));
  if (length == 0) co_return Result<>();
  Node& node = *head();
  Admission admission(*this, &RootStats::discard, length);
  if (!node.options().unmap) co_return admission.done({});
  Mutation mutation(node, offset, length);
  co_return admission.done(co_await discard_node(node, offset, length, flags & flag::kFua));
}

Task<Result<>> Root::flush() {
  if (!gate_.is_open()) [[unlikely]]
    co_await pass_gate();
  Node* const node = head();
  if (node == nullptr) co_return no_medium(edge_);
  Admission admission(*this, &RootStats::flush, 0);
  if (node->seal_failed) [[unlikely]] {
    co_return base::fail(ErrorKind::kIo,
                         fmt::format("node '{}' could not be sealed", node->name()));
  }
  if (node->unsealed_below == nullptr) co_return admission.done(co_await node->flush());
  co_return admission.done(co_await flush_unsealed(*node));
}

Task<Result<Root::ChainRun>> Root::status(uint64_t offset, uint64_t length) {
  if (!gate_.is_open()) [[unlikely]]
    co_await pass_gate();
  Node* node = head();
  if (node == nullptr) co_return no_medium(edge_);
  const uint64_t size = node->driver().size_bytes();
  if (length == 0 || !fits(offset, length, size)) {
    co_return base::fail(ErrorKind::kOutOfRange,
                         fmt::format("no status for {} bytes at {} of node '{}' ({} bytes)", length,
                                     offset, node->name(), size));
  }
  const unsigned half = enter();  // held against drain, not counted as I/O
  Result<ChainRun> answer = co_await chain_status(*node, offset, length);
  leave(half);
  co_return answer;
}

Task<Result<Root::ChainRun>> Root::chain_status(Node& head, uint64_t offset, uint64_t length) {
  ChainRun found{.run = {.kind = RunKind::kUnallocated,
                         .length_bytes = length,
                         .host_offset = {},
                         .compressed = false},
                 .depth = 1};
  for (Node* node = &head; node != nullptr; ++found.depth) {
    const Run run = CO_TRY(co_await node->driver().status(offset, found.run.length_bytes));
    CHECK(run.length_bytes >= 1 && run.length_bytes <= found.run.length_bytes);
    found.run = run;
    if (run.kind != RunKind::kUnallocated) co_return found;
    // Below the end of a shorter layer nothing shows through from deeper ones.
    node = node->children().backing.child();
    if (node == nullptr) break;
    const uint64_t size = node->driver().size_bytes();
    if (offset >= size) break;
    found.run.length_bytes = std::min(found.run.length_bytes, size - offset);
  }
  co_return found;
}

unsigned Root::enter() {
  ++in_flight_[half_];
  return half_;
}

void Root::leave(unsigned half) {
  if (--in_flight_[half] == 0 && !drained_.empty()) drained_.wake_all();
}

Task<void> Root::drain() {
  while (in_flight() != 0) co_await drained_.wait();
}

// The half that is not in use is empty whenever nobody settles: those that come now are counted
// there, and the other one can only fall.
Task<void> Root::settle() {
  const auto guard = co_await settling_.lock();
  const unsigned old = half_;
  half_ = 1 - old;
  while (in_flight_[old] != 0) co_await drained_.wait();
}

Task<bool> Root::drain_until(async::TimePoint deadline) {
  struct Expiry final : async::Timer {
    async::WaitList* waiting = nullptr;
    bool expired = false;
  };
  Expiry expiry;
  expiry.deadline = deadline;
  expiry.waiting = &drained_;
  expiry.fire = [](async::Timer& timer) {
    auto& self = static_cast<Expiry&>(timer);
    self.expired = true;
    self.waiting->wake_all();
  };
  async::Loop& loop = async::Loop::current();
  if (in_flight() != 0) loop.arm(expiry);
  while (in_flight() != 0 && !expiry.expired) co_await drained_.wait();
  loop.disarm(expiry);
  co_return in_flight() == 0;
}

}  // namespace firn::block
