#include "block/transaction.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <ranges>
#include <utility>

#include "async/scope.h"
#include "base/canary.h"
#include "block/internal_snapshot_step.h"
#include "block/snapshot_step.h"

namespace firn::block {

using base::ErrorKind;

namespace {

// Those of one loop.
struct Steps {
  std::vector<SnapshotStep*> overlays;
  std::vector<InternalSnapshotStep*> internal;
};
using StepsByLoop = std::vector<std::pair<async::Loop*, Steps>>;

// What has closed its gate holds back guests while others close theirs.
constexpr auto kGatePatience = std::chrono::milliseconds(5);
constexpr int kGateTries = 2;

// On their home loop; each in one turn. ---------------------------------------------------------

Task<void> close_gates(Steps steps) {
  for (SnapshotStep* step : steps.overlays) step->close_gates();
  co_return;
}

Task<void> pivot_all(Steps steps) {
  for (SnapshotStep* step : steps.overlays) step->pivot_now();
  for (InternalSnapshotStep* step : steps.internal) step->take_now();
  co_return;
}

Task<void> open_gates(Steps steps) {
  for (SnapshotStep* step : steps.overlays) step->open_gates();
  co_return;
}

// On the control loop. --------------------------------------------------------------------------

// Beside each other; returns when all are done.
Task<void> on_all(const StepsByLoop& by_loop, Task<void> (*action)(Steps)) {
  async::TaskScope scope;
  for (const auto& [loop, steps] : by_loop) scope.spawn(async::call_on(*loop, action(steps)));
  co_await scope.join();
}

Task<void> close_and_count(async::Loop& loop, Steps steps, size_t& open,
                           async::CancelSource& all_closed) {
  co_await async::call_on(loop, close_gates(std::move(steps)));
  if (--open == 0) all_closed.cancel();
}

// True once all are closed; false if one took too long, and all are open again.
Task<bool> try_to_close_gates(const StepsByLoop& by_loop) {
  size_t open = by_loop.size();
  async::CancelSource all_closed;
  async::TaskScope closing;
  for (const auto& [loop, steps] : by_loop) {
    closing.spawn(close_and_count(*loop, steps, open, all_closed));
  }
  (void)co_await async::Loop::current().sleep_for(kGatePatience, all_closed.token());
  const bool in_time = open == 0;
  // Each loop closes first and opens then, and none of those that were quick waits for the slow.
  if (!in_time) co_await on_all(by_loop, open_gates);
  co_await closing.join();
  co_return in_time;
}

Task<Result<>> close_all_gates(const StepsByLoop& by_loop) {
  for (int i = 0; i != kGateTries; ++i) {
    if (co_await try_to_close_gates(by_loop)) co_return Result<>();
  }
  co_return base::fail(
      base::Error(
          ErrorKind::kBusy,
          fmt::format("The disks can't be stopped at one point in time: an I/O loop is busy "
                      "for more than {} ms",
                      kGatePatience.count()))
          .with_hint("nothing has changed; try again, or put the disks on one I/O loop"));
}

std::vector<std::string> names_in(const std::vector<TransactionAction>& actions) {
  std::vector<std::string> names;
  for (const TransactionAction& action : actions) {
    if (const auto* internal = std::get_if<InternalSnapshotRequest>(&action)) {
      names.push_back(internal->device);
    }
    const auto* request = std::get_if<SnapshotRequest>(&action);
    if (request == nullptr) continue;
    for (const std::string* name :
         {&request->device, &request->node_name, &request->overlay_node}) {
      if (!name->empty()) names.push_back(*name);
    }
  }
  return names;
}

// Between a transaction and who waits for it with a deadline.
struct Patience {
  bool given_up = false;  // what was prepared is undone at the next step
  bool pivoting = false;  // too late to give up

  bool give_up() {
    if (!pivoting) given_up = true;
    return given_up;
  }
};

class Transaction {
 public:
  Transaction(Graph& graph, const Graph::Claim& claim, Patience& patience)
      : graph_(graph), claim_(claim), patience_(patience) {}

  Task<TransactionOutcome> run(std::vector<TransactionAction> actions) {
    Result<> result = co_await run_to_pivot(std::move(actions));
    if (!result || is_empty()) co_return TransactionOutcome{std::move(result), {}, {}};
    co_await seal_and_store();
    Result<> finished = co_await finish();
    Result<> stored = co_await keep_all_or_none();
    TransactionOutcome outcome{finished ? stored : std::move(finished), {}, {}};
    for (const auto& step : steps_) outcome.reports.push_back(step->take_report());
    if (!stored) co_return outcome;
    for (const auto& step : internal_) outcome.internal.push_back(step->take_report());
    co_return outcome;
  }

