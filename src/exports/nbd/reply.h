// Exchange: one request and the reply that grows to it, up to the moment that it has been sent.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "async/iovec.h"
#include "exports/nbd/buffer_pool.h"
#include "exports/nbd/request.h"

namespace firn::nbd {

// Reused by its session for one request after the other, with its memory kept, so that a warm
// session allocates nothing.
class Exchange final {
 public:
  RequestHeader request;
  Buffer data;  // what was received for a WRITE, what is sent for a READ

  // Forgets the last exchange. Its data is given back.
  void begin(const RequestHeader& header);

  // The reply, in the order of calls. `done` marks the last chunk. Chunks are for clients that
  // agreed on structured replies.
  void simple(WireError error);
  void data_chunk(uint32_t data_offset, uint32_t length, bool done);  // of `data`
  void hole_chunk(uint32_t data_offset, uint32_t length, bool done);
  void none_chunk();  // the end, and success
  // One list of descriptors per context; `extents` is not empty.
  void status_chunk(uint32_t context_id, std::span<const Extent> extents, bool done);
  void error_chunk(WireError error, std::string_view message);
  // A simple reply with all of `data` up to the request's length.
  void simple_with_data();

  // Appends the reply's memory, which stays here, to `iov`.
  void append_to(async::IoVec& iov) const;
  size_t piece_count() const { return pieces_.size(); }
  uint64_t reply_bytes() const { return reply_bytes_; }

  // For the session: a list of exchanges, and the memory that counts against its limit.
  Exchange* next = nullptr;
  uint64_t held_bytes = 0;

 private:
  // A run of heads_ or of data.
  struct Piece {
    bool from_data;
    uint32_t offset;
    uint32_t length;
  };
  template <typename Layout>
  void head(const Layout& layout);
  void add(Piece piece);

  std::vector<std::byte> heads_;
  std::vector<Piece> pieces_;
  uint64_t reply_bytes_ = 0;
};

}  // namespace firn::nbd
