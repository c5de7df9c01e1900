// The handlers of the commands that tell what was read and written. As those of handlers.h.
#pragma once

#include <vector>

#include "api/commands.h"
#include "block/graph.h"
#include "qmp/events.h"

namespace firn::daemon {

class BlockStatsHandlers final : public api::BlockStatsCommands {
 public:
  BlockStatsHandlers(block::Graph& graph, qmp::EventHub& events) : graph_(graph), events_(events) {}

  async::Task<base::Result<std::vector<api::BlockStats>>> query_blockstats(
      api::QueryBlockstatsArgs args) override;
  async::Task<base::Result<>> block_set_write_threshold(
      api::BlockSetWriteThresholdArgs args) override;

 private:
  block::Graph& graph_;
  qmp::EventHub& events_;
};

}  // namespace firn::daemon
