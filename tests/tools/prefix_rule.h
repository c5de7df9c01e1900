// The rule that a frozen layer must obey to be a point in time (docs/architecture.md, "What point
// in time a snapshot is"):
//
//   1. what was acknowledged before the command was sent is in it;
//   2. nothing sent after the command's reply is in it;
//   3. if Y is in it, and X was acknowledged before Y was sent, then X is in it.
//
// What a crash leaves obeys rule 1 alone, with the last flush in place of the command.
//
// A block has one write in flight at most, so its writes have an order, and a layer's content of a
// block tells for each of its writes whether it is "in": those up to the content's stamp are.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "tests/tools/history.h"
#include "tests/tools/stamp.h"

namespace firn::tests {

enum class Fault {
  kDamaged,     // neither zeroes nor a whole stamp
  kForeign,     // a whole stamp, but not of a write of this history to this block
  kMissing,     // rule 1
  kTooNew,      // rule 2
  kOutOfOrder,  // rule 3
};

struct Violation {
  Fault fault;
  uint64_t block;
  std::string text;  // for a person: which write, which orders
};

// What a layer holds in each block of the history's region. Fill it with one call of add() per
// block; then ask check().
class LayerContent {
 public:
  // `history` must outlive this.
  explicit LayerContent(const History& history);

  // The content of `block`, kBlockBytes long. Faults that show in the block alone are kept for
  // check().
  void add(uint64_t block, base::ConstByteSpan bytes);

  // As above for content that is known: nothing means zeroes.
  void add_stamp(uint64_t block, const std::optional<Stamp>& stamp);

  // All violations of the rule, of which at most `limit` are described, with those of damaged
  // blocks first. Takes time in proportion to the blocks and the writes.
  std::vector<Violation> check(const Window& window, size_t limit = 10) const;

  // How many of the history's writes are in the layer, superseded ones included.
  uint64_t included_count() const;

 private:
  // A block's writes in order, each the index of its writer's list.
  struct BlockWrites {
    uint32_t writer = 0;
    uint32_t included = 0;  // how many of `sequences`, from the first, are in the layer
    std::vector<uint32_t> sequences;
  };
  const Write& write(const BlockWrites& writes, size_t index) const;
  // True if the block's damage is what a power cut makes of a write that was not flushed.
  bool is_torn(uint64_t block, const Window& window) const;

  const History& history_;
  std::vector<BlockWrites> blocks_;
  std::vector<Violation> content_faults_;
};

}  // namespace firn::tests
