#include "async/io_policy.h"

#include <linux/magic.h>

namespace firn::async {
namespace {

// What the loop's thread copies itself: about 100 us at the speed of memory that is not cached.
constexpr uint64_t kInlineCopyBytes = 512 << 10;
// Pages that an inline hole may free or an allocation may clear.
constexpr uint64_t kInlineChangeBytes = 1 << 20;

bool lives_in_memory(uint64_t magic) { return magic == TMPFS_MAGIC || magic == RAMFS_MAGIC; }

}  // namespace

IoRoute IoPolicy::route(const FileOp& op) const {
  switch (op.kind) {
    case FileOp::Kind::kRead:
      return read == IoRoute::kInline && op.iov->size_bytes() > kInlineCopyBytes ? IoRoute::kWorker
                                                                                 : read;
    case FileOp::Kind::kWrite:
      return write == IoRoute::kInline && op.iov->size_bytes() > kInlineCopyBytes ? IoRoute::kWorker
                                                                                  : write;
    case FileOp::Kind::kSync:
    case FileOp::Kind::kDataSync:
      return sync;
    case FileOp::Kind::kZero:
    case FileOp::Kind::kZeroAndUnmap:
    case FileOp::Kind::kDiscard:
    case FileOp::Kind::kAllocate:
      return op.length > kInlineChangeBytes ? IoRoute::kWorker : change;
    case FileOp::Kind::kTruncate:
      return IoRoute::kWorker;  // may free any number of pages
  }
  return IoRoute::kWorker;
}

IoPolicy choose_io_policy(FileKind kind, uint64_t file_system_magic, bool direct) {
  if (kind == FileKind::kRegular && lives_in_memory(file_system_magic)) {
    return {.read = IoRoute::kInline,
            .write = IoRoute::kInline,
            .sync = IoRoute::kInline,
            .change = IoRoute::kInline,
            .query = IoRoute::kInline};
  }
  if (kind != FileKind::kRegular && kind != FileKind::kBlockDevice) return {};
  if (direct) {
    return {.read = IoRoute::kRing, .write = IoRoute::kRing, .sync = IoRoute::kRing};
  }
  return {.read = IoRoute::kCachedThenRing,
          .write = IoRoute::kCachedThenWorker,
          .sync = IoRoute::kRing};
}

}  // namespace firn::async
