// The handler of query-block-diff. See handlers.h.
#pragma once

#include "api/commands.h"
#include "block/graph.h"

namespace firn::daemon {

class DiffHandlers final : public api::BlockDiffCommands {
 public:
  explicit DiffHandlers(block::Graph& graph) : graph_(graph) {}

  async::Task<base::Result<api::BlockDiff>> query_block_diff(api::QueryBlockDiffArgs args) override;

 private:
  block::Graph& graph_;
};

}  // namespace firn::daemon
