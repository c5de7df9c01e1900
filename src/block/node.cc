#include "block/node.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/canary.h"
#include "base/check.h"
#include "block/aligned.h"
#include "block/dirty_tracker.h"

namespace firn::block {
namespace {

// A task that has its answer already.
Task<Result<>> done() { co_return Result<>(); }

bool overlaps(uint64_t begin, uint64_t end, uint64_t other_begin, uint64_t other_end) {
  return begin < other_end && other_begin < end;
}

}  // namespace

// Edge ------------------------------------------------------------------------------------------

Edge::Edge(EdgeRole role, Node* parent, std::string parent_text)
    : role_(role), parent_(parent), parent_text_(std::move(parent_text)) {}

Edge::~Edge() { CHECK(child_ == nullptr); }

std::string_view Edge::name() const {
  switch (role_) {
    case EdgeRole::kBacking:
      return "backing";
    case EdgeRole::kRoot:
      return "root";
    case EdgeRole::kFile:
    case EdgeRole::kFilter:
      break;
  }
  return "file";
}

void Edge::attach(Node* child, Permissions used, Permissions shared) {
  CHECK(child_ == nullptr && child != nullptr);
  child_ = child;
  used_ = used;
  shared_ = shared;
  child->parents_.push_back(this);
}

void Edge::detach() {
  if (child_ == nullptr) return;
  auto& parents = child_->parents_;
  const auto at = std::find(parents.begin(), parents.end(), this);
  CHECK(at != parents.end());
  parents.erase(at);
  child_ = nullptr;
  used_ = permission::kNone;
  shared_ = permission::kAll;
}

void Edge::repoint(Node* child) {
  const Permissions used = used_;
  const Permissions shared = shared_;
  detach();
  attach(child, used, shared);
}

Task<Result<>> Edge::read(uint64_t offset, const IoVec& iov, Flags flags) {
  return read_node(*child_, offset, iov, flags);
}

Task<Result<>> Edge::write(uint64_t offset, const IoVec& iov, Flags flags) {
  return write_node(*child_, offset, iov, flags);
}

Task<Result<>> Edge::write_zeroes(uint64_t offset, uint64_t length, Flags flags) {
  if (!child_->options().unmap) flags &= ~flag::kMayUnmap;
  return zero_node(*child_, offset, length, flags);
}

Task<Result<>> Edge::discard(uint64_t offset, uint64_t length, Flags flags) {
  if (!child_->options().unmap) return done();
  return discard_node(*child_, offset, length, flags);
}

Task<Result<>> Edge::flush() { return child_->flush(); }

uint64_t Edge::size_bytes() const { return child_->driver().size_bytes(); }

Task<Result<>> Edge::read_below(uint64_t offset, const IoVec& iov, Flags flags) {
  if (child_ == nullptr) {
    iov.fill_zero(0, iov.size_bytes());
    return done();
  }
  const bool within = offset + iov.size_bytes() <= child_->driver().size_bytes();
  const bool wait = (flags & flag::kStable) != 0 && child_->has_mutations();
  if (within && !wait) return read_node(*child_, offset, iov, flags);
  return stable_read_below(*child_, offset, iov, flags);
}

Task<Result<>> Edge::stable_read_below(Node& child, uint64_t offset, const IoVec& iov,
                                       Flags flags) {
  if ((flags & flag::kStable) != 0 && !base::canaries.cow_without_wait) {
    co_await child.wait_for_overlapping(offset, iov.size_bytes());
  }
  const uint64_t size = child.driver().size_bytes();
  const uint64_t there = std::min<uint64_t>(iov.size_bytes(), size > offset ? size - offset : 0);
  iov.fill_zero(there, iov.size_bytes() - there);
  if (there == 0) co_return Result<>();
  const IoVec part = iov.slice(0, there);
  co_return co_await read_node(child, offset, part, flags);
}

Children::Children(Node* parent, const std::string& parent_name)
    : file(EdgeRole::kFile, parent, fmt::format("node '{}'", parent_name)),
      backing(EdgeRole::kBacking, parent, fmt::format("node '{}'", parent_name)) {}

// Mutation --------------------------------------------------------------------------------------

Mutation::Mutation(Node& node, uint64_t offset, uint64_t length)
    : node_(node), offset_(offset), length_(length), previous_(node.last_mutation_) {
  (previous_ != nullptr ? previous_->next_ : node.first_mutation_) = this;
  node.last_mutation_ = this;
  ++node.mutation_count_;
}

Mutation::~Mutation() {
  (previous_ != nullptr ? previous_->next_ : node_.first_mutation_) = next_;
  (next_ != nullptr ? next_->previous_ : node_.last_mutation_) = previous_;
  --node_.mutation_count_;
  for (DirtyTracker* tracker = node_.first_tracker_; tracker != nullptr; tracker = tracker->next_) {
    tracker->map_.mark(offset_, length_);
  }
  if (!waiters_.empty()) waiters_.wake_all();
}

// SerialRange -----------------------------------------------------------------------------------

SerialRange::SerialRange(Node& node, uint64_t begin, uint64_t end, bool exclusive)
    : node_(node), begin_(begin), end_(end), exclusive_(exclusive), previous_(node.last_range_) {
  (previous_ != nullptr ? previous_->next_ : node.first_range_) = this;
  node.last_range_ = this;
}

SerialRange::~SerialRange() {
  (previous_ != nullptr ? previous_->next_ : node_.first_range_) = next_;
  (next_ != nullptr ? next_->previous_ : node_.last_range_) = previous_;
  if (!waiters_.empty()) waiters_.wake_all();
}

SerialRange* SerialRange::conflict() const {
  for (SerialRange* range = previous_; range != nullptr; range = range->previous_) {
    if ((exclusive_ || range->exclusive_) && overlaps(begin_, end_, range->begin_, range->end_)) {
      return range;
    }
  }
  return nullptr;
}

Task<void> SerialRange::wait_for_turn() {
  while (SerialRange* range = conflict()) co_await range->waiters_.wait();
}

// Node ------------------------------------------------------------------------------------------

Node::Node(std::string name, NodeOptions options, async::Loop& home)
    : name_(std::move(name)),
      options_(options),
      read_only_(options.read_only),
      home_(&home),
      children_(this, name_) {}

Node::~Node() {
  CHECK(parents_.empty());
  CHECK(first_mutation_ == nullptr && first_range_ == nullptr && first_tracker_ == nullptr);
  driver_.reset();
  children_.file.detach();
  children_.backing.detach();
}

void Node::set_driver(std::unique_ptr<Driver> driver) {
  driver_ = std::move(driver);
  request_alignment_ = driver_ == nullptr ? 1 : driver_->limits().request_alignment;
  CHECK(request_alignment_ != 0 && (request_alignment_ & (request_alignment_ - 1)) == 0);
}

Task<void> Node::wait_for_mutations() {
  while (first_mutation_ != nullptr) co_await first_mutation_->waiters_.wait();
}

Task<void> Node::wait_for_overlapping(uint64_t offset, uint64_t length) {
  const auto find = [&] {
    Mutation* mutation = first_mutation_;
    while (mutation != nullptr && !overlaps(offset, offset + length, mutation->offset_,
                                            mutation->offset_ + mutation->length_)) {
      mutation = mutation->next_;
    }
    return mutation;
  };
  while (Mutation* mutation = find()) co_await mutation->waiters_.wait();
}

void Node::set_write_threshold(uint64_t offset_bytes,
                               std::move_only_function<void(uint64_t)> crossed) {
  write_threshold_ = offset_bytes == 0 ? UINT64_MAX : offset_bytes;
  threshold_crossed_ = offset_bytes == 0 ? nullptr : std::move(crossed);
}

void Node::cross_threshold(uint64_t end) {
  const uint64_t exceeded = end - write_threshold_;
  write_threshold_ = UINT64_MAX;
  auto crossed = std::exchange(threshold_crossed_, nullptr);
  crossed(exceeded);
}

Task<Result<>> Node::flush() {
  ++counters_.flushes;
  if (options_.no_flush && driver_->is_protocol()) co_return Result<>();
  auto result = co_await driver_->flush();
  if (!result) flush_failed = true;
  co_return result;
}

std::string Node::busy_reason() const {
  for (const Edge* edge : parents_) {
    if (edge->role() == EdgeRole::kBacking) {
      return fmt::format("node is used as backing hd of '{}'", edge->parent()->name());
    }
  }
  return blockers_.empty() ? "" : blockers_.front();
}

void Node::block(std::string reason) { blockers_.push_back(std::move(reason)); }

void Node::unblock(std::string_view reason) {
  const auto at = std::ranges::find(blockers_, reason);
  CHECK(at != blockers_.end());
  blockers_.erase(at);
}

}  // namespace firn::block
