// DirtyTracker: which parts of a node have changed since they were last copied. For jobs that copy
// a node while its users go on writing.
//
// A part is marked when the mutating request that touched it ends, whatever became of it: a copy
// that was made while the request ran may have seen half of it and is made again. What is neither
// marked nor touched by a request in flight (Node::has_mutations) is as it was when it was taken.
//
// Home loop of the node.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace firn::block {

class Node;

// Marks for equal parts of a range of bytes; finding the next one costs the same however few there
// are. One bit of memory for each part, and little more.
class DirtyMap {
 public:
  // `granularity_bytes`: a power of two.
  explicit DirtyMap(uint32_t granularity_bytes);

  struct Range {
    uint64_t offset = 0;
    uint64_t length = 0;
  };
  // All parts that [offset, offset + length) touches. The map grows as needed.
  void mark(uint64_t offset, uint64_t length);
  void clear(uint64_t offset, uint64_t length);
  // The first run of marked parts at or after `from`, `max_bytes` at most (at least one part).
  std::optional<Range> find(uint64_t from, uint64_t max_bytes) const;

  bool empty() const { return count_ == 0; }
  // Whole parts, also where the last one reaches beyond the node's end.
  uint64_t dirty_bytes() const { return count_ << shift_; }
  uint32_t granularity_bytes() const { return uint32_t{1} << shift_; }

 private:
  static constexpr unsigned kWordBits = 64;
  bool has(uint64_t part) const;
  void set_word(uint64_t word, uint64_t bits);
  std::optional<uint64_t> next_part(uint64_t from) const;

  unsigned shift_;
  uint64_t count_ = 0;
  // Level 0 has a bit for each part, each level above a bit for each word below that is not zero.
  std::vector<std::vector<uint64_t>> levels_;
};

class DirtyTracker {
 public:
  // Tracks from here on, until it is destroyed. The node outlives it.
  DirtyTracker(Node& node, uint32_t granularity_bytes);
  ~DirtyTracker();
  DirtyTracker(const DirtyTracker&) = delete;
  DirtyTracker& operator=(const DirtyTracker&) = delete;

  DirtyMap& map() { return map_; }
  // Takes the next marked run behind the one before, round and round; it is not marked after. The
  // last part is cut at the node's end. Nothing: no part is marked.
  std::optional<DirtyMap::Range> take(uint64_t max_bytes);
  // Back, where the copy failed.
  void put_back(const DirtyMap::Range& range) { map_.mark(range.offset, range.length); }

 private:
  friend class Mutation;
  Node& node_;
  DirtyMap map_;
  uint64_t cursor_ = 0;
  DirtyTracker* previous_ = nullptr;
  DirtyTracker* next_ = nullptr;
};

// Parts that keep the map of `size_bytes` within 4 MiB of memory: 64 KiB, or more for huge disks.
uint32_t dirty_granularity_bytes(uint64_t size_bytes);

}  // namespace firn::block
