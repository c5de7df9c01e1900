#include "drivers/qcow2/driver.h"

#include "drivers/qcow2/create.h"
#include "drivers/qcow2/image.h"

namespace firn::qcow2 {
namespace {

int probe(base::ConstByteSpan first_bytes) {
  if (first_bytes.size() < format::kHeaderBytesV2) return 0;
  const bool is_ours = base::load_be<uint32_t>(first_bytes.data()) == format::kMagic &&
                       base::load_be<uint32_t>(first_bytes.data() + 4) >= 2;
  return is_ours ? 100 : 0;
}

Task<Result<std::unique_ptr<block::Driver>>> open(block::OpenContext& context, block::Node& node,
                                                  const block::DriverOptions* options) {
  const auto* own = dynamic_cast<const Options*>(options);
  std::unique_ptr<Image> image =
      CO_TRY(co_await Image::open(node, own != nullptr ? *own : Options{}));
  const Header& header = image->header();
  if (!header.backing_file.empty() && !node.children().backing && context.create_backing) {
    Result<> opened =
        co_await context.open_backing(node, image->backing_path(), header.backing_format);
    if (!opened) {
      (void)co_await image->close();
      co_return std::unexpected(opened.error());
    }
  }
  co_return std::unique_ptr<block::Driver>(std::move(image));
}

}  // namespace

void register_drivers(block::Registry& registry) {
  registry.add({.name = "qcow2",
                .supports_backing = true,
                .probe = &probe,
                .open = &open,
                .create = &create,
                .check_create = &check_create});
}

}  // namespace firn::qcow2
