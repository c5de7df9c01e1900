// Bytes and their order. Disk and wire layouts are read and written with these alone.
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace firn::base {

using ByteSpan = std::span<std::byte>;
using ConstByteSpan = std::span<const std::byte>;

// Unaligned loads and stores, big-endian (be) and little-endian (le). `at` needs sizeof(T) bytes.
template <std::unsigned_integral T>
inline T load_be(const void* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return std::endian::native == std::endian::little ? std::byteswap(value) : value;
}
template <std::unsigned_integral T>
inline T load_le(const void* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return std::endian::native == std::endian::big ? std::byteswap(value) : value;
}
template <std::unsigned_integral T>
inline void store_be(void* at, T value) {
  if constexpr (std::endian::native == std::endian::little) value = std::byteswap(value);
  std::memcpy(at, &value, sizeof value);
}
template <std::unsigned_integral T>
inline void store_le(void* at, T value) {
  if constexpr (std::endian::native == std::endian::big) value = std::byteswap(value);
  std::memcpy(at, &value, sizeof value);
}

// Rounding to a multiple of `unit`, which is a power of two. round_up must not overflow.
constexpr uint64_t round_down(uint64_t value, uint64_t unit) { return value & ~(unit - 1); }
constexpr uint64_t round_up(uint64_t value, uint64_t unit) {
  return (value + unit - 1) & ~(unit - 1);
}
constexpr uint64_t div_ceil(uint64_t value, uint64_t unit) {
  return value / unit + (value % unit != 0);
}
constexpr bool is_aligned(uint64_t value, uint64_t unit) { return (value & (unit - 1)) == 0; }

// True if every byte is zero. Fast on whole pages.
bool is_zero(ConstByteSpan bytes);

}  // namespace firn::base
