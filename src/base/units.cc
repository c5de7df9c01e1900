#include "base/units.h"

#include <array>
#include <charconv>
#include <cmath>

#include <fmt/format.h>

namespace firn::base {
namespace {

int suffix_shift(char letter) {
  switch (letter) {
    case 'b':
    case 'B':
      return 0;
    case 'k':
    case 'K':
      return 10;
    case 'm':
    case 'M':
      return 20;
    case 'g':
    case 'G':
      return 30;
    case 't':
    case 'T':
      return 40;
    case 'p':
    case 'P':
      return 50;
    case 'e':
    case 'E':
      return 60;
    default:
      return -1;
  }
}

std::unexpected<Error> not_a_size(std::string_view text) {
  return fail(Error(ErrorKind::kInvalidArgument, fmt::format("'{}' is not a size", text))
                  .with_hint("Give a number of bytes, or one with a suffix k, M, G, T, P or E, "
                             "for instance 64k or 1.5G."));
}

}  // namespace

Result<uint64_t> parse_size(std::string_view text) {
  const char* const end = text.data() + text.size();
  uint64_t whole = 0;
  auto [rest, error] = std::from_chars(text.data(), end, whole);
  if (error == std::errc::result_out_of_range) {
    return fail(ErrorKind::kOutOfRange, fmt::format("'{}' is too large for a size", text));
  }
  if (error != std::errc()) return not_a_size(text);
  double fraction = 0;
  if (rest != end && *rest == '.') {
    const char* digits = rest + 1;
    double scale = 0.1;
    while (digits != end && *digits >= '0' && *digits <= '9') {
      fraction += scale * (*digits - '0');
      scale /= 10;
      ++digits;
    }
    if (digits == rest + 1) return not_a_size(text);
    rest = digits;
  }
  int shift = 0;
  if (rest != end) {
    shift = suffix_shift(*rest);
    if (shift < 0 || rest + 1 != end) return not_a_size(text);
  }
  if (fraction != 0 && shift == 0) return not_a_size(text);
  if (shift != 0 && (whole >> (64 - shift)) != 0) {
    return fail(ErrorKind::kOutOfRange, fmt::format("'{}' is too large for a size", text));
  }
  const auto added = static_cast<uint64_t>(std::llround(std::ldexp(fraction, shift)));
  const uint64_t base = whole << shift;
  if (base + added < base) {
    return fail(ErrorKind::kOutOfRange, fmt::format("'{}' is too large for a size", text));
  }
  return base + added;
}

std::string format_size(uint64_t bytes) {
  constexpr std::array kNames = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  size_t unit = 0;
  auto value = static_cast<double>(bytes);
  while (value >= 1024 && unit + 1 < kNames.size()) {
    value /= 1024;
    ++unit;
  }
  if (unit == 0) return fmt::format("{} B", bytes);
  std::string number = fmt::format("{:.1f}", value);
  if (number.ends_with(".0")) number.resize(number.size() - 2);
  return fmt::format("{} {}", number, kNames[unit]);
}

}  // namespace firn::base
