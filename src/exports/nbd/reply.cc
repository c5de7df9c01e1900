#include "exports/nbd/reply.h"

#include <algorithm>

namespace firn::nbd {

void Exchange::begin(const RequestHeader& header) {
  request = header;
  data.release();
  heads_.clear();
  pieces_.clear();
  reply_bytes_ = 0;
  next = nullptr;
  held_bytes = 0;
}

void Exchange::add(Piece piece) {
  reply_bytes_ += piece.length;
  if (!pieces_.empty() && pieces_.back().from_data == piece.from_data &&
      pieces_.back().offset + pieces_.back().length == piece.offset) {
    pieces_.back().length += piece.length;
    return;
  }
  pieces_.push_back(piece);
}

template <typename Layout>
void Exchange::head(const Layout& layout) {
  const auto at = static_cast<uint32_t>(heads_.size());
  heads_.resize(at + Layout::kBytes);
  layout.store(heads_.data() + at);
  add({.from_data = false, .offset = at, .length = Layout::kBytes});
}

void Exchange::simple(WireError error) { head(SimpleReply{error, request.cookie}); }

void Exchange::simple_with_data() {
  simple(WireError::kNone);
  if (request.length != 0) add({.from_data = true, .offset = 0, .length = request.length});
}

void Exchange::data_chunk(uint32_t data_offset, uint32_t length, bool done) {
  head(ChunkHeader{done ? kChunkDone : uint16_t{0}, ChunkType::kOffsetData, request.cookie,
                   static_cast<uint32_t>(OffsetData::kBytes) + length});
  head(OffsetData{request.offset + data_offset});
  add({.from_data = true, .offset = data_offset, .length = length});
}

void Exchange::hole_chunk(uint32_t data_offset, uint32_t length, bool done) {
  head(ChunkHeader{done ? kChunkDone : uint16_t{0}, ChunkType::kOffsetHole, request.cookie,
                   OffsetHole::kBytes});
  head(OffsetHole{request.offset + data_offset, length});
}

void Exchange::none_chunk() { head(ChunkHeader{kChunkDone, ChunkType::kNone, request.cookie, 0}); }

void Exchange::status_chunk(uint32_t context_id, std::span<const Extent> extents, bool done) {
  const auto length = static_cast<uint32_t>(sizeof context_id + extents.size() * Extent::kBytes);
  head(ChunkHeader{done ? kChunkDone : uint16_t{0}, ChunkType::kBlockStatus, request.cookie,
                   length});
  const auto at = static_cast<uint32_t>(heads_.size());
  heads_.resize(at + length);
  base::store_be(heads_.data() + at, context_id);
  std::byte* to = heads_.data() + at + sizeof context_id;
  for (const Extent& extent : extents) {
    extent.store(to);
    to += Extent::kBytes;
  }
  add({.from_data = false, .offset = at, .length = length});
}

void Exchange::error_chunk(WireError error, std::string_view message) {
  message = message.substr(0, kMaxStringBytes);
  head(ChunkHeader{kChunkDone, ChunkType::kError, request.cookie,
                   static_cast<uint32_t>(ErrorPayload::kBytes + message.size())});
  head(ErrorPayload{error, static_cast<uint16_t>(message.size())});
  const auto at = static_cast<uint32_t>(heads_.size());
  const auto* bytes = reinterpret_cast<const std::byte*>(message.data());
  heads_.insert(heads_.end(), bytes, bytes + message.size());
  add({.from_data = false, .offset = at, .length = static_cast<uint32_t>(message.size())});
}

void Exchange::append_to(async::IoVec& iov) const {
  for (const Piece& piece : pieces_) {
    const std::byte* from = piece.from_data ? data.data() : heads_.data();
    iov.append(const_cast<std::byte*>(from) + piece.offset, piece.length);
  }
}

}  // namespace firn::nbd
