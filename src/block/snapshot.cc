#include "block/snapshot.h"

#include "block/transaction.h"

namespace firn::block {

Task<Result<SnapshotReport>> take_snapshot(Graph& graph, SnapshotRequest request) {
  std::vector<TransactionAction> actions;
  actions.emplace_back(std::move(request));
  auto reports = CO_TRY(co_await run_transaction(graph, std::move(actions)));
  co_return std::move(reports.front());
}

}  // namespace firn::block
