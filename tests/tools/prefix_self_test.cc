#include "tests/tools/prefix_self_test.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <random>
#include <string>
#include <vector>

namespace firn::tests {
namespace {

using base::ErrorKind;
using base::fail;
using base::Result;

constexpr uint64_t kBlocksPerWriter = 12;
constexpr uint32_t kWriters = 3;
constexpr int kSteps = 600;

// A run of writers against a disk that admits each request at some moment between its sending and
// its reply, and takes one snapshot: what was admitted before the pivot is in the layer.
class Model {
 public:
  explicit Model(uint64_t seed) : random_(seed) {
    history_.run_id = seed + 1;
    history_.block_count = kBlocksPerWriter * kWriters;
    history_.writers.resize(kWriters);
    layer_.resize(history_.block_count, -1);
    int command = kSteps / 3;
    int pivot = command + pick(kSteps / 4);
    int reply = pivot + pick(kSteps / 4);
    for (int step = 0; step < kSteps; ++step) {
      if (step == command) window_.sent = ++order_;
      if (step == pivot) pivoted_ = true;
      if (step == reply) window_.replied = ++order_;
      advance();
    }
    while (!in_flight_.empty()) acknowledge(0);
  }

  const History& history() const { return history_; }
  const Window& window() const { return window_; }
  // Per block the sequence number of the write that the layer holds; -1 for zeroes.
  const std::vector<int64_t>& layer() const { return layer_; }

  Stamp stamp(uint64_t block, int64_t sequence) const {
    return {.run_id = history_.run_id,
            .block = block,
            .writer = static_cast<uint32_t>(block / kBlocksPerWriter),
            .sequence = static_cast<uint32_t>(sequence)};
  }

 private:
  struct InFlight {
    uint32_t writer;
    uint32_t sequence;
    bool admitted;
  };

  int pick(int bound) { return static_cast<int>(random_() % static_cast<uint64_t>(bound)); }

  void advance() {
    switch (pick(3)) {
      case 0:
        send();
        break;
      case 1:
        if (!in_flight_.empty())
          admit(static_cast<size_t>(pick(static_cast<int>(in_flight_.size()))));
        break;
      default:
        if (!in_flight_.empty())
          acknowledge(static_cast<size_t>(pick(static_cast<int>(in_flight_.size()))));
    }
  }

  void send() {
    auto writer = static_cast<uint32_t>(pick(kWriters));
    uint64_t block = writer * kBlocksPerWriter + static_cast<uint64_t>(pick(kBlocksPerWriter));
    auto& writes = history_.writers[writer];
    bool busy = std::ranges::any_of(in_flight_, [&](const InFlight& other) {
      return history_.writers[other.writer][other.sequence].block == block;
    });
    if (busy) return;
    writes.push_back({.block = block, .sent = ++order_});
    in_flight_.push_back({writer, static_cast<uint32_t>(writes.size() - 1), false});
  }

  void admit(size_t index) {
    InFlight& request = in_flight_[index];
    if (request.admitted) return;
    request.admitted = true;
    if (pivoted_) return;
    layer_[history_.writers[request.writer][request.sequence].block] = request.sequence;
  }

  void acknowledge(size_t index) {
    admit(index);
    const InFlight& request = in_flight_[index];
    history_.writers[request.writer][request.sequence].acked = ++order_;
    in_flight_.erase(in_flight_.begin() + static_cast<ptrdiff_t>(index));
  }

  std::mt19937_64 random_;
  History history_;
  Window window_;
  std::vector<int64_t> layer_;
  std::vector<InFlight> in_flight_;
  uint64_t order_ = 0;
  bool pivoted_ = false;
};

using Layer = std::vector<int64_t>;

std::vector<Violation> check(const Model& model, const Layer& layer, const Window& window) {
  LayerContent content(model.history());
  for (uint64_t block = 0; block < layer.size(); ++block) {
    std::optional<Stamp> stamp;
    if (layer[block] >= 0) stamp = model.stamp(block, layer[block]);
    content.add_stamp(block, stamp);
  }
  return content.check(window);
}

// The write to `block` before the one numbered `sequence`; -1 if that was the first.
int64_t previous(const std::deque<Write>& writes, uint64_t block, int64_t sequence) {
  while (--sequence >= 0) {
    if (writes[static_cast<size_t>(sequence)].block == block) break;
  }
  return sequence;
}

// Plants violations into one model's layer, one at a time.
class Planter {
 public:
  Planter(const Model& model, SelfTestResult& result) : model_(model), result_(result) {}

  Result<> run() {
    TRY(expect_clean(model_.layer(), model_.window(), "the model's layer"));
    TRY(plant_older_versions());
    TRY(plant_newer_versions());
    TRY(plant_lost_at_the_end());
    return plant_bad_blocks();
  }

