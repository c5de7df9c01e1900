#include <utility>
#include <variant>

#include "base/check.h"
#include "daemon/handlers.h"
#include "daemon/unsupported.h"

namespace firn::daemon {

using async::Task;
using base::Result;

namespace {

// A value of 0 asks for nothing special.
bool asks(const std::optional<int64_t>& value) { return value.value_or(0) != 0; }

Result<> check_iothread(const api::IothreadProperties& properties) {
  if (asks(properties.poll_max_ns)) return unsupported("poll-max-ns", "loops do not poll");
  if (asks(properties.poll_grow)) return unsupported("poll-grow", "loops do not poll");
  if (asks(properties.poll_shrink)) return unsupported("poll-shrink", "loops do not poll");
  if (asks(properties.aio_max_batch)) {
    return unsupported("aio-max-batch", "each turn of a loop is one batch");
  }
  if (asks(properties.thread_pool_min)) {
    return unsupported("thread-pool-min", "all loops share their workers");
  }
  if (properties.thread_pool_max) {
    return unsupported("thread-pool-max", "all loops share their workers");
  }
  return {};
}

}  // namespace

Task<Result<>> ObjectHandlers::object_add(api::ObjectOptions args) {
  const auto* properties = std::get_if<api::IothreadProperties>(&args.u);
  CHECK(properties != nullptr);
  CO_TRY(check_iothread(*properties));
  if (!block::is_identifier(args.id)) {
    co_return base::fail(base::ErrorKind::kInvalidArgument, "Parameter 'id' expects an identifier");
  }
  CO_TRY(graph_.add_io_loop(std::move(args.id)));
  co_return Result<>();
}

Task<Result<>> ObjectHandlers::object_del(api::ObjectDelArgs args) {
  return graph_.remove_io_loop(std::move(args.id));
}

}  // namespace firn::daemon
