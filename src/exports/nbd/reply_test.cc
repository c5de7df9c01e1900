#include "exports/nbd/reply.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <string>

namespace firn::nbd {
namespace {

std::string hex_of_reply(const Exchange& exchange) {
  async::IoVec iov;
  exchange.append_to(iov);
  std::string text;
  for (const iovec& piece : iov.pieces()) {
    for (size_t at = 0; at < piece.iov_len; ++at) {
      constexpr std::string_view kDigits = "0123456789abcdef";
      const auto byte = static_cast<const uint8_t*>(piece.iov_base)[at];
      text += kDigits[byte >> 4];
      text += kDigits[byte & 15];
    }
  }
  EXPECT_EQ(exchange.reply_bytes() * 2, text.size());
  return text;
}

RequestHeader a_read(uint32_t length) {
  return {
      .command = Command::kRead, .cookie = 0x1122334455667788, .offset = 0x1000, .length = length};
}

TEST(Exchange, SimpleReplies) {
  Exchange exchange;
  exchange.begin(a_read(4));
  exchange.simple(WireError::kInval);
  EXPECT_EQ(hex_of_reply(exchange), "67446698000000161122334455667788");

  BufferPool pool;
  exchange.begin(a_read(4));
  exchange.data = pool.take(4);
  std::memcpy(exchange.data.data(), "\x01\x02\x03\x04", 4);
  exchange.simple_with_data();
  EXPECT_EQ(hex_of_reply(exchange), "6744669800000000112233445566778801020304");
  exchange.begin(a_read(4));
  EXPECT_EQ(pool.out_count(), 0u);
}

TEST(Exchange, DataAndHoleChunks) {
  BufferPool pool;
  Exchange exchange;
  exchange.begin(a_read(6));
  exchange.data = pool.take(6);
  std::memcpy(exchange.data.data(), "\x01\x02\x03\x04\x05\x06", 6);
  exchange.data_chunk(0, 2, false);
  exchange.hole_chunk(2, 3, false);
  exchange.data_chunk(5, 1, true);
  EXPECT_EQ(hex_of_reply(exchange),
            "668e33ef"
            "0000"
            "0001"
            "1122334455667788"
            "0000000a"
            "0000000000001000"
            "0102"
            "668e33ef"
            "0000"
            "0002"
            "1122334455667788"
            "0000000c"
            "0000000000001002"
            "00000003"
            "668e33ef"
            "0001"
            "0001"
            "1122334455667788"
            "00000009"
            "0000000000001005"
            "06");
  exchange.data.release();
}

TEST(Exchange, StatusAndErrorChunks) {
  Exchange exchange;
  exchange.begin(a_read(0));
  const std::array<Extent, 2> extents{Extent{0x10000, 0}, Extent{0x8000, 3}};
  exchange.status_chunk(kAllocationDepthId, extents, true);
  EXPECT_EQ(hex_of_reply(exchange),
            "668e33ef"
            "0001"
            "0005"
            "1122334455667788"
            "00000014"
            "00000001"
            "0001000000000000"
            "0000800000000003");
  EXPECT_EQ(exchange.piece_count(), 1u);

  exchange.begin(a_read(0));
  exchange.error_chunk(WireError::kIo, "no");
  EXPECT_EQ(hex_of_reply(exchange),
            "668e33ef"
            "0001"
            "8001"
            "1122334455667788"
            "00000008"
            "00000005"
            "0002"
            "6e6f");
}

TEST(Exchange, LongMessagesAreCut) {
  Exchange exchange;
  exchange.begin(a_read(0));
  exchange.error_chunk(WireError::kIo, std::string(10000, 'x'));
  EXPECT_EQ(exchange.reply_bytes(), ChunkHeader::kBytes + ErrorPayload::kBytes + kMaxStringBytes);
}

}  // namespace
}  // namespace firn::nbd
