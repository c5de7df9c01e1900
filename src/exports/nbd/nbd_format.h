// What NBD puts on the wire. Everything is big-endian.
//
// Source: the NBD protocol document (NetworkBlockDevice/nbd, doc/proto.md), sections "Fixed
// newstyle negotiation", "Transmission" and "Values". The page docs/formats/nbd.md says which part
// of it Firn speaks.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/bytes.h"

namespace firn::nbd {

// Handshake ---------------------------------------------------------------------------------------

inline constexpr uint64_t kInitMagic = 0x4e42444d41474943;    // "NBDMAGIC"
inline constexpr uint64_t kOptionMagic = 0x49484156454f5054;  // "IHAVEOPT"
inline constexpr uint64_t kOptionReplyMagic = 0x0003e889045565a9;

namespace handshake_flag {
inline constexpr uint16_t kFixedNewstyle = 1u << 0;
inline constexpr uint16_t kNoZeroes = 1u << 1;
}  // namespace handshake_flag

namespace client_flag {
inline constexpr uint32_t kFixedNewstyle = 1u << 0;
inline constexpr uint32_t kNoZeroes = 1u << 1;
inline constexpr uint32_t kKnown = kFixedNewstyle | kNoZeroes;
}  // namespace client_flag

enum class Option : uint32_t {
  kExportName = 1,
  kAbort = 2,
  kList = 3,
  kPeekExport = 4,
  kStartTls = 5,
  kInfo = 6,
  kGo = 7,
  kStructuredReply = 8,
  // As clients have them; an early draft of the document counted these one higher.
  kListMetaContext = 9,
  kSetMetaContext = 10,
  kExtendedHeaders = 11,
};

enum class OptionReply : uint32_t {
  kAck = 1,
  kServer = 2,
  kInfo = 3,
  kMetaContext = 4,
  kErrUnsupported = 0x80000001,
  kErrPolicy = 0x80000002,
  kErrInvalid = 0x80000003,
  kErrPlatform = 0x80000004,
  kErrTlsRequired = 0x80000005,
  kErrUnknown = 0x80000006,
  kErrShutdown = 0x80000007,
  kErrBlockSizeRequired = 0x80000008,
  kErrTooBig = 0x80000009,
};

enum class InfoType : uint16_t {
  kExport = 0,
  kName = 1,
  kDescription = 2,
  kBlockSize = 3,
};

// A string of the protocol is no longer than this.
inline constexpr uint32_t kMaxStringBytes = 4096;
// What follows the size and the flags after EXPORT_NAME, unless NO_ZEROES was agreed.
inline constexpr size_t kExportNameZeroBytes = 124;

struct ServerGreeting {
  uint16_t flags = 0;

  static constexpr size_t kBytes = 18;
  void store(std::byte* at) const {
    base::store_be(at, kInitMagic);
    base::store_be(at + 8, kOptionMagic);
    base::store_be(at + 16, flags);
  }
};

struct OptionHeader {
  uint64_t magic = kOptionMagic;
  uint32_t option = 0;
  uint32_t length = 0;  // of the data that follows

  static constexpr size_t kBytes = 16;
  static OptionHeader load(const std::byte* at) {
    return {base::load_be<uint64_t>(at), base::load_be<uint32_t>(at + 8),
            base::load_be<uint32_t>(at + 12)};
  }
};

struct OptionReplyHeader {
  uint32_t option = 0;
  OptionReply type = OptionReply::kAck;
  uint32_t length = 0;

  static constexpr size_t kBytes = 20;
  void store(std::byte* at) const {
    base::store_be(at, kOptionReplyMagic);
    base::store_be(at + 8, option);
    base::store_be(at + 12, static_cast<uint32_t>(type));
    base::store_be(at + 16, length);
  }
};

// The answer to EXPORT_NAME, zeroes left out.
struct ExportNameReply {
  uint64_t size_bytes = 0;
  uint16_t transmission_flags = 0;

