// For crash tests: an image on a store that forgets what was not flushed, in any order and in
// parts, and what may be read from it afterwards.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "drivers/qcow2/image.h"

namespace firn::qcow2::testing {

using Bytes = std::vector<std::byte>;

inline constexpr uint64_t kSector = 512;

// A file in memory with a volatile write cache. Operations take a random number of turns.
class VolatileFile final : public block::Driver {
 public:
  VolatileFile(Bytes bytes, uint64_t seed) : durable_(std::move(bytes)), random_(seed) {
    seen_ = durable_;
  }

  std::string_view name() const override { return "volatile"; }
  bool is_protocol() const override { return true; }
  uint64_t size_bytes() const override { return seen_.size(); }
  block::Limits limits() const override { return {}; }

  Task<Result<>> read(uint64_t offset, const IoVec& iov, Flags) override {
    co_await dawdle();
    const uint64_t length = iov.size_bytes();
    const uint64_t there =
        offset >= seen_.size() ? 0 : std::min<uint64_t>(length, seen_.size() - offset);
    if (there != 0) iov.copy_from(0, base::ConstByteSpan(seen_.data() + offset, there));
    iov.fill_zero(there, length - there);
    co_return Result<>{};
  }
  Task<Result<>> write(uint64_t offset, const IoVec& iov, Flags) override {
    if (fail_writes) co_return base::fail(base::ErrorKind::kNoSpace, "no space left");
    Bytes bytes(iov.size_bytes());
    iov.copy_to(0, bytes);
    const uint64_t id = next_write_++;
    cached_.push_back({.id = id, .offset = offset, .bytes = bytes});
    co_await dawdle();
    apply(seen_, offset, bytes);
    std::ranges::find(cached_, id, &Cached::id)->complete = true;
    co_return Result<>{};
  }
  Task<Result<>> write_zeroes(uint64_t offset, uint64_t length, Flags flags) override {
    const Bytes zeroes(length);
    const IoVec iov{base::ConstByteSpan(zeroes)};
    co_return co_await write(offset, iov, flags);
  }
  Task<Result<>> discard(uint64_t offset, uint64_t length, Flags flags) override {
    co_return co_await write_zeroes(offset, length, flags);
  }
  Task<Result<>> flush() override {
    if (std::exchange(fail_flush, false)) {
      co_return base::fail(base::ErrorKind::kIo, "the flush failed");
    }
    std::vector<uint64_t> covered;
    for (const Cached& write : cached_) {
      if (write.complete) covered.push_back(write.id);
    }
    co_await dawdle();
    for (const uint64_t id : covered) {
      const auto found = std::ranges::find(cached_, id, &Cached::id);
      if (found == cached_.end()) continue;
      apply(durable_, found->offset, found->bytes);
      cached_.erase(found);
    }
    co_return Result<>{};
  }
  Task<Result<block::Run>> status(uint64_t, uint64_t length) override {
    co_return block::Run{.length_bytes = length};
  }
  Task<Result<>> resize(uint64_t size_bytes) override {
    seen_.resize(size_bytes);
    durable_.resize(size_bytes);
    co_return Result<>{};
  }
  Task<Result<>> set_read_only(bool) override { co_return Result<>{}; }
  Result<> move_to(async::Loop&) override { return {}; }
  Task<Result<>> close() override { co_return Result<>{}; }
  Task<Result<block::ImageFacts>> facts() override { co_return block::ImageFacts{}; }
  std::string filename() const override { return "/volatile"; }

  // What is left if the power goes now: of what is cached, any sectors.
  Bytes cut() {
    Bytes left = durable_;
    const double survival = std::array{0.0, 0.1, 0.5, 0.9, 1.0}[random_() % 5];
    std::bernoulli_distribution survives(survival);
    for (const Cached& write : cached_) {
      for (uint64_t at = 0; at < write.bytes.size(); at += kSector) {
        const uint64_t length = std::min<uint64_t>(kSector, write.bytes.size() - at);
        if (!survives(random_)) continue;
        apply(left, write.offset + at,
              Bytes(write.bytes.begin() + at, write.bytes.begin() + at + length));
      }
    }
    return left;
  }
  bool slow = true;
  bool fail_writes = false;
  bool fail_flush = false;  // once

