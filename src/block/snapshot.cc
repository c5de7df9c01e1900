#include "block/snapshot.h"

#include "block/transaction.h"

namespace firn::block {

Task<Result<SnapshotReport>> take_snapshot(Graph& graph, SnapshotRequest request) {
  std::vector<TransactionAction> actions;
  actions.emplace_back(std::move(request));
  TransactionOutcome outcome = co_await run_transaction(graph, std::move(actions));
  CO_TRY(std::move(outcome.result));
  co_return std::move(outcome.reports.front());
}

}  // namespace firn::block
