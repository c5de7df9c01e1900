// Scatter and gather lists. An IoVec names memory and owns none of it.
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "base/bytes.h"
#include "base/check.h"

namespace firn::async {

// A list of memory pieces, up to four of them inline; most requests have one.
class IoVec {
 public:
  IoVec() = default;
  IoVec(void* data, size_t size) { append(data, size); }
  explicit IoVec(base::ByteSpan bytes) { append(bytes.data(), bytes.size()); }
  // For writing out of memory that is const: the pieces of a write are never stored to.
  explicit IoVec(base::ConstByteSpan bytes) {
    append(const_cast<std::byte*>(bytes.data()), bytes.size());
  }
  IoVec(IoVec&& other) noexcept { *this = static_cast<IoVec&&>(other); }
  IoVec& operator=(IoVec&& other) noexcept;
  IoVec(const IoVec& other) { append(other, 0, other.size_bytes_); }
  IoVec& operator=(const IoVec& other);

  // Adds a piece; empty ones are left out.
  void append(void* data, size_t size);
  // Adds `length` bytes of `other` from `offset` on, which must lie within it.
  void append(const IoVec& other, uint64_t offset, uint64_t length);
  // The part [offset, offset + length) of this list.
  IoVec slice(uint64_t offset, uint64_t length) const {
    IoVec part;
    part.append(*this, offset, length);
    return part;
  }
  void clear() { count_ = 0, size_bytes_ = 0; }

  std::span<const iovec> pieces() const { return {data(), count_}; }
  uint64_t size_bytes() const { return size_bytes_; }
  bool empty() const { return size_bytes_ == 0; }

  // Stores zeroes in [offset, offset + length).
  void fill_zero(uint64_t offset, uint64_t length) const;
  // Copies to and from flat memory; the range must lie within the list.
  void copy_from(uint64_t offset, base::ConstByteSpan source) const;
  void copy_to(uint64_t offset, base::ByteSpan target) const;
  // True if every byte is zero.
  bool is_zero() const;

 private:
  static constexpr size_t kInline = 4;
  const iovec* data() const { return heap_ ? heap_.get() : inline_.data(); }

  size_t count_ = 0;
  size_t capacity_ = kInline;
  uint64_t size_bytes_ = 0;
  std::array<iovec, kInline> inline_;
  std::unique_ptr<iovec[]> heap_;
};

}  // namespace firn::async