  static constexpr size_t kBytes = 10;
  void store(std::byte* at) const {
    base::store_be(at, size_bytes);
    base::store_be(at + 8, transmission_flags);
  }
};

// Payloads of OptionReply::kInfo.
struct InfoExport {
  uint64_t size_bytes = 0;
  uint16_t transmission_flags = 0;

  static constexpr size_t kBytes = 12;
  void store(std::byte* at) const {
    base::store_be(at, static_cast<uint16_t>(InfoType::kExport));
    base::store_be(at + 2, size_bytes);
    base::store_be(at + 10, transmission_flags);
  }
};

struct InfoBlockSize {
  uint32_t minimum = 1;
  uint32_t preferred = 4096;
  uint32_t maximum = 32u << 20;

  static constexpr size_t kBytes = 14;
  void store(std::byte* at) const {
    base::store_be(at, static_cast<uint16_t>(InfoType::kBlockSize));
    base::store_be(at + 2, minimum);
    base::store_be(at + 6, preferred);
    base::store_be(at + 10, maximum);
  }
};

// Transmission ------------------------------------------------------------------------------------

inline constexpr uint32_t kRequestMagic = 0x25609513;
inline constexpr uint32_t kSimpleReplyMagic = 0x67446698;
inline constexpr uint32_t kStructuredReplyMagic = 0x668e33ef;

namespace transmission_flag {
inline constexpr uint16_t kHasFlags = 1u << 0;
inline constexpr uint16_t kReadOnly = 1u << 1;
inline constexpr uint16_t kSendFlush = 1u << 2;
inline constexpr uint16_t kSendFua = 1u << 3;
inline constexpr uint16_t kRotational = 1u << 4;
inline constexpr uint16_t kSendTrim = 1u << 5;
inline constexpr uint16_t kSendWriteZeroes = 1u << 6;
inline constexpr uint16_t kSendDf = 1u << 7;
inline constexpr uint16_t kCanMultiConn = 1u << 8;
inline constexpr uint16_t kSendCache = 1u << 10;
inline constexpr uint16_t kSendFastZero = 1u << 11;
}  // namespace transmission_flag

enum class Command : uint16_t {
  kRead = 0,
  kWrite = 1,
  kDisconnect = 2,
  kFlush = 3,
  kTrim = 4,
  kCache = 5,
  kWriteZeroes = 6,
  kBlockStatus = 7,
};

namespace command_flag {
inline constexpr uint16_t kFua = 1u << 0;
inline constexpr uint16_t kNoHole = 1u << 1;
inline constexpr uint16_t kDf = 1u << 2;
inline constexpr uint16_t kReqOne = 1u << 3;
inline constexpr uint16_t kFastZero = 1u << 4;
}  // namespace command_flag

struct RequestHeader {
  uint32_t magic = kRequestMagic;
  uint16_t flags = 0;
  Command command = Command::kRead;
  uint64_t cookie = 0;  // the client's, given back in the reply
  uint64_t offset = 0;
  uint32_t length = 0;

  static constexpr size_t kBytes = 28;
  static RequestHeader load(const std::byte* at) {
    return {base::load_be<uint32_t>(at),
            base::load_be<uint16_t>(at + 4),
            static_cast<Command>(base::load_be<uint16_t>(at + 6)),
            base::load_be<uint64_t>(at + 8),
            base::load_be<uint64_t>(at + 16),
            base::load_be<uint32_t>(at + 24)};
  }
};

// Values of the error field; the names are the document's, the numbers Linux's.
enum class WireError : uint32_t {
  kNone = 0,
  kPerm = 1,
  kIo = 5,
  kNoMem = 12,
  kInval = 22,
  kNoSpc = 28,
  kOverflow = 75,
  kNotSup = 95,
  kShutdown = 108,
};

struct SimpleReply {
  WireError error = WireError::kNone;
  uint64_t cookie = 0;

