// Memory for payloads, kept between requests.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "base/bytes.h"

namespace firn::nbd {

class BufferPool;

// Memory that goes back to its pool when it ends. The pool outlives it.
class Buffer {
 public:
  Buffer() = default;
  Buffer(Buffer&& other) noexcept { *this = std::move(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    release();
    pool_ = std::exchange(other.pool_, nullptr);
    data_ = std::exchange(other.data_, nullptr);
    size_class_ = other.size_class_;
    return *this;
  }
  ~Buffer() { release(); }

  explicit operator bool() const { return data_ != nullptr; }
  std::byte* data() const { return data_; }
  size_t capacity() const;
  void release();

 private:
  friend class BufferPool;
  BufferPool* pool_ = nullptr;
  std::byte* data_ = nullptr;
  unsigned size_class_ = 0;
};

// Buffers by power of two, each aligned to a page so that O_DIRECT takes it as it is. Belongs to
// one loop.
class BufferPool {
 public:
  static constexpr size_t kAlignment = 4096;
  static constexpr size_t kMaxBytes = size_t{32} << 20;

  // At most `keep_bytes` of free memory stays here; the rest goes back to the system.
  explicit BufferPool(size_t keep_bytes = size_t{16} << 20) : keep_bytes_(keep_bytes) {}
  ~BufferPool();  // every buffer is back
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;

  // A buffer of at least `size` bytes (1 to kMaxBytes), with undefined content. Empty if the system
  // has no memory.
  Buffer take(size_t size);

  size_t kept_bytes() const { return kept_bytes_; }
  size_t out_count() const { return out_count_; }

 private:
  friend class Buffer;
  static constexpr unsigned kMinShift = 12;
  static constexpr unsigned kClasses = 14;  // 4 KiB to 32 MiB
  static_assert((size_t{1} << (kMinShift + kClasses - 1)) == kMaxBytes);
  static size_t class_bytes(unsigned size_class) { return size_t{1} << (kMinShift + size_class); }

  void give_back(std::byte* data, unsigned size_class);

  struct FreeBuffer {
    FreeBuffer* next;
  };
  std::array<FreeBuffer*, kClasses> free_{};
  size_t keep_bytes_;
  size_t kept_bytes_ = 0;
  size_t out_count_ = 0;
};

}  // namespace firn::nbd
