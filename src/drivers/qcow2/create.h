// Making new qcow2 images.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "block/registry.h"
#include "drivers/qcow2/header.h"

namespace firn::qcow2 {

enum class Preallocation { kOff, kMetadata, kFalloc, kFull };

struct CreateOptions {
  uint32_t version = 3;
  uint64_t cluster_bytes = 65536;
  bool extended_l2 = false;
  bool lazy_refcounts = false;
  unsigned refcount_order = 4;
  uint8_t compression_type = format::kCompressionZlib;
  Preallocation preallocation = Preallocation::kOff;
  std::string backing_file;
  std::string backing_format;
};

// `size`, `backing_file`, `backing_fmt`, `compat`, `cluster_size`, `extended_l2`,
// `lazy_refcounts`, `refcount_bits`, `preallocation`, `compression_type`: as qemu-img create -o.
// Errors: kInvalidArgument with QEMU's texts; kUnsupported for encryption and external data files.
base::Result<CreateOptions> parse_create_options(
    const std::vector<std::pair<std::string, std::string>>& options);

// What create() would refuse whatever the file is: options, a size beyond what the format can have,
// names that don't fit.
base::Result<> check_create(const block::DriverEntry::CreateRequest& request);

// Lays the image out in `file`, which is empty or a device, and open for writing. The header is
// written last, so that what is half made is no image. Durable after.
async::Task<base::Result<>> create(block::Edge& file,
                                   const block::DriverEntry::CreateRequest& request);

}  // namespace firn::qcow2
