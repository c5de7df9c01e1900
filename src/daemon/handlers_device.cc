#include <utility>

#include "daemon/handlers.h"

namespace firn::daemon {

using async::Task;
using base::Result;

Task<Result<>> DeviceHandlers::block_device_add(api::BlockDeviceAddArgs args) {
  CO_TRY(co_await graph_.add_device(std::move(args.id), std::move(args.node_name)));
  co_return Result<>();
}

Task<Result<>> DeviceHandlers::block_device_del(api::BlockDeviceDelArgs args) {
  co_return co_await graph_.remove_device(std::move(args.id));
}

}  // namespace firn::daemon
