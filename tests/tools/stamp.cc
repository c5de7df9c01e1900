#include "tests/tools/stamp.h"

#include <array>
#include <cstring>

#include "base/check.h"

namespace firn::tests {
namespace {

constexpr uint64_t kMagic = 0x504d'5453'4e52'4946;  // "FIRNSTMP"
constexpr size_t kWords = kBlockBytes / sizeof(uint64_t);
constexpr size_t kHeaderWords = 4;

// One step of splitmix64: each input bit moves half of the output bits.
uint64_t mix(uint64_t value) {
  value += 0x9e37'79b9'7f4a'7c15;
  value = (value ^ (value >> 30)) * 0xbf58'476d'1ce4'e5b9;
  value = (value ^ (value >> 27)) * 0x94d0'49bb'1331'11eb;
  return value ^ (value >> 31);
}

std::array<uint64_t, kWords> expected_words(const Stamp& stamp) {
  std::array<uint64_t, kWords> words;
  words[0] = kMagic;
  words[1] = stamp.run_id;
  words[2] = stamp.block;
  words[3] = uint64_t{stamp.writer} << 32 | stamp.sequence;
  uint64_t seed = mix(mix(mix(stamp.run_id) ^ stamp.block) ^ words[3]);
  for (size_t i = kHeaderWords; i < kWords; ++i) words[i] = seed + i * 0x9e37'79b9'7f4a'7c15;
  return words;
}

}  // namespace

void write_stamp(base::ByteSpan block, const Stamp& stamp) {
  CHECK(block.size() == kBlockBytes);
  auto words = expected_words(stamp);
  for (size_t i = 0; i < kWords; ++i) base::store_le(&block[i * sizeof words[0]], words[i]);
}

std::optional<Stamp> read_stamp(base::ConstByteSpan block) {
  CHECK(block.size() == kBlockBytes);
  auto word = [&](size_t i) { return base::load_le<uint64_t>(&block[i * sizeof(uint64_t)]); };
  if (word(0) != kMagic) return std::nullopt;
  Stamp stamp{.run_id = word(1),
              .block = word(2),
              .writer = static_cast<uint32_t>(word(3) >> 32),
              .sequence = static_cast<uint32_t>(word(3))};
  auto words = expected_words(stamp);
  for (size_t i = 0; i < kWords; ++i) {
    if (word(i) != words[i]) return std::nullopt;
  }
  return stamp;
}

}  // namespace firn::tests
