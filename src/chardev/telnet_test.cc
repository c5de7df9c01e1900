#include "chardev/telnet.h"

#include <gtest/gtest.h>

namespace firn::chardev {
namespace {

using namespace std::string_literals;

TEST(TelnetFilter, TakesCommandsOut) {
  const std::string input =
      "a\xff\xfb\x01"s                      // IAC WILL ECHO
      "b\xff\xf3"s                          // IAC BREAK
      "c\xff\xff"s                          // a byte 255
      "\xff\xfa\x18x\xff\xff\x01\xff\xf0"s  // a subnegotiation, with a byte 255 in it
      "d\xff\xfd\x00"s                      // IAC DO BINARY
      "e"s;
  const std::string data =
      "abc\xff"
      "de";
  EXPECT_EQ(TelnetFilter().take(input), data);
  // However it is split.
  for (size_t step = 1; step != 5; ++step) {
    TelnetFilter filter;
    std::string out;
    for (size_t at = 0; at < input.size(); at += step) {
      out += filter.take(std::string_view(input).substr(at, step));
    }
    EXPECT_EQ(out, data) << step;
  }
}

}  // namespace
}  // namespace firn::chardev
