#include "block/aligned.h"

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "base/bytes.h"

namespace firn::block {
namespace {

using base::is_aligned;
using base::round_down;
using base::round_up;

// Whole blocks of memory, aligned as the blocks are.
class BlockBuffer {
 public:
  BlockBuffer(uint64_t size, uint32_t alignment)
      : bytes_(static_cast<std::byte*>(
            std::aligned_alloc(std::max<size_t>(alignment, alignof(std::max_align_t)), size))),
        size_(size) {
    CHECK(bytes_ != nullptr);
  }
  base::ByteSpan bytes() const { return {bytes_.get(), size_}; }
  IoVec iov() const { return IoVec(bytes_.get(), size_); }

 private:
  struct Free {
    void operator()(std::byte* bytes) const { std::free(bytes); }
  };
  std::unique_ptr<std::byte, Free> bytes_;
  uint64_t size_;
};

Task<Result<>> read_unaligned(Node& node, uint64_t offset, const IoVec& iov, Flags flags) {
  const uint32_t block = node.request_alignment();
  const uint64_t begin = round_down(offset, block);
  const uint64_t end = round_up(offset + iov.size_bytes(), block);
  // The middle goes to the caller's memory; only the blocks at both ends are read aside.
  const uint64_t head_end = is_aligned(offset, block) ? begin : begin + block;
  const uint64_t tail_begin = std::max(head_end, round_down(offset + iov.size_bytes(), block));
  BlockBuffer side(block, block);
  if (head_end > begin) {
    const IoVec blocks = side.iov();
    CO_TRY(co_await node.driver().read(begin, blocks, flags));
    const uint64_t skip = offset - begin;
    iov.copy_from(0, side.bytes().subspan(skip, std::min(block - skip, iov.size_bytes())));
  }
  if (tail_begin > head_end) {
    const IoVec middle = iov.slice(head_end - offset, tail_begin - head_end);
    CO_TRY(co_await node.driver().read(head_end, middle, flags));
  }
  if (end > tail_begin) {
    const IoVec blocks = side.iov();
    CO_TRY(co_await node.driver().read(tail_begin, blocks, flags));
    const uint64_t length = offset + iov.size_bytes() - tail_begin;
    iov.copy_from(tail_begin - offset, side.bytes().first(length));
  }
  co_return Result<>();
}

Task<Result<>> write_in_turn(Node& node, uint64_t offset, const IoVec& iov, Flags flags) {
  SerialRange range(node, offset, offset + iov.size_bytes(), false);
  co_await range.wait_for_turn();
  co_return co_await node.driver().write(offset, iov, flags);
}

Task<Result<>> write_unaligned(Node& node, uint64_t offset, const IoVec& iov, Flags flags) {
  const uint32_t block = node.request_alignment();
  const uint64_t begin = round_down(offset, block);
  const uint64_t end = round_up(offset + iov.size_bytes(), block);
  SerialRange range(node, begin, end, true);
  co_await range.wait_for_turn();

  BlockBuffer head(block, block);
  BlockBuffer tail(block, block);
  IoVec whole;
  const uint64_t last = end - block;
  const uint64_t payload_end = offset + iov.size_bytes();
  const bool one_block = last == begin;
  if (offset != begin || (one_block && payload_end != end)) {
    const IoVec blocks = head.iov();
    CO_TRY(co_await node.driver().read(begin, blocks, flag::kNone));
    whole.append(head.bytes().data(), offset - begin);
  }
  whole.append(iov, 0, iov.size_bytes());
  if (payload_end != end) {
    const std::byte* rest = head.bytes().data();
    if (!one_block) {
      const IoVec blocks = tail.iov();
      CO_TRY(co_await node.driver().read(last, blocks, flag::kNone));
      rest = tail.bytes().data();
    }
    const uint64_t skip = payload_end - last;
    whole.append(const_cast<std::byte*>(rest) + skip, block - skip);
  }
  co_return co_await node.driver().write(begin, whole, flags);
}

Task<Result<>> zero_in_turn(Node& node, uint64_t offset, uint64_t length, Flags flags) {
  SerialRange range(node, offset, offset + length, false);
  co_await range.wait_for_turn();
  co_return co_await node.driver().write_zeroes(offset, length, flags);
}

Task<Result<>> write_zero_bytes(Node& node, uint64_t offset, uint64_t length, Flags flags) {
  BlockBuffer zeroes(round_up(length, node.request_alignment()), node.request_alignment());
  std::fill(zeroes.bytes().begin(), zeroes.bytes().end(), std::byte{0});
  const IoVec iov(zeroes.bytes().data(), length);
  co_return co_await write_unaligned(node, offset, iov, flags & flag::kFua);
}

Task<Result<>> zero_unaligned(Node& node, uint64_t offset, uint64_t length, Flags flags) {
  if ((flags & flag::kNoFallback) != 0) {
    co_return base::fail(base::ErrorKind::kUnsupported,
                         "zeroing less than a block of '" + node.name() + "' writes data");
  }
  const uint32_t block = node.request_alignment();
  const uint64_t end = offset + length;
  const uint64_t head_end = std::min(end, round_up(offset, block));
  const uint64_t tail_begin = std::max(head_end, round_down(end, block));
  if (head_end > offset) {
    CO_TRY(co_await write_zero_bytes(node, offset, head_end - offset, flags));
  }
  if (tail_begin > head_end) {
    CO_TRY(co_await zero_in_turn(node, head_end, tail_begin - head_end, flags));
  }
  if (end > tail_begin) {
    CO_TRY(co_await write_zero_bytes(node, tail_begin, end - tail_begin, flags));
  }
  co_return Result<>();
}

Task<Result<>> discard_in_turn(Node& node, uint64_t begin, uint64_t end, Flags flags) {
  if (begin >= end) co_return Result<>();
  SerialRange range(node, begin, end, false);
  co_await range.wait_for_turn();
  co_return co_await node.driver().discard(begin, end - begin, flags);
}

bool fits(const Node& node, uint64_t offset, uint64_t length) {
  return is_aligned(offset | length, node.request_alignment());
}

}  // namespace

Task<Result<>> read_node(Node& node, uint64_t offset, const IoVec& iov, Flags flags) {
  node.count_read(iov.size_bytes());
  if (fits(node, offset, iov.size_bytes())) return node.driver().read(offset, iov, flags);
  return read_unaligned(node, offset, iov, flags);
}

Task<Result<>> write_node(Node& node, uint64_t offset, const IoVec& iov, Flags flags) {
  node.count_write(offset, iov.size_bytes());
  if (node.request_alignment() == 1) return node.driver().write(offset, iov, flags);
  if (fits(node, offset, iov.size_bytes())) return write_in_turn(node, offset, iov, flags);
  return write_unaligned(node, offset, iov, flags);
}

Task<Result<>> zero_node(Node& node, uint64_t offset, uint64_t length, Flags flags) {
  node.count_write(offset, length);
  if (node.request_alignment() == 1) return node.driver().write_zeroes(offset, length, flags);
  if (fits(node, offset, length)) return zero_in_turn(node, offset, length, flags);
  return zero_unaligned(node, offset, length, flags);
}

Task<Result<>> discard_node(Node& node, uint64_t offset, uint64_t length, Flags flags) {
  node.count_discard(offset, length);
  if (node.request_alignment() == 1) return node.driver().discard(offset, length, flags);
  const uint32_t block = node.request_alignment();
  return discard_in_turn(node, round_up(offset, block), round_down(offset + length, block), flags);
}

}  // namespace firn::block
