// How a file is read and written: chosen per file system and operation, in this one place.
//
// Measured, 4 KiB at depth 1: on tmpfs io_uring reaches 21,000 reads a second and pread 1,250,000
// (tmpfs has no non-blocking path, so io_uring hands each request to a kernel worker); buffered
// ext4 writes 16,400 by io_uring against 341,000 by pwrite.
#pragma once

#include <cstdint>

#include "async/file.h"

namespace firn::async {

enum class IoRoute : uint8_t {
  kInline,            // a system call on the loop's thread: it never waits for a device
  kCachedThenRing,    // inline as far as the page cache takes it (RWF_NOWAIT), the rest as kRing
  kCachedThenWorker,  // the same with a worker; many file systems refuse such writes
  kRing,              // io_uring; a worker where the loop has none
  kWorker,            // a worker thread
};

struct IoPolicy {
  IoRoute read = IoRoute::kWorker;
  IoRoute write = IoRoute::kWorker;
  IoRoute sync = IoRoute::kWorker;
  IoRoute change = IoRoute::kWorker;  // zero, discard, allocate, truncate
  IoRoute query = IoRoute::kWorker;   // stat, extents

  // The route of one operation. Inline ones are bounded: a large copy would hold up the turn.
  IoRoute route(const FileOp& op) const;
};

// `file_system_magic` is f_type of statfs(2).
IoPolicy choose_io_policy(FileKind kind, uint64_t file_system_magic, bool direct);

}  // namespace firn::async
