// What is right and wrong about a request, before anything is done about it.
#pragma once

#include <cstdint>
#include <string_view>

#include "exports/nbd/nbd_format.h"

namespace firn::nbd {

// The largest payload of a READ, WRITE or CACHE.
inline constexpr uint32_t kMaxPayloadBytes = 32u << 20;

// What client and server agreed on; it stays the same until the client leaves.
struct Agreement {
  uint64_t size_bytes = 0;  // of the export when the client came
  bool writable = false;
  bool structured_replies = false;
  bool base_allocation = false;  // the contexts that BLOCK_STATUS answers for
  bool allocation_depth = false;
  // What the client was told to align to; 1 if it never asked.
  uint32_t minimum_block_bytes = 1;

  bool any_context() const { return base_allocation || allocation_depth; }
};

// Why a request is refused; kNone: it is not.
struct Verdict {
  WireError error = WireError::kNone;
  std::string_view reason;  // for people, a literal

  explicit operator bool() const { return error == WireError::kNone; }
};

// Checks command, flags, length, range, alignment and permission. Source: doc/proto.md, "Request
// types" and "Error values". Not for kDisconnect, which has no reply.
Verdict check_request(const RequestHeader& request, const Agreement& agreement);

// Bytes of data that follow the request's header.
inline uint64_t payload_bytes(const RequestHeader& request) {
  return request.command == Command::kWrite ? request.length : 0;
}

}  // namespace firn::nbd
