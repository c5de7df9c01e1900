#include "cli/img/img_commands.h"

#include <fmt/format.h>

namespace firn::cli::img {

base::Result<> with_status_of_qemu_img(base::Result<> result) {
  if (result || result.error().kind() != base::ErrorKind::kInvalidArgument) return result;
  return base::fail(std::move(result).error().with_kind(base::ErrorKind::kGeneric));
}

base::Result<> refuse_objects(std::string_view command, const Options& options) {
  if (!options.has("object")) return {};
  return base::fail(base::ErrorKind::kUnsupported,
                    fmt::format("{}: --object defines secrets of encrypted images, which are not "
                                "supported",
                                command));
}

}  // namespace firn::cli::img
