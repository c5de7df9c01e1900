// What a chain's upper layers hold that lies not in a lower one: the parts of the disk that were
// written, zeroed or discarded between two layers.
//
// It goes by the images' tables, not by the bytes: what was overwritten with the same is there too.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "block/node.h"

namespace firn::block {

struct DiffExtent {
  uint64_t offset_bytes = 0;
  uint64_t length_bytes = 0;
  bool zero = false;            // reads as zeroes; else it is data
  const Node* layer = nullptr;  // the uppermost that says so
};

struct DiffRequest {
  Node* top = nullptr;
  // A layer below `top`; what it and those below it hold does not count. Null: all layers count,
  // and of zeroes, which say nothing then, none.
  const Node* base = nullptr;
  uint64_t offset_bytes = 0;
  uint64_t end_bytes = UINT64_MAX;  // exclusive; at most the top's size counts
  size_t max_extents = SIZE_MAX;
  async::Duration budget = async::Duration::max();  // it stops when this has passed
};

struct LayerDiff {
  std::vector<DiffExtent> extents;  // ascending, apart or of different kinds or layers
  uint64_t data_bytes = 0;
  uint64_t zero_bytes = 0;
  // Where to go on, if it stopped before the end.
  std::optional<uint64_t> next_offset;
};

// On the home loop of `top`, whose nodes are kept meanwhile (Graph::read_nodes). Guests go on; what
// they write behind the place that the walk has reached is not in it. Where an intermediate layer
// ends before `base` does, the rest reads as zeroes and counts as such; beyond the end of `base`
// only what was written counts. kInvalidArgument if `base` does not lie below `top`.
Task<Result<LayerDiff>> diff_layers(DiffRequest request);

}  // namespace firn::block