  static constexpr size_t kBytes = 16;
  void store(std::byte* at) const {
    base::store_be(at, kSimpleReplyMagic);
    base::store_be(at + 4, static_cast<uint32_t>(error));
    base::store_be(at + 8, cookie);
  }
};

enum class ChunkType : uint16_t {
  kNone = 0,
  kOffsetData = 1,
  kOffsetHole = 2,
  kBlockStatus = 5,
  kError = 0x8001,
  kErrorOffset = 0x8002,
};

inline constexpr uint16_t kChunkDone = 1u << 0;

struct ChunkHeader {
  uint16_t flags = 0;
  ChunkType type = ChunkType::kNone;
  uint64_t cookie = 0;
  uint32_t length = 0;

  static constexpr size_t kBytes = 20;
  void store(std::byte* at) const {
    base::store_be(at, kStructuredReplyMagic);
    base::store_be(at + 4, flags);
    base::store_be(at + 6, static_cast<uint16_t>(type));
    base::store_be(at + 8, cookie);
    base::store_be(at + 16, length);
  }
};

// What follows the header of a chunk, its data left out.
struct OffsetData {
  uint64_t offset = 0;

  static constexpr size_t kBytes = 8;
  void store(std::byte* at) const { base::store_be(at, offset); }
};

struct OffsetHole {
  uint64_t offset = 0;
  uint32_t length = 0;

  static constexpr size_t kBytes = 12;
  void store(std::byte* at) const {
    base::store_be(at, offset);
    base::store_be(at + 8, length);
  }
};

struct ErrorPayload {
  WireError error = WireError::kIo;
  uint16_t message_length = 0;

  static constexpr size_t kBytes = 6;
  void store(std::byte* at) const {
    base::store_be(at, static_cast<uint32_t>(error));
    base::store_be(at + 4, message_length);
  }
};

// One descriptor of a BLOCK_STATUS chunk, which begins with the 32-bit id of its context.
struct Extent {
  uint32_t length = 0;
  uint32_t flags = 0;

  static constexpr size_t kBytes = 8;
  void store(std::byte* at) const {
    base::store_be(at, length);
    base::store_be(at + 4, flags);
  }
};

namespace allocation_flag {  // of the context base:allocation
inline constexpr uint32_t kHole = 1u << 0;
inline constexpr uint32_t kZero = 1u << 1;
}  // namespace allocation_flag

inline constexpr uint32_t kBaseAllocationId = 0;
inline constexpr uint32_t kAllocationDepthId = 1;

// Each size is the sum of its fields.
static_assert(ServerGreeting::kBytes == 8 + 8 + 2);
static_assert(OptionHeader::kBytes == 8 + 4 + 4);
static_assert(OptionReplyHeader::kBytes == 8 + 4 + 4 + 4);
static_assert(ExportNameReply::kBytes == 8 + 2);
static_assert(InfoExport::kBytes == 2 + 8 + 2);
static_assert(InfoBlockSize::kBytes == 2 + 4 + 4 + 4);
static_assert(RequestHeader::kBytes == 4 + 2 + 2 + 8 + 8 + 4);
static_assert(SimpleReply::kBytes == 4 + 4 + 8);
static_assert(ChunkHeader::kBytes == 4 + 2 + 2 + 8 + 4);
static_assert(OffsetData::kBytes == 8);
static_assert(OffsetHole::kBytes == 8 + 4);
static_assert(ErrorPayload::kBytes == 4 + 2);
static_assert(Extent::kBytes == 4 + 4);

// `layout.store` as bytes, for whoever builds a message of its own.
template <typename Layout>
std::array<std::byte, Layout::kBytes> bytes_of(const Layout& layout) {
  std::array<std::byte, Layout::kBytes> bytes{};
  layout.store(bytes.data());
  return bytes;
}

}  // namespace firn::nbd