 private:
  // An error leaves no trace.
  Task<Result<>> run_to_pivot(std::vector<TransactionAction> actions) {
    for (TransactionAction& action : actions) {
      auto prepared = co_await prepare(std::move(action));
      if (!prepared) {
        co_await undo();
        co_return prepared;
      }
    }
    if (is_empty()) co_return Result<>();
    CO_TRY(co_await record());
    // From here on guests wait.
    if (auto armed = co_await arm(); !armed) {
      co_await roll_back();
      co_return armed;
    }
    if (patience_.given_up) {
      co_await roll_back();
      co_return kept_waiting();
    }
    patience_.pivoting = true;
    co_return co_await pivot();
  }

  static Result<> kept_waiting() {
    return base::fail(ErrorKind::kTimedOut, "the transaction was given up");
  }

  Task<Result<>> prepare(TransactionAction action) {
    if (std::holds_alternative<AbortAction>(action)) {
      co_return base::fail(ErrorKind::kGeneric, "Transaction aborted using Abort action");
    }
    if (patience_.given_up) co_return kept_waiting();
    if (auto* internal = std::get_if<InternalSnapshotRequest>(&action)) {
      co_return co_await prepare_internal(std::move(*internal));
    }
    auto step = std::make_unique<SnapshotStep>(graph_, claim_,
                                               std::get<SnapshotRequest>(std::move(action)));
    CO_TRY(co_await step->prepare(steps_));
    steps_.push_back(std::move(step));
    CO_TRY(check_once(steps_.back()->old_head(), steps_.back()->overlay()));
    if (patience_.given_up) co_return kept_waiting();
    co_return Result<>();
  }

  Task<Result<>> prepare_internal(InternalSnapshotRequest request) {
    auto step = std::make_unique<InternalSnapshotStep>(graph_, claim_, std::move(request));
    CO_TRY(co_await step->prepare());
    for (const auto& other : internal_) {
      if (&other->head() == &step->head()) co_return named_twice(step->head());
    }
    internal_.push_back(std::move(step));
    for (const auto& other : steps_) CO_TRY(check_once(other->old_head(), other->overlay()));
    co_return Result<>();
  }

  // An overlay's disk has no internal snapshot in the same transaction.
  Result<> check_once(const Node& old_head, const Node& overlay) const {
    for (const auto& step : internal_) {
      if (&step->head() == &old_head || &step->head() == &overlay) {
        return named_twice(step->head());
      }
    }
    return {};
  }

  static Result<> named_twice(const Node& head) {
    return base::fail(
        base::Error(
            ErrorKind::kBusy,
            fmt::format("Node '{}' is busy: this transaction takes a snapshot of it already",
                        head.name()))
            .with_hint("one transaction is one point in time: name each disk once"));
  }

  bool is_empty() const { return steps_.empty() && internal_.empty(); }

  // An error holds nobody back.
  Task<Result<>> arm() {
    for (const auto& step : internal_) {
      if (auto armed = co_await step->arm(); !armed) {
        co_await disarm();
        co_return armed;
      }
      armed_.push_back(step.get());
    }
    co_return Result<>();
  }

  Task<void> disarm() {
    for (InternalSnapshotStep* step : std::exchange(armed_, {}) | std::views::reverse) {
      co_await step->cancel();
    }
  }

  Task<void> undo() {
    for (const auto& step : steps_ | std::views::reverse) co_await step->discard();
  }

  // The intents are durable before anything changes.
  Task<Result<>> record() {
    if (steps_.empty()) co_return Result<>();  // the graph does not change
    GraphChange change;
    for (const auto& step : steps_) step->add_to(change);
    auto intent = co_await graph_.state().record_intent(std::move(change));
    if (!intent) {
      co_await undo();
      co_return base::fail(std::move(intent).error());
    }
    intent_ = *intent;
    co_return Result<>();
  }

  // A rollback is durable before what was created goes.
  Task<void> roll_back() {
    co_await disarm();
    if (steps_.empty()) co_return;
    const auto forgotten = co_await graph_.state().forget_intent(intent_);
    // A restart may carry the intent out still, and needs its files.
    if (!forgotten) {
      for (const auto& step : steps_) step->keep_file();
    }
    co_await undo();
  }

  Task<Result<>> pivot() {
    const StepsByLoop by_loop = steps_by_loop();
    const bool gated = by_loop.size() > 1 && !base::canaries.group_without_gate;
    if (gated) {
      if (auto closed = co_await close_all_gates(by_loop); !closed) {
        co_await roll_back();
        co_return closed;
      }
    }
    for (const auto& step : steps_) step->adopt();
    co_await on_all(by_loop, pivot_all);
    armed_.clear();
    if (gated) co_await on_all(by_loop, open_gates);
    for (const auto& step : steps_) step->note_pivot();
    co_return Result<>();
  }

