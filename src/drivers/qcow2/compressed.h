// CompressedClusters: reading clusters that are compressed. The last few stay in memory.
//
// Source: QEMU, docs/interop/qcow2.txt, "Compressed Clusters Descriptor". Home loop; the
// decompression itself runs on workers.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <optional>

#include "async/sync.h"
#include "drivers/qcow2/geometry.h"
#include "drivers/qcow2/image_file.h"
#include "drivers/qcow2/mapping.h"

namespace firn::qcow2 {

// Fills `target` from the beginning of `source`, which may have more bytes than that takes. Any
// thread. kCorrupt if it can't; kUnsupported for a type that is not known.
Result<> decompress(uint8_t compression_type, base::ConstByteSpan source, base::ByteSpan target);

class CompressedClusters {
 public:
  CompressedClusters(const Geometry& geometry, ImageFile& file, uint8_t compression_type);

  // Fills `iov` from `in_cluster` on of the cluster with this descriptor.
  Task<Result<>> read(uint64_t descriptor, uint64_t in_cluster, const IoVec& iov);
  void forget();

 private:
  struct Entry {
    uint64_t descriptor = 0;
    Buffer data;
    bool loading = true;
    uint32_t users = 0;
    std::optional<base::Error> error;
    async::WaitList loaded;
  };
  Task<Result<>> load(Entry& entry);
  void trim();

  const Geometry geometry_;
  ImageFile& file_;
  const uint8_t compression_type_;
  const size_t capacity_;
  std::list<Entry> entries_;  // used last first
};

}  // namespace firn::qcow2
