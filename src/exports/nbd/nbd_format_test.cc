#include "exports/nbd/nbd_format.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace firn::nbd {
namespace {

template <typename Layout>
std::string hex_of(const Layout& layout) {
  std::string text;
  for (std::byte byte : bytes_of(layout)) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    text += kDigits[std::to_integer<unsigned>(byte) >> 4];
    text += kDigits[std::to_integer<unsigned>(byte) & 15];
  }
  return text;
}

std::string from_hex(std::string_view text) {
  std::string bytes;
  for (size_t at = 0; at + 1 < text.size(); at += 2) {
    bytes += static_cast<char>(std::stoi(std::string(text.substr(at, 2)), nullptr, 16));
  }
  return bytes;
}

const std::byte* bytes(const std::string& text) {
  return reinterpret_cast<const std::byte*>(text.data());
}

TEST(NbdFormat, GreetingIsMagicOptionMagicAndFlags) {
  EXPECT_EQ(hex_of(ServerGreeting{handshake_flag::kFixedNewstyle | handshake_flag::kNoZeroes}),
            "4e42444d41474943"
            "49484156454f5054"
            "0003");
}

TEST(NbdFormat, OptionHeaderIsLoaded) {
  const std::string wire = from_hex("49484156454f50540000000700000102");
  const OptionHeader header = OptionHeader::load(bytes(wire));
  EXPECT_EQ(header.magic, kOptionMagic);
  EXPECT_EQ(header.option, static_cast<uint32_t>(Option::kGo));
  EXPECT_EQ(header.length, 0x102u);
}

// The numbers that clients in the field use.
TEST(NbdFormat, OptionNumbers) {
  EXPECT_EQ(static_cast<uint32_t>(Option::kGo), 7u);
  EXPECT_EQ(static_cast<uint32_t>(Option::kStructuredReply), 8u);
  EXPECT_EQ(static_cast<uint32_t>(Option::kListMetaContext), 9u);
  EXPECT_EQ(static_cast<uint32_t>(Option::kSetMetaContext), 10u);
  EXPECT_EQ(static_cast<uint32_t>(Option::kExtendedHeaders), 11u);
}

TEST(NbdFormat, OptionReplies) {
  EXPECT_EQ(hex_of(OptionReplyHeader{6, OptionReply::kErrUnknown, 5}),
            "0003e889045565a9"
            "00000006"
            "80000006"
            "00000005");
  EXPECT_EQ(hex_of(ExportNameReply{0x0102030405060708, 0x0d6d}), "01020304050607080d6d");
  EXPECT_EQ(hex_of(InfoExport{0x0102030405060708, 0x0d6d}), "000001020304050607080d6d");
  EXPECT_EQ(hex_of(InfoBlockSize{512, 65536, 32u << 20}), "0003000002000001000002000000");
}

TEST(NbdFormat, RequestHeaderIsLoaded) {
  const std::string wire = from_hex(
      "25609513"
      "0011"
      "0006"
      "1122334455667788"
      "00000000fffff000"
      "80000001");
  const RequestHeader header = RequestHeader::load(bytes(wire));
  EXPECT_EQ(header.magic, kRequestMagic);
  EXPECT_EQ(header.flags, command_flag::kFua | command_flag::kFastZero);
  EXPECT_EQ(header.command, Command::kWriteZeroes);
  EXPECT_EQ(header.cookie, 0x1122334455667788u);
  EXPECT_EQ(header.offset, 0xfffff000u);
  EXPECT_EQ(header.length, 0x80000001u);
}

TEST(NbdFormat, TransmissionReplies) {
  EXPECT_EQ(hex_of(SimpleReply{WireError::kNoSpc, 0x1122334455667788}),
            "67446698"
            "0000001c"
            "1122334455667788");
  EXPECT_EQ(hex_of(ChunkHeader{kChunkDone, ChunkType::kErrorOffset, 0x1122334455667788, 14}),
            "668e33ef"
            "0001"
            "8002"
            "1122334455667788"
            "0000000e");
  EXPECT_EQ(hex_of(OffsetData{0x1000}), "0000000000001000");
  EXPECT_EQ(hex_of(OffsetHole{0x1000, 0x200}), "000000000000100000000200");
  EXPECT_EQ(hex_of(ErrorPayload{WireError::kShutdown, 3}), "0000006c0003");
  EXPECT_EQ(hex_of(Extent{0x10000, allocation_flag::kHole | allocation_flag::kZero}),
            "0001000000000003");
}

}  // namespace
}  // namespace firn::nbd
