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

Result<block::TransactionAction> block_action(api::TransactionAction action) {
  if (auto* sync = std::get_if<api::BlockdevSnapshotSyncWrapper>(&action.u)) {
    return TRY(snapshot_request(std::move(sync->data)));
  }
  if (auto* snapshot = std::get_if<api::BlockdevSnapshotWrapper>(&action.u)) {
    return TRY(snapshot_request(std::move(snapshot->data)));
  }
  if (auto* internal = std::get_if<api::BlockdevSnapshotInternalWrapper>(&action.u)) {
    return block::InternalSnapshotRequest{.device = std::move(internal->data.device),
                                          .name = std::move(internal->data.name)};
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
    actions.push_back(CO_TRY(block_action(std::move(action))));
  }
  co_return co_await take_snapshots(graph_, events_, std::move(actions));
}

}  // namespace firn::daemon
