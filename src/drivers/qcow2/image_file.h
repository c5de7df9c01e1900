// ImageFile: the file below an image, as the format reads and writes it: metadata and data by host
// offset, zeroes beyond the end.
#pragma once

#include <cstdint>
#include <memory>

#include "base/bytes.h"
#include "block/node.h"

namespace firn::qcow2 {

using async::IoVec;
using async::Task;
using base::Result;

// Memory for table slices and copied sectors: aligned, so that direct I/O takes it as it is.
struct AlignedFree {
  void operator()(std::byte* memory) const;
};
using Buffer = std::unique_ptr<std::byte[], AlignedFree>;
Buffer make_buffer(size_t bytes);
Buffer make_zero_buffer(size_t bytes);

// Does not own the edge, which lives as long as the node. Home loop.
class ImageFile {
 public:
  explicit ImageFile(block::Edge& edge) : edge_(edge) {}

  block::Edge& edge() { return edge_; }
  uint64_t size_bytes() const { return edge_.size_bytes(); }

  // Fills all of `iov`: with zeroes where the file has ended.
  Task<Result<>> read(uint64_t offset, const IoVec& iov) { return edge_.read(offset, iov); }
  Task<Result<>> read(uint64_t offset, std::byte* data, size_t bytes);
  Task<Result<>> write(uint64_t offset, const IoVec& iov) { return edge_.write(offset, iov); }
  Task<Result<>> write(uint64_t offset, const std::byte* data, size_t bytes);
  Task<Result<>> flush() { return edge_.flush(); }

 private:
  block::Edge& edge_;
};

}  // namespace firn::qcow2
