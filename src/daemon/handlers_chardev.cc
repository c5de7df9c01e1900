#include <fmt/format.h>

#include <utility>

#include "chardev/ring_buffer.h"
#include "daemon/handlers.h"

namespace firn::daemon {

using async::Task;
using base::ErrorKind;
using base::fail;
using base::Result;

namespace {

api::ChardevReturn describe(const chardev::Chardev& device) { return {.pty = device.pty_path()}; }

std::string add_context(const std::string& id) {
  return fmt::format("Failed to add chardev '{}'", id);
}

}  // namespace

Task<Result<std::vector<api::ChardevInfo>>> ChardevHandlers::query_chardev() {
  std::vector<api::ChardevInfo> list;
  for (chardev::Chardevs::Info& info : chardevs_.list()) {
    list.push_back({.label = std::move(info.label),
                    .filename = std::move(info.filename),
                    .frontend_open = info.frontend_open});
  }
  co_return list;
}

Task<Result<std::vector<api::ChardevBackendInfo>>> ChardevHandlers::query_chardev_backends() {
  std::vector<api::ChardevBackendInfo> list;
  for (const std::string& kind : chardev_kinds()) list.push_back({.name = kind});
  co_return list;
}

Task<Result<>> ChardevHandlers::ringbuf_write(api::RingbufWriteArgs args) {
  chardev::RingBuffer* ring = CO_TRY(chardevs_.ring_buffer(args.device));
  const bool is_base64 = args.format == api::DataFormat::kBase64;
  ring->write(is_base64 ? CO_TRY(chardev::decode_base64(args.data)) : args.data);
  co_return Result<>();
}

Task<Result<std::string>> ChardevHandlers::ringbuf_read(api::RingbufReadArgs args) {
  chardev::RingBuffer* ring = CO_TRY(chardevs_.ring_buffer(args.device));
  if (args.size <= 0) {
    co_return fail(ErrorKind::kInvalidArgument, "size must be greater than zero");
  }
  std::string bytes = ring->read(static_cast<uint64_t>(args.size));
  if (args.format == api::DataFormat::kBase64) co_return chardev::encode_base64(bytes);
  co_return bytes.substr(0, bytes.find('\0'));
}

Task<Result<api::ChardevReturn>> ChardevHandlers::chardev_add(api::ChardevAddArgs args) {
  if (chardevs_.contains(args.id)) {
    co_return fail(ErrorKind::kExists, fmt::format("Chardev with id '{}' already exists", args.id));
  }
  auto spec = CO_TRY_CONTEXT(chardev_spec(args.backend, fds_), add_context(args.id));
  co_return describe(*CO_TRY_CONTEXT(co_await chardevs_.add(args.id, std::move(spec), cancel_),
                                     add_context(args.id)));
}

Task<Result<api::ChardevReturn>> ChardevHandlers::chardev_change(api::ChardevChangeArgs args) {
  CO_TRY(chardevs_.check_changeable(args.id));
  auto spec = CO_TRY_CONTEXT(chardev_spec(args.backend, fds_), add_context(args.id));
  co_return describe(*CO_TRY_CONTEXT(co_await chardevs_.change(args.id, std::move(spec), cancel_),
                                     add_context(args.id)));
}

Task<Result<>> ChardevHandlers::chardev_remove(api::ChardevRemoveArgs args) {
  return chardevs_.remove(std::move(args.id));
}

Task<Result<>> ChardevHandlers::chardev_send_break(api::ChardevSendBreakArgs args) {
  // There is no serial port, and nothing else has a break.
  if (!chardevs_.contains(args.id)) {
    co_return fail(ErrorKind::kNotFound, fmt::format("Chardev '{}' not found", args.id));
  }
  co_return Result<>();
}

Task<Result<>> ChardevHandlers::add_option(ChardevOption option) {
  if (chardevs_.contains(option.id)) {
    co_return fail(ErrorKind::kExists, fmt::format("Duplicate ID '{}' for chardev", option.id));
  }
  CO_TRY(co_await chardevs_.add(std::move(option.id), std::move(option.spec), cancel_));
  co_return Result<>();
}

}  // namespace firn::daemon
