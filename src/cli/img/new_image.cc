#include "cli/img/new_image.h"

#include <fmt/format.h>

#include "async/file.h"
#include "block/overlay.h"
#include "block/permissions.h"
#include "cli/img/image_address.h"
#include "drivers/qcow2/create.h"
#include "drivers/raw/raw_driver.h"

namespace firn::cli::img {

using base::ErrorKind;

namespace {

async::FileSystem& files() { return async::Loop::current().files(); }

base::Error could_not_create(const std::string& path, base::Error error) {
  const std::string text = fmt::format("Could not create '{}'", path);
  if (error.errno_value() != 0) return base::Error::from_errno(error.errno_value(), text);
  return std::move(error).with_context(text);
}

// The file is there; it is opened, locked and filled.
Task<Result<>> fill(NewImage image, bool is_new, bool& overwritten) {
  block::NodeOptions options;
  options.unmap = true;
  block::NodeSpec spec = CO_TRY(co_await block::file_spec(registry(), image.path, options));
  block::OpenedTree tree = CO_TRY(co_await block::open_tree(registry(), std::move(spec)));
  block::Edge user(block::EdgeRole::kRoot, nullptr, "the new image");
  namespace permission = block::permission;
  user.attach(tree.top, permission::kConsistentRead | permission::kWrite | permission::kResize,
              permission::kConsistentRead | permission::kWriteUnchanged);
  Result<> result = block::update_permissions(*tree.top);
  if (result && !is_new) {
    const auto stat = co_await tree.top->driver().identity();
    if (stat && stat->kind == async::FileKind::kRegular) {
      overwritten = true;
      result = co_await tree.top->driver().resize(0);
    } else if (stat && stat->size_bytes < image.request.size_bytes && image.format == "raw") {
      result = base::fail(ErrorKind::kNoSpace,
                          fmt::format("The device has {} bytes, the image is to have {}",
                                      stat->size_bytes, image.request.size_bytes));
    }
  }
  if (result) {
    overwritten = overwritten || !is_new;
    result = co_await registry().find(image.format)->create(user, image.request);
  }
  user.detach();
  Result<> closed = co_await block::close_tree(std::move(tree));
  co_return result ? std::move(closed) : std::move(result);
}

}  // namespace

Task<Result<>> make_image(NewImage image) {
  if (image.format == "qcow2") CO_TRY(qcow2::check_create(image.request));
  if (image.format == "raw") CO_TRY(raw::check_create(image.request));
  const std::string path = block::plain_path(image.path);
  const bool is_new = !co_await files().stat(path);
  if (is_new) {
    auto made = co_await files().open(path, {.writable = true, .create = true, .exclusive = true});
    if (!made) co_return base::fail(could_not_create(image.path, std::move(made).error()));
  }
  bool overwritten = false;
  Result<> result = co_await fill(image, is_new, overwritten);
  if (result && is_new) {
    const std::string real = CO_TRY(co_await files().real_path(path));
    result = co_await files().sync_directory(real.substr(0, real.rfind('/') + 1));
  }
  if (result) co_return result;
  base::Error error = std::move(result).error();
  if (is_new) {
    (void)co_await files().unlink(path);  // the first error is the one that counts
  } else if (overwritten) {
    error.with_context("The old content is gone");
  }
  co_return base::fail(std::move(error));
}

}  // namespace firn::cli::img
