// What the commands of `firn img` share. Each takes the flags of qemu-img's command of that name,
// prints what it prints, and ends with the same status.
#pragma once

#include <string_view>

#include "base/result.h"
#include "cli/options.h"

namespace firn::cli::img {

// qemu-img ends with 1 for wrong calls too.
base::Result<> with_status_of_qemu_img(base::Result<> result);

// --object makes secrets, for encrypted images, which there are none of here.
base::Result<> refuse_objects(std::string_view command, const Options& options);

}  // namespace firn::cli::img
