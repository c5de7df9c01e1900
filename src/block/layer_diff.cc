#include "block/layer_diff.h"

#include <fmt/format.h>

#include <algorithm>

namespace firn::block {

using base::ErrorKind;

namespace {

// A layer is asked about this much at a time, so that the budget is looked at in between.
constexpr uint64_t kMaxStepBytes = uint64_t{1} << 30;

bool lies_below(const Node& top, const Node& base) {
  for (const Node* node = top.children().backing.child(); node != nullptr;
       node = node->children().backing.child()) {
    if (node == &base) return true;
  }
  return false;
}

// The run at `offset`, and the layer that has it; kUnallocated: none of those that count.
struct Found {
  Run run;
  const Node* layer = nullptr;
};

Task<Result<Found>> find_run(const DiffRequest& request, uint64_t offset, uint64_t length) {
  Found found;
  found.run = {.kind = RunKind::kUnallocated, .length_bytes = length};
  Node* node = request.top;
  while (node != nullptr && node != request.base) {
    found.run = CO_TRY(co_await node->driver().status(offset, found.run.length_bytes));
    found.layer = node;
    if (found.run.kind != RunKind::kUnallocated) co_return found;
    Node* const below = node->children().backing.child();
    if (below == nullptr) break;
    const uint64_t size = below->driver().size_bytes();
    if (offset < size) {
      found.run.length_bytes = std::min(found.run.length_bytes, size - offset);
    } else if (below == request.base || request.base == nullptr ||
               offset >= request.base->driver().size_bytes()) {
      break;
    } else {
      // What the base has here does not show through the shorter layer.
      const uint64_t hidden = request.base->driver().size_bytes() - offset;
      found.run.length_bytes = std::min(found.run.length_bytes, hidden);
      found.run.kind = RunKind::kZero;
      found.layer = below;
      co_return found;
    }
    node = below;
  }
  found.run.kind = RunKind::kUnallocated;
  co_return found;
}

void add(LayerDiff& diff, uint64_t offset, const Found& found) {
  const bool zero = found.run.kind == RunKind::kZero;
  (zero ? diff.zero_bytes : diff.data_bytes) += found.run.length_bytes;
  if (!diff.extents.empty()) {
    DiffExtent& last = diff.extents.back();
    if (last.zero == zero && last.layer == found.layer &&
        last.offset_bytes + last.length_bytes == offset) {
      last.length_bytes += found.run.length_bytes;
      return;
    }
  }
  diff.extents.push_back({.offset_bytes = offset,
                          .length_bytes = found.run.length_bytes,
                          .zero = zero,
                          .layer = found.layer});
}

}  // namespace

Task<Result<LayerDiff>> diff_layers(DiffRequest request) {
  if (request.base != nullptr && !lies_below(*request.top, *request.base)) {
    co_return base::fail(base::Error(ErrorKind::kInvalidArgument,
                                     fmt::format("Node '{}' does not lie below node '{}'",
                                                 request.base->name(), request.top->name()))
                             .with_hint("the older layer is the base"));
  }
  async::Loop& loop = async::Loop::current();
  const async::TimePoint start = loop.now();
  LayerDiff diff;
  for (uint64_t offset = request.offset_bytes;;) {
    // The disk may change its size meanwhile.
    const uint64_t end = std::min(request.end_bytes, request.top->driver().size_bytes());
    if (offset >= end) break;
    const Found found =
        CO_TRY(co_await find_run(request, offset, std::min(end - offset, kMaxStepBytes)));
    const bool counts = found.run.kind == RunKind::kData ||
                        (found.run.kind == RunKind::kZero && request.base != nullptr);
    if (counts) add(diff, offset, found);
    if (diff.extents.size() > request.max_extents) {
      // One too many shows that there is more.
      const DiffExtent& last = diff.extents.back();
      (last.zero ? diff.zero_bytes : diff.data_bytes) -= last.length_bytes;
      diff.next_offset = last.offset_bytes;
      diff.extents.pop_back();
      break;
    }
    offset += found.run.length_bytes;
    if (offset < end && loop.now() - start >= request.budget) {
      diff.next_offset = offset;
      break;
    }
    if (loop.turn_is_over()) co_await loop.yield();
  }
  co_return diff;
}

}  // namespace firn::block
