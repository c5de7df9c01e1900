#include "drivers/qcow2/image_file.h"

#include <cstring>
#include <new>

namespace firn::qcow2 {
namespace {
constexpr std::align_val_t kAlignment{4096};
}

void AlignedFree::operator()(std::byte* memory) const { ::operator delete[](memory, kAlignment); }

Buffer make_buffer(size_t bytes) {
  return Buffer(static_cast<std::byte*>(::operator new[](bytes, kAlignment)));
}

Buffer make_zero_buffer(size_t bytes) {
  Buffer buffer = make_buffer(bytes);
  std::memset(buffer.get(), 0, bytes);
  return buffer;
}

Task<Result<>> ImageFile::read(uint64_t offset, std::byte* data, size_t bytes) {
  const IoVec iov(data, bytes);
  co_return co_await read(offset, iov);
}

Task<Result<>> ImageFile::write(uint64_t offset, const std::byte* data, size_t bytes) {
  const IoVec iov{base::ConstByteSpan(data, bytes)};
  co_return co_await edge_.write(offset, iov);
}

}  // namespace firn::qcow2
