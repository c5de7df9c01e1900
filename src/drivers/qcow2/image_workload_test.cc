// Random work on images of all kinds, beside a copy in memory; then qemu-img judges the file.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <random>

#include "async/scope.h"
#include "async/testing.h"
#include "drivers/qcow2/test_image.h"

namespace firn::qcow2 {
namespace {

using async::TaskScope;
using async::testing::run_on_loop;
using testing::create_image;
using testing::Directory;
using testing::must;
using testing::Opened;
using testing::OpenSpec;
using testing::pattern;
using Bytes = std::vector<std::byte>;

struct Kind {
  std::string name;
  uint64_t size_bytes = 4 << 20;
  testing::CreateOptionList options;
  uint64_t backing_bytes = 0;      // 0: none
  bool compressed = false;         // begins as a compressed image, made by qemu-img
  bool internal_snapshot = false;  // taken by qemu-img in the middle
  Options open_options;
};
std::ostream& operator<<(std::ostream& out, const Kind& kind) { return out << kind.name; }

struct Step {
  enum class What { kWrite, kZero, kZeroUnmap, kDiscard } what = What::kWrite;
  uint64_t offset = 0;
  uint64_t length = 0;
  uint64_t seed = 0;
  bool fua = false;
};

class Workload {
 public:
  Workload(const Kind& kind, const Directory& directory, uint64_t seed)
      : kind_(kind), path_(directory.path("image.qcow2")), random_(seed), directory_(directory) {}

  void prepare() {
    shadow_.assign(kind_.size_bytes, std::byte{0});
    testing::CreateOptionList options = kind_.options;
    if (kind_.backing_bytes != 0) {
      const Bytes below = pattern(kind_.backing_bytes, 77);
      save(directory_.path("base.raw"), below);
      std::copy_n(below.begin(), std::min(below.size(), shadow_.size()), shadow_.begin());
      options.emplace_back("backing_file", "base.raw");
      options.emplace_back("backing_fmt", "raw");
    }
    if (kind_.compressed) {
      for (uint64_t i = 0; i < shadow_.size(); ++i) {
        shadow_[i] = static_cast<std::byte>(i / 4096 * 7 + (i % 16));
      }
      save(directory_.path("source.raw"), shadow_);
      std::string text;
      for (const auto& [name, value] : options) text += fmt::format("{}={},", name, value);
      must(fmt::format("qemu-img convert -c -f raw -O qcow2 -o '{}' {} {}",
                       text.empty() ? "lazy_refcounts=off" : text.substr(0, text.size() - 1),
                       directory_.path("source.raw"), path_));
      return;
    }
    const Result<> made = run_on_loop(create_image(path_, kind_.size_bytes, options));
    ASSERT_TRUE(made) << made.error().text();
  }

  void run(int rounds) {
    const Result<> done = run_on_loop(work(rounds));
    ASSERT_TRUE(done) << done.error().text();
  }

  void judge() {
    const std::string shadow = directory_.path("shadow.raw");
    save(shadow, shadow_);
    const std::string checked = must("qemu-img check " + path_);
    EXPECT_NE(checked.find("No errors were found"), std::string::npos) << checked;
    must(fmt::format("qemu-img compare -f qcow2 -F raw {} {}", path_, shadow));
  }

  const std::string& path() const { return path_; }

 private:
  static void save(const std::string& path, const Bytes& bytes) {
    std::ofstream out(path, std::ios::binary);
    out.write(reinterpret_cast<const char*>(bytes.data()),
              static_cast<std::streamsize>(bytes.size()));
  }

  uint64_t below(uint64_t limit) { return random_() % limit; }

