#include <fmt/format.h>

#include <utility>

#include "daemon/blockdev_options.h"
#include "daemon/job_handlers.h"
#include "daemon/unsupported.h"
#include "drivers/qcow2/create.h"
#include "jobs/create.h"

namespace firn::daemon {

using async::Task;
using base::ErrorKind;
using base::fail;
using base::Result;

namespace {

Result<> check_qcow2(const block::DriverEntry::CreateRequest& request) {
  if (request.size_bytes % 512 != 0) {
    return fail(ErrorKind::kInvalidArgument, "Image size must be a multiple of 512 bytes");
  }
  return qcow2::check_create(request);
}

Result<jobs::FileToCreate> file_to_create(api::BlockdevCreateOptionsFile options) {
  if (options.nocow.value_or(false)) {
    return unsupported("nocow", "make the file in a directory that has the attribute (chattr +C)");
  }
  if (options.extent_size_hint.value_or(0) != 0) {
    return unsupported("extent-size-hint", "the file system's own is used");
  }
  jobs::FileToCreate file{
      .filename = std::move(options.filename), .size_bytes = options.size, .preallocation = {}};
  if (options.preallocation) file.preallocation = to_string(*options.preallocation);
  return file;
}

Result<jobs::ImageToCreate> image_to_create(const api::BlockdevCreateOptionsQcow2& options) {
  if (options.encrypt) return unsupported("encrypt", "encrypted images are not made");
  if (options.data_file) return unsupported("data-file", "data are kept in the image");
  jobs::ImageToCreate image{.format = "qcow2", .file = {}, .request = {}, .check = &check_qcow2};
  image.file = TRY(node_reference(options.file));
  auto& request = image.request;
  request.size_bytes = options.size;
  request.backing_filename = options.backing_file.value_or("");
  if (options.backing_fmt) request.backing_format = to_string(*options.backing_fmt);
  const auto set = [&](std::string name, std::string value) {
    request.options.emplace_back(std::move(name), std::move(value));
  };
  const auto set_switch = [&](std::string name, const std::optional<bool>& value) {
    if (value) set(std::move(name), *value ? "on" : "off");
  };
  if (options.version) set("version", std::string(to_string(*options.version)));
  if (options.cluster_size) set("cluster_size", std::to_string(*options.cluster_size));
  set_switch("extended_l2", options.extended_l2);
  set_switch("lazy_refcounts", options.lazy_refcounts);
  if (options.refcount_bits) set("refcount_bits", std::to_string(*options.refcount_bits));
  if (options.compression_type) {
    set("compression_type", std::string(to_string(*options.compression_type)));
  }
  if (options.preallocation) set("preallocation", std::string(to_string(*options.preallocation)));
  if (options.data_file_raw.value_or(false)) {
    return fail(ErrorKind::kInvalidArgument, "data-file-raw requires data-file");
  }
  return image;
}

}  // namespace

Task<Result<>> BlockCreateHandlers::blockdev_create(api::BlockdevCreateArgs args) {
  std::unique_ptr<jobs::Work> work;
  if (auto* file = std::get_if<api::BlockdevCreateOptionsFile>(&args.options.u)) {
    work = jobs::create_file(graph_, CO_TRY(file_to_create(std::move(*file))));
  } else if (auto* image = std::get_if<api::BlockdevCreateOptionsQcow2>(&args.options.u)) {
    work = jobs::create_image(graph_, CO_TRY(image_to_create(*image)));
  } else {
    co_return fail(ErrorKind::kUnsupported, "Driver does not support blockdev-create");
  }
  jobs::JobSettings settings{
      .id = std::move(args.job_id), .type = jobs::JobType::kCreate, .auto_dismiss = false};
  jobs_.start(*CO_TRY(jobs_.create(std::move(settings), std::move(work))));
  co_return Result<>();
}

}  // namespace firn::daemon
