// Randomness of a simulation: one generator, seeded once, asked in one order. Two runs by one seed
// draw the same numbers.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "async/loop.h"

namespace firn::async {

// How long something takes: most often between `least` and `usual`, drawn evenly; with
// `slow_probability` anything up to `slow`.
struct SimDelay {
  Duration least{0};
  Duration usual{0};
  Duration slow{0};
  double slow_probability = 0;
};

// One step of splitmix64: a good 64-bit mixing function.
constexpr uint64_t sim_mix(uint64_t value) {
  value += 0x9e3779b97f4a7c15;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
  value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
  return value ^ (value >> 31);
}

// xoshiro256** by Blackman and Vigna, seeded through splitmix64.
class SimRandom {
 public:
  explicit SimRandom(uint64_t seed) {
    for (uint64_t& word : state_) {
      word = sim_mix(seed);
      seed += 0x9e3779b97f4a7c15;
    }
  }

  uint64_t next() {
    const uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
    const uint64_t shifted = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= shifted;
    state_[3] = std::rotl(state_[3], 45);
    return result;
  }

  // [0, bound); bound is not 0. The bias is below 2^-32 for every bound in use here.
  uint64_t below(uint64_t bound) {
    return static_cast<uint64_t>((static_cast<unsigned __int128>(next()) * bound) >> 64);
  }
  // [least, most].
  uint64_t between(uint64_t least, uint64_t most) { return least + below(most - least + 1); }

  bool chance(double probability) {
    return static_cast<double>(next() >> 11) * 0x1p-53 < probability;
  }

  Duration duration(const SimDelay& delay) {
    const Duration most =
        delay.slow_probability > 0 && chance(delay.slow_probability) ? delay.slow : delay.usual;
    if (most <= delay.least) return delay.least;
    return Duration(static_cast<int64_t>(
        between(static_cast<uint64_t>(delay.least.count()), static_cast<uint64_t>(most.count()))));
  }

  template <typename Container>
  void shuffle(Container& items) {
    for (size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[below(i)]);
  }

 private:
  std::array<uint64_t, 4> state_;
};

}  // namespace firn::async