 private:
  const std::deque<Write>& writes_of(uint64_t block) const {
    return model_.history().writers[block / kBlocksPerWriter];
  }
  const Write& write_of(uint64_t block, int64_t sequence) const {
    return writes_of(block)[static_cast<size_t>(sequence)];
  }

  Result<> expect_clean(const Layer& layer, const Window& window, const char* what) {
    auto violations = check(model_, layer, window);
    if (!violations.empty()) {
      return fail(ErrorKind::kGeneric,
                  fmt::format("{} is right, but found: {}", what, violations[0].text));
    }
    ++result_.clean;
    return {};
  }

  Result<> expect(const std::vector<Violation>& violations, Fault fault, uint64_t block) {
    bool found = std::ranges::any_of(violations, [&](const Violation& violation) {
      return violation.fault == fault && violation.block == block;
    });
    if (!found) {
      return fail(ErrorKind::kGeneric, fmt::format("planted fault {} in block {} was not found",
                                                   static_cast<int>(fault), block));
    }
    ++result_.planted[fault];
    return {};
  }

  // A block one version older than it should be breaks rule 1 or rule 3.
  Result<> plant_older_versions() {
    for (uint64_t block = 0; block < model_.layer().size(); ++block) {
      Layer layer = model_.layer();
      if (layer[block] < 0) continue;
      const Write& lost = write_of(block, layer[block]);
      layer[block] = previous(writes_of(block), block, layer[block]);
      uint64_t latest_sent = 0;
      for (uint64_t other = 0; other < layer.size(); ++other) {
        if (layer[other] >= 0) {
          latest_sent = std::max(latest_sent, write_of(other, layer[other]).sent);
        }
      }
      auto violations = check(model_, layer, model_.window());
      if (lost.acked < model_.window().sent) {
        TRY(expect(violations, Fault::kMissing, block));
      } else if (lost.acked < latest_sent) {
        TRY(expect(violations, Fault::kOutOfOrder, block));
      } else if (!violations.empty()) {
        return fail(ErrorKind::kGeneric, "a write in flight may be out, but was called missing");
      }
    }
    return {};
  }

  // A block with a write from after the reply breaks rule 2.
  Result<> plant_newer_versions() {
    const auto& writers = model_.history().writers;
    for (const auto& writes : writers) {
      for (size_t sequence = 0; sequence < writes.size(); ++sequence) {
        if (writes[sequence].sent < model_.window().replied) continue;
        Layer layer = model_.layer();
        layer[writes[sequence].block] = static_cast<int64_t>(sequence);
        TRY(expect(check(model_, layer, model_.window()), Fault::kTooNew, writes[sequence].block));
      }
    }
    return {};
  }

  // At the end of the run, the head holds each block's last write.
  Result<> plant_lost_at_the_end() {
    Layer head(model_.layer().size(), -1);
    for (const auto& writes : model_.history().writers) {
      for (size_t i = 0; i < writes.size(); ++i) head[writes[i].block] = static_cast<int64_t>(i);
    }
    Window end = model_.history().end_window();
    TRY(expect_clean(head, end, "the head at the end"));
    for (uint64_t block = 0; block < head.size(); ++block) {
      if (head[block] < 0) continue;
      Layer layer = head;
      layer[block] = previous(writes_of(block), block, layer[block]);
      TRY(expect(check(model_, layer, end), Fault::kMissing, block));
    }
    return {};
  }

  Result<> plant_bad_blocks() {
    std::vector<std::byte> bytes(kBlockBytes);
    LayerContent torn(model_.history());
    write_stamp(bytes, model_.stamp(1, 0));
    bytes[kBlockBytes / 2] ^= std::byte{1};
    torn.add(1, bytes);
    TRY(expect(torn.check(model_.window()), Fault::kDamaged, 1));

    LayerContent misplaced(model_.history());
    write_stamp(bytes, model_.stamp(0, 0));
    misplaced.add(1, bytes);
    TRY(expect(misplaced.check(model_.window()), Fault::kForeign, 1));

    LayerContent other_run(model_.history());
    Stamp stamp = model_.stamp(0, 0);
    ++stamp.run_id;
    other_run.add_stamp(0, stamp);
    return expect(other_run.check(model_.window()), Fault::kForeign, 0);
  }

  const Model& model_;
  SelfTestResult& result_;
};

}  // namespace

Result<SelfTestResult> run_prefix_self_test(uint64_t seeds) {
  SelfTestResult result;
  for (uint64_t seed = 0; seed < seeds; ++seed) {
    Model model(seed);
    TRY_CONTEXT(Planter(model, result).run(), fmt::format("seed {}", seed));
  }
  for (Fault fault :
       {Fault::kDamaged, Fault::kForeign, Fault::kMissing, Fault::kTooNew, Fault::kOutOfOrder}) {
    if (result.planted[fault] == 0) {
      return fail(ErrorKind::kGeneric,
                  fmt::format("no model planted fault {}", static_cast<int>(fault)));
    }
  }
  return result;
}

}  // namespace firn::tests
