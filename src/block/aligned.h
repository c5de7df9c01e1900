// Requests at a node whose driver asks for alignment (a file with O_DIRECT): whole blocks go
// through, the rest is read or read-modified-written in whole blocks. Everything that reaches a
// driver from a Root or an Edge passes here.
//
// Home loop of the node. The range may be any; its memory stays the caller's until the end.
#pragma once

#include <cstdint>

#include "block/node.h"

namespace firn::block {

// Where the driver asks for no alignment these three are the driver's own calls, with no frame
// between.
Task<Result<>> read_node(Node& node, uint64_t offset, const IoVec& iov, Flags flags);
// A read-modify-write waits for writes in flight on its blocks, and holds back those that come
// after it.
Task<Result<>> write_node(Node& node, uint64_t offset, const IoVec& iov, Flags flags);
// Whole blocks are zeroed by the driver; the rest is written. With flag::kNoFallback an unaligned
// range gives kUnsupported.
Task<Result<>> zero_node(Node& node, uint64_t offset, uint64_t length, Flags flags);
// Only whole blocks within the range are discarded.
Task<Result<>> discard_node(Node& node, uint64_t offset, uint64_t length, Flags flags);

}  // namespace firn::block
