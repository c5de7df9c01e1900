#include "base/bytes.h"

namespace firn::base {

bool is_zero(ConstByteSpan bytes) {
  // A buffer is zero if its first bytes are and it equals itself shifted by as many.
  constexpr size_t kHead = 16;
  const size_t head = bytes.size() < kHead ? bytes.size() : kHead;
  for (size_t i = 0; i < head; ++i) {
    if (bytes[i] != std::byte{0}) return false;
  }
  return bytes.size() <= kHead ||
         std::memcmp(bytes.data(), bytes.data() + kHead, bytes.size() - kHead) == 0;
}

}  // namespace firn::base
