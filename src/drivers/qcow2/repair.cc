#include "drivers/qcow2/repair.h"

#include "drivers/qcow2/image.h"

namespace firn::qcow2 {

async::Task<base::Result<>> repair_refcounts(Image& image) {
  co_return base::fail(
      base::Error(base::ErrorKind::kUnsupported,
                  "image '" + image.filename() + "' was not closed properly (dirty bit)")
          .with_hint("repair it with qemu-img check -r all"));
}

}  // namespace firn::qcow2
