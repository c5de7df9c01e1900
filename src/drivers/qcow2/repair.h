// Bringing a dirty image's refcounts in line with what refers to its clusters.
#pragma once

#include "async/task.h"
#include "base/result.h"

namespace firn::qcow2 {

class Image;

// Before the image is used for writing. Durable after. kCorrupt if more than refcounts is wrong;
// nothing has changed on disk then.
async::Task<base::Result<>> repair_refcounts(Image& image);

}  // namespace firn::qcow2