 private:
  struct Cached {
    uint64_t id = 0;
    uint64_t offset = 0;
    Bytes bytes;
    bool complete = false;
  };
  static void apply(Bytes& to, uint64_t offset, const Bytes& bytes) {
    if (to.size() < offset + bytes.size()) to.resize(offset + bytes.size());
    std::ranges::copy(bytes, to.begin() + static_cast<ptrdiff_t>(offset));
  }
  Task<void> dawdle() {
    if (!slow) co_return;
    for (uint64_t turns = random_() % 12; turns != 0; --turns) {
      co_await async::Loop::current().yield();
    }
  }

  Bytes durable_;
  Bytes seen_;
  std::vector<Cached> cached_;
  std::mt19937_64 random_;
  uint64_t next_write_ = 1;
};

// A node over a VolatileFile, and one for the image.
struct Stack {
  Stack(Bytes bytes, uint64_t seed, bool slow)
      : file_node("file", {}, async::Loop::current()), node("image", {}, async::Loop::current()) {
    auto driver = std::make_unique<VolatileFile>(std::move(bytes), seed);
    file = driver.get();
    file->slow = slow;
    file_node.set_driver(std::move(driver));
    node.children().file.attach(&file_node, block::permission::kAll, block::permission::kAll);
  }
  ~Stack() {
    node.set_driver(nullptr);
    node.children().file.detach();
    file_node.set_driver(nullptr);
  }
  Task<Result<>> open() {
    auto opened = CO_TRY(co_await Image::open(node, Options{}));
    image = opened.get();
    node.set_driver(std::move(opened));
    co_return Result<>{};
  }

  block::Node file_node;
  block::Node node;
  VolatileFile* file = nullptr;
  Image* image = nullptr;
};

// What each sector may hold. Every write has a number, which fills its sectors; zero is zero.
class Ledger {
 public:
  explicit Ledger(uint64_t sectors) : versions_(sectors, {{.ids = {0}, .acknowledged = true}}) {}

  // One of these: a revert brings back what may have been in flight then.
  using Ids = std::set<uint32_t>;
  void issue(uint64_t sector, uint32_t id) { issue(sector, Ids{id}); }
  void issue(uint64_t sector, Ids ids) { versions_[sector].push_back({.ids = std::move(ids)}); }
  void acknowledge(uint64_t sector) { versions_[sector].back().acknowledged = true; }
  // What the sector holds now: its last version, or the one before if that is not acknowledged.
  Ids now(uint64_t sector) const {
    const std::vector<Version>& all = versions_[sector];
    Ids ids = all.back().ids;
    if (!all.back().acknowledged && all.size() > 1) {
      const Ids& before = all[all.size() - 2].ids;
      ids.insert(before.begin(), before.end());
    }
    return ids;
  }
  // A flush begins: what it will make durable.
  std::vector<size_t> begin_flush() const {
    std::vector<size_t> covered(versions_.size());
    for (size_t i = 0; i < versions_.size(); ++i) {
      covered[i] = dropped(i) + versions_[i].size() - (versions_[i].back().acknowledged ? 1 : 2);
    }
    return covered;
  }
  void end_flush(const std::vector<size_t>& covered) {
    dropped_.resize(versions_.size());
    for (size_t i = 0; i < versions_.size(); ++i) {
      while (dropped_[i] < covered[i]) {
        versions_[i].erase(versions_[i].begin());
        ++dropped_[i];
      }
    }
  }
  bool allows(uint64_t sector, uint32_t id) const {
    return std::ranges::any_of(versions_[sector],
                               [&](const Version& version) { return version.ids.contains(id); });
  }
  uint64_t sectors() const { return versions_.size(); }

 private:
  struct Version {
    Ids ids;
    bool acknowledged = false;
  };
  size_t dropped(size_t sector) const { return dropped_.empty() ? 0 : dropped_[sector]; }
  std::vector<std::vector<Version>> versions_;
  std::vector<size_t> dropped_;
};

}  // namespace firn::qcow2::testing
