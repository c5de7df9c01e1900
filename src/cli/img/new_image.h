// Making an image file.
#pragma once

#include <string>

#include "async/task.h"
#include "base/result.h"
#include "block/registry.h"

namespace firn::cli::img {

struct NewImage {
  std::string path;  // as it was typed
  std::string format;
  block::DriverEntry::CreateRequest request;
};

// Lays the image out in a new file, or anew in one that is there, or on a block device; durable
// after, its name included. A file that was there is locked before it is touched and is never
// removed; one that was made here is removed on an error. Once the old content is gone, errors say
// so.
async::Task<base::Result<>> make_image(NewImage image);

}  // namespace firn::cli::img