  // Steps that do not overlap, so that their order does not matter.
  std::vector<Step> make_batch() {
    std::vector<Step> batch;
    const uint64_t sectors = shadow_.size() / 512;
    for (uint64_t tries = 0; tries < 24; ++tries) {
      const uint64_t length =
          below(8) == 0 ? std::min<uint64_t>(1 + below(sectors / 4), 2048) : 1 + below(40);
      const uint64_t first = below(sectors - length + 1);
      Step step{.offset = first * 512, .length = length * 512, .seed = random_()};
      const bool taken = std::ranges::any_of(batch, [&](const Step& other) {
        return step.offset < other.offset + other.length &&
               other.offset < step.offset + step.length;
      });
      if (taken) continue;
      const uint64_t what = below(10);
      if (what >= 6) step.what = static_cast<Step::What>(what - 6);
      step.fua = below(20) == 0;
      batch.push_back(step);
    }
    return batch;
  }

  Task<void> perform(Opened& image, Step step, Result<>& result) {
    Result<> done;
    const block::Flags flags = step.fua ? block::flag::kFua : block::flag::kNone;
    switch (step.what) {
      case Step::What::kWrite:
        done = co_await image.write(step.offset, pattern(step.length, step.seed), flags);
        break;
      case Step::What::kZero:
        done = co_await image.image().write_zeroes(step.offset, step.length, flags);
        break;
      case Step::What::kZeroUnmap:
        done = co_await image.image().write_zeroes(step.offset, step.length,
                                                   flags | block::flag::kMayUnmap);
        break;
      case Step::What::kDiscard:
        done = co_await image.image().discard(step.offset, step.length, flags);
        break;
    }
    if (!done && result) result = std::move(done);
  }

  Task<void> flush(Opened& image, Result<>& result) {
    Result<> done = co_await image.image().flush();
    if (!done && result) result = std::move(done);
  }

  void note(const Step& step) {
    auto* at = shadow_.data() + step.offset;
    if (step.what == Step::What::kWrite) {
      const Bytes bytes = pattern(step.length, step.seed);
      std::copy(bytes.begin(), bytes.end(), at);
    } else if (step.what != Step::What::kDiscard) {
      std::fill_n(at, step.length, std::byte{0});
    }
  }

  // After a discard each byte is what it was, or zero.
  Task<Result<>> settle_discard(Opened& image, const Step& step) {
    const Bytes now = CO_TRY(co_await image.read(step.offset, step.length));
    for (uint64_t i = 0; i < step.length; ++i) {
      std::byte& was = shadow_[step.offset + i];
      if (now[i] != was && now[i] != std::byte{0}) {
        ADD_FAILURE() << "discard left foreign bytes at " << step.offset + i;
        co_return Result<>{};
      }
      was = now[i];
    }
    co_return Result<>{};
  }

  Task<Result<>> compare(Opened& image, uint64_t offset, uint64_t length) {
    const Bytes bytes = CO_TRY(co_await image.read(offset, length));
    const auto differs = std::mismatch(bytes.begin(), bytes.end(), shadow_.begin() + offset);
    if (differs.first != bytes.end()) {
      ADD_FAILURE() << "differs at " << offset + (differs.first - bytes.begin());
    }
    co_return Result<>{};
  }

  Task<Result<>> work(int rounds) {
    OpenSpec spec{.unmap = below(2) == 0};
    spec.options = kind_.open_options;
    auto image = CO_TRY(co_await Opened::open(path_, spec));
    Result<> result;
    for (int round = 0; round < rounds && result && !::testing::Test::HasFailure(); ++round) {
      const std::vector<Step> batch = make_batch();
      TaskScope scope;
      for (const Step& step : batch) scope.spawn(perform(*image, step, result));
      if (below(3) == 0) scope.spawn(flush(*image, result));
      co_await scope.join();
      for (const Step& step : batch) {
        note(step);
        if (result && step.what == Step::What::kDiscard) {
          result = co_await settle_discard(*image, step);
        }
      }
      for (const Step& step : batch) {
        const uint64_t begin = step.offset - std::min<uint64_t>(step.offset, 4096);
        const uint64_t end = std::min<uint64_t>(shadow_.size(), step.offset + step.length + 4096);
        if (result) result = co_await compare(*image, begin, end - begin);
      }
    }
    if (result) result = co_await compare(*image, 0, shadow_.size());
    Result<> closed = co_await image->close();
    CO_TRY(std::move(result));
    co_return closed;
  }

