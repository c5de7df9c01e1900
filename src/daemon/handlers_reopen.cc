#include <fmt/format.h>

#include <utility>
#include <vector>

#include "block/backing_file.h"
#include "block/reopen.h"
#include "daemon/blockdev_options.h"
#include "daemon/handlers.h"

namespace firn::daemon {

using async::Task;
using base::ErrorKind;
using base::fail;
using base::Result;

namespace {

// An empty name is a node's, that is not there; blockdev-add takes it for none.
bool has_empty_backing(const api::BlockdevOptions& options) {
  const auto* qcow2 = std::get_if<api::BlockdevOptionsQcow2>(&options.u);
  if (qcow2 == nullptr || !qcow2->backing) return false;
  const std::string* name = qcow2->backing->reference();
  return name != nullptr && name->empty();
}

}  // namespace

Task<Result<>> ReopenHandlers::change_backing_file(api::ChangeBackingFileArgs args) {
  co_return co_await block::change_backing_file(graph_,
                                                {.device = std::move(args.device),
                                                 .image_node = std::move(args.image_node_name),
                                                 .backing_file = std::move(args.backing_file)});
}

Task<Result<>> ReopenHandlers::blockdev_reopen(api::BlockdevReopenArgs args) {
  for (const api::BlockdevOptions& options : args.options) {
    if (!options.node_name) co_return fail(ErrorKind::kInvalidArgument, "node-name not specified");
    if (graph_.find_node(*options.node_name) == nullptr) {
      co_return fail(block::no_such_node(*options.node_name));
    }
  }
  std::vector<block::NodeSpec> specs;
  for (const api::BlockdevOptions& options : args.options) {
    if (has_empty_backing(options)) {
      co_return fail(ErrorKind::kNotFound, "Cannot find device='' nor node-name=''");
    }
    specs.push_back(CO_TRY(node_spec(options)));
  }
  co_return co_await block::reopen(graph_, std::move(specs));
}

}  // namespace firn::daemon
