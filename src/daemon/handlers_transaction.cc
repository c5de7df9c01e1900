#include <fmt/format.h>

#include <utility>
#include <variant>

#include "block/transaction.h"
#include "daemon/handlers.h"
#include "daemon/snapshots.h"

namespace firn::daemon {

using async::Task;
using base::Result;

namespace {

block::TransactionAction block_action(api::TransactionAction action) {
  if (auto* sync = std::get_if<api::BlockdevSnapshotSyncWrapper>(&action.u)) {
    return snapshot_request(std::move(sync->data));
  }
  if (auto* snapshot = std::get_if<api::BlockdevSnapshotWrapper>(&action.u)) {
    return snapshot_request(std::move(snapshot->data));
  }
  return block::AbortAction();
}

}  // namespace

Task<Result<>> TransactionHandlers::transaction(api::TransactionArgs args) {
  using api::ActionCompletionMode;
  const auto mode = args.properties ? args.properties->completion_mode : std::nullopt;
  const bool grouped =
      mode.value_or(ActionCompletionMode::kIndividual) == ActionCompletionMode::kGrouped;
  std::vector<block::TransactionAction> actions;
  for (api::TransactionAction& action : args.actions) {
    // None of them starts a job.
    if (grouped && action.type != api::TransactionActionKind::kAbort) {
      co_return base::fail(base::ErrorKind::kInvalidArgument,
                           fmt::format("Action '{}' does not support Transaction property "
                                       "completion-mode = grouped",
                                       api::to_string(action.type)));
    }
    actions.push_back(block_action(std::move(action)));
  }
  auto reports = CO_TRY(co_await block::run_transaction(graph_, std::move(actions)));
  for (block::SnapshotReport& report : reports) announce_snapshot(events_, std::move(report));
  co_return Result<>();
}

}  // namespace firn::daemon