  const Kind& kind_;
  std::string path_;
  std::mt19937_64 random_;
  Bytes shadow_;
  const Directory& directory_;
};

class WorkloadTest : public ::testing::TestWithParam<Kind> {};

TEST_P(WorkloadTest, ImageAgreesWithItsCopyAndWithQemu) {
  FIRN_NEEDS_QEMU();
  const Directory directory;
  Workload workload(GetParam(), directory, 20240817);
  workload.prepare();
  for (int pass = 0; pass < 3; ++pass) {
    workload.run(12);
    if (HasFailure()) return;
    workload.judge();
    if (HasFailure()) return;
    if (GetParam().internal_snapshot) {
      must(fmt::format("qemu-img snapshot -c s{} {}", pass, workload.path()));
    }
  }
}

std::vector<Kind> kinds() {
  Options small_caches;
  small_caches.l2_cache_size = 4096;
  small_caches.refcount_cache_size = 4096;
  return {
      {.name = "plain"},
      {.name = "odd_size", .size_bytes = (3 << 20) + 512 * 5},
      {.name = "cluster_512", .options = {{"cluster_size", "512"}}},
      {.name = "cluster_512_small_caches",
       .options = {{"cluster_size", "512"}},
       .open_options = small_caches},
      {.name = "cluster_512_refcount_64",
       .options = {{"cluster_size", "512"}, {"refcount_bits", "64"}}},
      {.name = "cluster_4k_refcount_1",
       .options = {{"cluster_size", "4k"}, {"refcount_bits", "1"}}},
      {.name = "refcount_8", .options = {{"refcount_bits", "8"}}},
      {.name = "cluster_2m", .size_bytes = 24 << 20, .options = {{"cluster_size", "2M"}}},
      {.name = "version_2", .options = {{"compat", "0.10"}}},
      {.name = "version_2_backing", .options = {{"compat", "0.10"}}, .backing_bytes = 3 << 20},
      {.name = "backing", .backing_bytes = 4 << 20},
      {.name = "short_backing", .backing_bytes = (2 << 20) + 1536},
      {.name = "long_backing", .backing_bytes = 6 << 20},
      {.name = "subclusters", .options = {{"extended_l2", "on"}}},
      {.name = "subclusters_16k",
       .options = {{"extended_l2", "on"}, {"cluster_size", "16k"}},
       .backing_bytes = (3 << 20) + 512},
      {.name = "subclusters_backing", .options = {{"extended_l2", "on"}}, .backing_bytes = 4 << 20},
      {.name = "subclusters_2m",
       .size_bytes = 24 << 20,
       .options = {{"extended_l2", "on"}, {"cluster_size", "2M"}}},
      {.name = "preallocated", .options = {{"preallocation", "metadata"}}},
      {.name = "preallocated_subclusters",
       .options = {{"preallocation", "metadata"}, {"extended_l2", "on"}},
       .backing_bytes = 4 << 20},
      {.name = "preallocated_falloc", .options = {{"preallocation", "falloc"}}},
      {.name = "preallocated_full_4k",
       .options = {{"preallocation", "full"}, {"cluster_size", "4k"}}},
      {.name = "compressed", .compressed = true},
      {.name = "compressed_zstd", .options = {{"compression_type", "zstd"}}, .compressed = true},
      {.name = "compressed_subclusters", .options = {{"extended_l2", "on"}}, .compressed = true},
      {.name = "compressed_4k", .options = {{"cluster_size", "4k"}}, .compressed = true},
      {.name = "internal_snapshots", .internal_snapshot = true},
      {.name = "internal_snapshots_v2", .options = {{"compat", "v2"}}, .internal_snapshot = true},
      {.name = "internal_snapshots_subclusters",
       .options = {{"extended_l2", "on"}},
       .backing_bytes = 3 << 20,
       .internal_snapshot = true},
      {.name = "internal_snapshots_compressed", .compressed = true, .internal_snapshot = true},
  };
}

INSTANTIATE_TEST_SUITE_P(Kinds, WorkloadTest, ::testing::ValuesIn(kinds()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace firn::qcow2
