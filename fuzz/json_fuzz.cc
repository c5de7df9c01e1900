// The JSON parser, as a QMP client drives it: bytes in pieces, any bytes. However the input is cut,
// the values are the same, and what is printed parses again.
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
using firn::base::parse_json;
using firn::base::print_json;

// Small, so that the fuzzer reaches the limits.
constexpr JsonParser::Limits kLimits{.token_bytes = 4096, .tokens = 512, .depth = 32};

std::vector<std::string> read_all(std::string_view stream, size_t piece_bytes) {
  JsonParser parser(kLimits);
  std::vector<std::string> out;
  auto keep = [&](const auto& value) {
    out.push_back(value ? print_json(*value) : value.error().text());
    if (!value) return;
    // A double without a fraction prints as an integer (-0.0 as -0, which reads as 0), so that
    // what is printed may change once, but not again.
    auto once = parse_json(out.back());
    CHECK(once.has_value());
    auto twice = parse_json(print_json(*once));
    CHECK(twice.has_value());
    CHECK(print_json(*twice) == print_json(*once));
  };
  while (!stream.empty()) {
    std::string_view piece = stream.substr(0, piece_bytes);
    stream.remove_prefix(piece.size());
    while (auto value = parser.next(piece)) keep(*value);
  }
  while (auto value = parser.finish()) keep(*value);
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::string_view stream(reinterpret_cast<const char*>(data), size);
  size_t piece_bytes = 1 + data[0] % 13;
  CHECK(read_all(stream, size) == read_all(stream, piece_bytes));
  return 0;
}
