#include "tests/tools/prefix_rule.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/check.h"

namespace firn::tests {
namespace {

std::string describe(const Write& write, uint32_t writer, uint32_t sequence) {
  return fmt::format("writer {}'s write {} of block {} (sent {}, acknowledged {})", writer,
                     sequence, write.block, write.sent,
                     write.acked ? fmt::to_string(write.acked) : "never");
}

}  // namespace

LayerContent::LayerContent(const History& history)
    : history_(history), blocks_(history.block_count) {
  for (uint32_t writer = 0; writer < history.writers.size(); ++writer) {
    uint32_t sequence = 0;
    for (const Write& write : history.writers[writer]) {
      CHECK(write.block < blocks_.size());
      BlockWrites& writes = blocks_[write.block];
      CHECK(writes.sequences.empty() || writes.writer == writer);
      writes.writer = writer;
      writes.sequences.push_back(sequence++);
    }
  }
}

const Write& LayerContent::write(const BlockWrites& writes, size_t index) const {
  return history_.writers[writes.writer][writes.sequences[index]];
}

void LayerContent::add(uint64_t block, base::ConstByteSpan bytes) {
  if (auto stamp = read_stamp(bytes)) {
    add_stamp(block, stamp);
  } else if (base::is_zero(bytes)) {
    add_stamp(block, std::nullopt);
  } else {
    content_faults_.push_back(
        {Fault::kDamaged, block,
         fmt::format("block {} holds neither zeroes nor one whole write", block)});
  }
}

void LayerContent::add_stamp(uint64_t block, const std::optional<Stamp>& stamp) {
  CHECK(block < blocks_.size());
  BlockWrites& writes = blocks_[block];
  writes.included = 0;
  if (!stamp) return;
  auto found = std::ranges::lower_bound(writes.sequences, stamp->sequence);
  if (stamp->run_id != history_.run_id || stamp->block != block || stamp->writer != writes.writer ||
      found == writes.sequences.end() || *found != stamp->sequence) {
    content_faults_.push_back(
        {Fault::kForeign, block,
         fmt::format("block {} holds writer {}'s write {} of block {}, run {:x}, which this "
                     "history (run {:x}) doesn't have there",
                     block, stamp->writer, stamp->sequence, stamp->block, stamp->run_id,
                     history_.run_id)});
    return;
  }
  writes.included = static_cast<uint32_t>(found - writes.sequences.begin()) + 1;
}

bool LayerContent::is_torn(uint64_t block, const Window& window) const {
  const BlockWrites& writes = blocks_[block];
  if (!window.may_be_torn || writes.sequences.empty()) return false;
  const Write& last = write(writes, writes.sequences.size() - 1);
  return last.acked == 0 || last.acked >= window.sent;
}

uint64_t LayerContent::included_count() const {
  uint64_t count = 0;
  for (const BlockWrites& writes : blocks_) count += writes.included;
  return count;
}

std::vector<Violation> LayerContent::check(const Window& window, size_t limit) const {
  std::vector<Violation> violations;
  std::set<uint64_t> torn;
  auto report = [&](Fault fault, uint64_t block, auto&& text) {
    violations.push_back({fault, block, violations.size() < limit ? text() : std::string()});
  };
  for (const Violation& fault : content_faults_) {
    if (fault.fault == Fault::kDamaged && is_torn(fault.block, window)) {
      torn.insert(fault.block);
    } else {
      report(fault.fault, fault.block, [&] { return fault.text; });
    }
  }

  auto describe_last = [&](const BlockWrites& writes) {
    size_t last = writes.included - 1;
    return describe(write(writes, last), writes.writer, writes.sequences[last]);
  };

  // The last write sent of all that are in: every write acknowledged before it was sent must be in
  // too, and no other write that is in demands more.
  const Write* latest = nullptr;
  const BlockWrites* latest_block = nullptr;
  for (const BlockWrites& writes : blocks_) {
    if (writes.included == 0) continue;
    const Write& last = write(writes, writes.included - 1);
    if (last.sent > window.replied) {
      report(Fault::kTooNew, last.block, [&] {
        return fmt::format("{} is in the layer, but was sent after the reply (order {})",
                           describe_last(writes), window.replied);
      });
    }
    if (!latest || last.sent > latest->sent) {
      latest = &last;
      latest_block = &writes;
    }
  }

  for (const BlockWrites& writes : blocks_) {
    if (writes.included == writes.sequences.size()) continue;
    // The first write that is not in was acknowledged first of all that are not.
    const Write& absent = write(writes, writes.included);
    if (torn.contains(absent.block)) continue;
    if (absent.acked == 0) continue;
    auto text = [&] { return describe(absent, writes.writer, writes.sequences[writes.included]); };
    if (absent.acked < window.sent) {
      report(Fault::kMissing, absent.block, [&] {
        return fmt::format(
            "{} is not in the layer, but was acknowledged before the command (order "
            "{})",
            text(), window.sent);
      });
    } else if (window.ordered && latest && absent.acked < latest->sent) {
      report(Fault::kOutOfOrder, absent.block, [&] {
        return fmt::format("{} is not in the layer, but {} is, which was sent later", text(),
                           describe_last(*latest_block));
      });
    }
  }
  return violations;
}

}  // namespace firn::tests
