#include "exports/nbd/buffer_pool.h"

#include <bit>
#include <cstdlib>
#include <new>

#include "base/check.h"

namespace firn::nbd {

size_t Buffer::capacity() const {
  return data_ == nullptr ? 0 : BufferPool::class_bytes(size_class_);
}

void Buffer::release() {
  if (data_ == nullptr) return;
  pool_->give_back(std::exchange(data_, nullptr), size_class_);
  pool_ = nullptr;
}

BufferPool::~BufferPool() {
  CHECK(out_count_ == 0);
  for (FreeBuffer* buffer : free_) {
    while (buffer != nullptr) {
      FreeBuffer* next = buffer->next;
      std::free(buffer);
      buffer = next;
    }
  }
}

Buffer BufferPool::take(size_t size) {
  CHECK(size > 0 && size <= kMaxBytes);
  const size_t pages = (size - 1) >> kMinShift;
  const unsigned size_class = static_cast<unsigned>(std::bit_width(pages));
  Buffer buffer;
  if (FreeBuffer* kept = free_[size_class]; kept != nullptr) {
    free_[size_class] = kept->next;
    kept_bytes_ -= class_bytes(size_class);
    buffer.data_ = reinterpret_cast<std::byte*>(kept);
  } else {
    buffer.data_ = static_cast<std::byte*>(std::aligned_alloc(kAlignment, class_bytes(size_class)));
    if (buffer.data_ == nullptr) return {};
  }
  buffer.pool_ = this;
  buffer.size_class_ = size_class;
  ++out_count_;
  return buffer;
}

void BufferPool::give_back(std::byte* data, unsigned size_class) {
  --out_count_;
  const size_t bytes = class_bytes(size_class);
  if (kept_bytes_ + bytes > keep_bytes_) {
    std::free(data);
    return;
  }
  free_[size_class] = new (data) FreeBuffer{free_[size_class]};
  kept_bytes_ += bytes;
}

}  // namespace firn::nbd