  StepsByLoop steps_by_loop() const {
    StepsByLoop by_loop;
    const auto on_loop = [&](async::Loop& loop) -> Steps& {
      const auto at = std::ranges::find(by_loop, &loop, [](auto& one) { return one.first; });
      return at == by_loop.end() ? by_loop.emplace_back(&loop, Steps()).second : at->second;
    };
    for (const auto& step : steps_) on_loop(step->home()).overlays.push_back(step.get());
    for (const auto& step : internal_) on_loop(step->home()).internal.push_back(step.get());
    return by_loop;
  }

  Task<void> seal_and_store() {
    async::TaskScope scope;
    for (const auto& step : steps_) scope.spawn(step->seal());
    for (const auto& step : internal_) scope.spawn(step->store());
    co_await scope.join();
  }

  // Where one internal snapshot could not be stored, the others go too. Gives its error.
  Task<Result<>> keep_all_or_none() {
    Result<> first;
    for (const auto& step : internal_) {
      if (first && !step->stored()) first = step->stored();
    }
    if (first) co_return first;
    for (const auto& step : internal_) {
      if (!step->stored()) continue;
      if (auto removed = co_await step->remove(); !removed) {
        co_return base::fail(std::move(first).error().with_context(fmt::format(
            "The snapshot of node '{}' could not be deleted again", step->head().name())));
      }
    }
    co_return first;
  }

  // What could be sealed is recorded as such, whatever became of the rest.
  Task<Result<>> finish() {
    if (steps_.empty()) co_return Result<>();
    Result<> first;
    std::vector<std::string> unsealed;
    for (const auto& step : steps_) {
      if (step->sealed()) continue;
      unsealed.push_back(step->old_head().name());
      if (first) first = step->sealed();
    }
    auto recorded = co_await graph_.state().record_done(intent_, std::move(unsealed));
    if (!recorded && first) {
      first = base::fail(std::move(recorded).error().with_context(
          fmt::format("The snapshot was taken and node '{}' is in use, but that could not be "
                      "recorded",
                      steps_.front()->overlay().name())));
    }
    co_return first;
  }

  Graph& graph_;
  const Graph::Claim& claim_;
  Patience& patience_;
  std::vector<std::unique_ptr<SnapshotStep>> steps_;
  std::vector<std::unique_ptr<InternalSnapshotStep>> internal_;
  std::vector<InternalSnapshotStep*> armed_;  // until they are taken
  uint64_t intent_ = 0;
};

// The shortest of all.
std::optional<async::Duration> deadline_of(const std::vector<TransactionAction>& actions) {
  std::optional<async::Duration> shortest;
  for (const TransactionAction& action : actions) {
    const auto* request = std::get_if<SnapshotRequest>(&action);
    if (request == nullptr || !request->deadline) continue;
    shortest = shortest ? std::min(*shortest, *request->deadline) : *request->deadline;
  }
  return shortest;
}

// A transaction that may outlive the command that asked for it.
struct Shared {
  Patience patience;
  std::optional<TransactionOutcome> outcome;
  async::Event done;
  async::CancelSource in_time;
};

Task<void> run_shared(Graph& graph, std::shared_ptr<Shared> shared,
                      std::vector<TransactionAction> actions) {
  {
    const Graph::Claim claim = co_await graph.claim(names_in(actions));
    Transaction transaction(graph, claim, shared->patience);
    shared->outcome = co_await transaction.run(std::move(actions));
  }
  shared->done.set();
  shared->in_time.cancel();
}

Task<TransactionOutcome> run_with_deadline(Graph& graph, std::vector<TransactionAction> actions,
                                           async::Duration deadline) {
  const auto shared = std::make_shared<Shared>();
  graph.leftovers().spawn(run_shared(graph, shared, std::move(actions)));
  if (!shared->done.is_set()) {
    (void)co_await async::Loop::current().sleep_for(deadline, shared->in_time.token());
  }
  if (!shared->done.is_set() && shared->patience.give_up()) {
    const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(deadline).count();
    co_return TransactionOutcome{
        base::fail(base::Error(ErrorKind::kTimedOut,
                               fmt::format("The snapshot was not ready within {} ms", ms))
                       .with_hint("nothing has changed; what was begun is being undone")),
        {},
        {}};
  }
  co_await shared->done.wait();
  co_return *std::move(shared->outcome);
}

}  // namespace

Task<TransactionOutcome> run_transaction(Graph& graph, std::vector<TransactionAction> actions) {
  if (const auto deadline = deadline_of(actions)) {
    co_return co_await run_with_deadline(graph, std::move(actions), *deadline);
  }
  const Graph::Claim claim = co_await graph.claim(names_in(actions));
  co_return co_await run_transaction_claimed(graph, claim, std::move(actions));
}

Task<TransactionOutcome> run_transaction_claimed(Graph& graph, const Graph::Claim& claim,
                                                 std::vector<TransactionAction> actions) {
  Patience patience;
  Transaction transaction(graph, claim, patience);
  co_return co_await transaction.run(std::move(actions));
}

}  // namespace firn::block
