// The JSON parser, as a QMP client drives it: bytes in pieces, any bytes. However the input is cut,
// the values and errors are the same, and what is printed is ASCII and parses again.
#include <boost/json/value.hpp>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "base/json.h"

namespace {

using firn::base::JsonParser;
using firn::base::JsonStyle;
using firn::base::parse_json;
using firn::base::print_json;

// Small, so that the fuzzer reaches the limits.
constexpr JsonParser::Limits kLimits{.token_bytes = 4096, .tokens = 512, .depth = 32};

// Where the input is cut: pieces of pseudo-random size, the same for the same seed.
class Cutter {
 public:
  explicit Cutter(uint32_t seed) : state_(seed | 1) {}
  size_t piece_bytes() {
    state_ = state_ * 1664525 + 1013904223;
    // Mostly small, so that cuts fall into tokens, escapes and UTF-8.
    return 1 + (state_ >> 24) % (state_ >> 31 ? 4 : 64);
  }

 private:
  uint32_t state_;
};

void check_printed(const std::string& printed, const firn::base::JsonValue& value) {
  for (const char c : printed) CHECK(c >= ' ' && c <= '~');
  // A double without a fraction prints as an integer (-0.0 as -0, which reads as 0), so that what
  // is printed may change once, but not again.
  auto once = parse_json(printed);
  CHECK(once.has_value());
  auto twice = parse_json(print_json(*once));
  CHECK(twice.has_value());
  CHECK(print_json(*twice) == print_json(*once));
  auto pretty = parse_json(print_json(value, JsonStyle::kPretty));
  CHECK(pretty.has_value());
  CHECK(print_json(*pretty) == print_json(*once));
}

std::vector<std::string> read_all(std::string_view stream, Cutter* cutter) {
  JsonParser parser(kLimits);
  std::vector<std::string> out;
  auto keep = [&](const auto& value) {
    out.push_back(value ? print_json(*value) : value.error().text());
    CHECK(!out.back().empty());
    if (value) check_printed(out.back(), *value);
  };
  while (!stream.empty()) {
    std::string_view piece = stream.substr(0, cutter ? cutter->piece_bytes() : stream.size());
    stream.remove_prefix(piece.size());
    while (auto value = parser.next(piece)) keep(*value);
    CHECK(piece.empty());
  }
  while (auto value = parser.finish()) keep(*value);
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::string_view stream(reinterpret_cast<const char*>(data), size);
  const std::vector<std::string> whole = read_all(stream, nullptr);
  for (uint32_t seed = data[0]; seed < data[0] + 3u; ++seed) {
    Cutter cutter(seed * 2654435761u);
    CHECK(read_all(stream, &cutter) == whole);
  }
  return 0;
}
