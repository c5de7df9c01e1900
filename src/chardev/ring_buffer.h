// RingBuffer: a character device that keeps the latest bytes, and gives them to whoever asks.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "async/scope.h"
#include "base/result.h"
#include "chardev/chardev.h"

namespace firn::chardev {

class RingBuffer final {
 public:
  // Memory is taken as bytes come: up to twice what is there.
  explicit RingBuffer(uint64_t size_bytes) : size_(size_bytes) {}

  // What no longer fits pushes the oldest bytes out.
  void write(std::string_view bytes);
  // Takes up to `most` of the oldest bytes out.
  std::string read(uint64_t most);

  uint64_t filled_bytes() const { return bytes_.size() - begin_; }

 private:
  void drop_taken();

  uint64_t size_;
  std::string bytes_;  // what is before begin_ is gone already
  size_t begin_ = 0;
};

// kInvalidArgument, with QEMU's text, where the size is no power of two.
base::Result<std::unique_ptr<Chardev>> open_ring(RingSpec spec);

// Base64 as GLib reads it, line ends between included: an incomplete group at the end is dropped.
// kInvalidArgument: "Base64 data contains invalid characters".
base::Result<std::string> decode_base64(std::string_view text);
std::string encode_base64(std::string_view bytes);

}  // namespace firn::chardev
