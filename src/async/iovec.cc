#include "async/iovec.h"

#include <algorithm>
#include <cstring>

namespace firn::async {
namespace {

// Calls visit(memory, length) for each run of memory in [offset, offset + length).
template <typename Visit>
void for_range(std::span<const iovec> pieces, uint64_t offset, uint64_t length, Visit visit) {
  for (const iovec& piece : pieces) {
    if (length == 0) return;
    if (offset >= piece.iov_len) {
      offset -= piece.iov_len;
      continue;
    }
    const uint64_t run = std::min<uint64_t>(piece.iov_len - offset, length);
    visit(static_cast<std::byte*>(piece.iov_base) + offset, run);
    offset = 0;
    length -= run;
  }
  CHECK(length == 0);
}

}  // namespace

IoVec& IoVec::operator=(IoVec&& other) noexcept {
  if (this == &other) return *this;
  count_ = other.count_;
  capacity_ = other.capacity_;
  size_bytes_ = other.size_bytes_;
  heap_ = std::move(other.heap_);
  if (!heap_) std::copy_n(other.inline_.begin(), count_, inline_.begin());
  other.count_ = 0;
  other.capacity_ = kInline;
  other.size_bytes_ = 0;
  return *this;
}

IoVec& IoVec::operator=(const IoVec& other) {
  if (this != &other) {
    clear();
    append(other, 0, other.size_bytes_);
  }
  return *this;
}

void IoVec::append(void* memory, size_t size) {
  if (size == 0) return;
  if (count_ == capacity_) {
    auto grown = std::make_unique<iovec[]>(capacity_ * 2);
    std::copy_n(data(), count_, grown.get());
    heap_ = std::move(grown);
    capacity_ *= 2;
  }
  (heap_ ? heap_.get() : inline_.data())[count_++] = {memory, size};
  size_bytes_ += size;
}

void IoVec::append(const IoVec& other, uint64_t offset, uint64_t length) {
  for_range(other.pieces(), offset, length,
            [this](std::byte* memory, uint64_t run) { append(memory, run); });
}

void IoVec::fill_zero(uint64_t offset, uint64_t length) const {
  for_range(pieces(), offset, length,
            [](std::byte* memory, uint64_t run) { std::memset(memory, 0, run); });
}

void IoVec::copy_from(uint64_t offset, base::ConstByteSpan source) const {
  const std::byte* from = source.data();
  for_range(pieces(), offset, source.size(), [&from](std::byte* memory, uint64_t run) {
    std::memcpy(memory, from, run);
    from += run;
  });
}

void IoVec::copy_to(uint64_t offset, base::ByteSpan target) const {
  std::byte* to = target.data();
  for_range(pieces(), offset, target.size(), [&to](const std::byte* memory, uint64_t run) {
    std::memcpy(to, memory, run);
    to += run;
  });
}

bool IoVec::is_zero() const {
  return std::ranges::all_of(pieces(), [](const iovec& piece) {
    return base::is_zero({static_cast<const std::byte*>(piece.iov_base), piece.iov_len});
  });
}

}  // namespace firn::async
