#include "chardev/ring_buffer.h"

#include <gtest/gtest.h>

namespace firn::chardev {
namespace {

TEST(RingBuffer, KeepsTheLatestBytes) {
  RingBuffer ring(8);
  ring.write("hello");
  EXPECT_EQ(ring.read(3), "hel");
  ring.write("worldly");
  EXPECT_EQ(ring.filled_bytes(), 8u);
  EXPECT_EQ(ring.read(100), "oworldly");
  EXPECT_EQ(ring.read(1), "");
  ring.write("0123456789");
  EXPECT_EQ(ring.read(2), "23");
}

TEST(RingBuffer, IsTheSameAsAString) {
  RingBuffer ring(64);
  std::string model;
  for (unsigned i = 0; i != 5000; ++i) {
    const std::string piece(i * 7 % 90, static_cast<char>('a' + i % 26));
    ring.write(piece);
    model += piece;
    if (model.size() > 64) model.erase(0, model.size() - 64);
    if (i % 3 == 0) {
      const size_t most = i * 13 % 70;
      EXPECT_EQ(ring.read(most), model.substr(0, most));
      model.erase(0, most);
    }
    ASSERT_EQ(ring.filled_bytes(), model.size());
  }
}

TEST(RingBuffer, ItsSizeIsAPowerOfTwo) {
  for (const uint64_t size : {uint64_t{0}, uint64_t{3}, ~uint64_t{0}}) {
    const auto opened = open_ring({.size_bytes = size});
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().text(), "size of ringbuf chardev must be power of two");
  }
  EXPECT_EQ((*open_ring({.size_bytes = 1}))->filename(), "ringbuf");
  EXPECT_EQ((*open_ring({.size_bytes = 8, .is_memory = true}))->filename(), "memory");
}

// What GLib's g_base64_decode gives.
TEST(Base64, ReadsWhatGlibReads) {
  EXPECT_EQ(*decode_base64("eA=="), "x");
  EXPECT_EQ(*decode_base64("eHk="), "xy");
  EXPECT_EQ(*decode_base64("eHl6"), "xyz");
  EXPECT_EQ(*decode_base64("eH\nl6\n"), "xyz");
  EXPECT_EQ(*decode_base64("eA==eA=="), "xx");
  EXPECT_EQ(*decode_base64("eA"), "");
  EXPECT_EQ(*decode_base64(""), "");
  for (const char* text : {"!!", " eA==", "eA==\r\n"}) {
    ASSERT_FALSE(decode_base64(text)) << text;
    EXPECT_EQ(decode_base64(text).error().text(), "Base64 data contains invalid characters");
  }
}

TEST(Base64, WritesWhatItReads) {
  std::string bytes;
  for (int i = 0; i != 300; ++i) {
    EXPECT_EQ(*decode_base64(encode_base64(bytes)), bytes);
    bytes += static_cast<char>(i * 37);
  }
  EXPECT_EQ(encode_base64("\xc3\xbc"), "w7w=");
}

}  // namespace
}  // namespace firn::chardev
