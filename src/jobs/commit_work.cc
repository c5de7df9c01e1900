#include "jobs/commit_work.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/canary.h"
#include "base/log.h"
#include "base/units.h"
#include "block/permissions.h"

namespace firn::jobs {

using base::ErrorKind;
using block::EdgeRole;
using block::Node;
namespace permission = block::permission;

namespace {

constexpr uint64_t kBudgetBytes = 4 * base::kMiB;
constexpr uint64_t kMinBudgetBytes = 64 * base::kKiB;
// So much may be left to copy while guests are held back.
constexpr uint64_t kLastBytes = base::kMiB;
constexpr int kCatchUpRounds = 16;
constexpr auto kHoldPatience = std::chrono::seconds(5);
constexpr auto kRetryPause = std::chrono::milliseconds(100);
constexpr auto kReadyPause = std::chrono::milliseconds(50);

std::unexpected<base::Error> busy(const Node& node, std::string_view reason) {
  return base::fail(ErrorKind::kBusy, fmt::format("Node '{}' is busy: {}", node.name(), reason));
}

}  // namespace

CommitWork::CommitWork(block::Graph& graph, std::string job_id, CommitPlan plan)
    : graph_(graph),
      reason_("block device is in use by block job: commit"),
      plan_(std::move(plan)),
      reader_(fmt::format("block job '{}'", job_id)),
      writer_(fmt::format("block job '{}'", job_id)),
      copy_(*plan_.top, *plan_.base, reader_, writer_) {}

CommitWork::~CommitWork() { CHECK(!acquired_); }

// Before the start -------------------------------------------------------------------------------

// Home loop, as all of its private tasks but those that say otherwise.
Result<> CommitWork::check_layers() const {
  TRY(block::LayerDrop::check_users({.top = *plan_.top, .base = *plan_.base, .backing_file = ""}));
  std::vector<Node*> all = block::layers_above(*plan_.top, *plan_.base);
  all.push_back(plan_.base);
  for (const Node* node : all) {
    if (const std::string blocker = node->blocked_by(); !blocker.empty())
      return busy(*node, blocker);
    const Node* unsealed = node->seal_failed ? node : node->unsealed_below;
    if (unsealed != nullptr && node != plan_.base) {
      return busy(*node,
                  fmt::format("the snapshot below it is unsealed (node '{}')", unsealed->name()));
    }
    if (node->seal_failed) return busy(*node, "it could not be sealed");
  }
  return plan_.active ? check_head_users() : Result<>();
}

// Guests' requests are counted where they come in, and only there seen.
Result<> CommitWork::check_head_users() const {
  for (const block::Edge* edge : plan_.top->parents()) {
    if (edge->role() == EdgeRole::kRoot) continue;
    return busy(*plan_.top,
                fmt::format("node is used as {} of '{}'", edge->name(), edge->parent()->name()));
  }
  return {};
}

Task<Result<>> CommitWork::open_base() {
  CO_TRY(check_layers());
  layers_ = block::layers_above(*plan_.top, *plan_.base);
  access_ = CO_TRY(co_await block::WriteAccess::take(*plan_.base));
  // Nobody who reads through the layers sees what is written: they shadow it.
  layers_.back()->children().backing.set_also_shared(permission::kWrite | permission::kResize);
  co_return Result<>();
}

// Control loop.
Task<Result<>> CommitWork::take_ends(const Claim& claim) {
  constexpr block::Permissions kWriting =
      permission::kConsistentRead | permission::kWrite | permission::kResize;
  constexpr block::Permissions kOthers = permission::kConsistentRead | permission::kWriteUnchanged;
  CO_TRY(co_await graph_.attach_claimed(writer_, *plan_.base, kWriting, kOthers, claim));
  co_return co_await graph_.attach_claimed(reader_, *plan_.top, permission::kConsistentRead,
                                           permission::kAll, claim);
}

Task<void> CommitWork::mark() {
  for (Node* node : layers_) {
    node->block(reason_);
    if (node != plan_.top) node->in_flux = true;
  }
  plan_.base->block(reason_);
  plan_.base->in_flux = true;
  if (plan_.active) {
    tracker_ = std::make_unique<block::DirtyTracker>(
        *plan_.top, block::dirty_granularity_bytes(plan_.top->driver().size_bytes()));
  }
  co_return;
}

Task<Result<>> CommitWork::acquire(const Claim& claim) {
  CO_TRY(co_await graph_.record_writing({plan_.base}));
  CO_TRY(co_await async::call_on(home(), open_base()));
  auto taken = co_await take_ends(claim);
  if (!taken) {
    (void)co_await give_up(claim);
    co_return taken;
  }
  co_await async::call_on(home(), mark());
  acquired_ = true;
  co_return Result<>();
}

// Undoes open_base. The head that the base has become keeps it writable.
Task<Result<>> CommitWork::close_base() {
  tracker_.reset();
  if (acquired_) {
    for (Node* node : layers_) {
      node->unblock(reason_);
      node->in_flux = false;
    }
    plan_.base->unblock(reason_);
    plan_.base->in_flux = false;
  }
  if (writer_.edge()) writer_.edge().set_permissions(permission::kNone, permission::kAll);
  if (!layers_.empty() && layers_.back()->children().backing.child() == plan_.base) {
    layers_.back()->children().backing.set_also_shared(permission::kNone);
  }
  (void)block::update_permissions(*plan_.base);  // fewer wishes never conflict
  if (dropped_ && plan_.active) {
    access_.keep();
    co_return Result<>();
  }
  auto result = co_await access_.give_back();
  access_.keep();
  co_return result;
}

// Control loop.
Task<Result<>> CommitWork::give_up(const Claim&) {
  auto closed = co_await async::call_on(home(), close_base());
  co_await graph_.detach_claimed(reader_);
  co_await graph_.detach_claimed(writer_);
  co_return closed;
}

// Control loop. What nobody uses then closes with the last of the two.
Task<void> CommitWork::clean() {
  if (!acquired_) co_return;
  {
    const Claim claim = co_await graph_.claim({plan_.base->name()});
    if (auto closed = co_await async::call_on(home(), close_base()); !closed) {
      base::log_warning(fmt::format("node '{}' could not be made read-only after a commit: {}",
                                    plan_.base->name(), closed.error().text()));
    }
    // What can't be recorded is made up for; until then a restart does not look at the file.
    (void)co_await graph_.record_sealed({plan_.base});
    acquired_ = false;
  }
  if (reader_.head() != nullptr) co_await graph_.detach(reader_);
  co_await graph_.detach(writer_);
}

// Copying ----------------------------------------------------------------------------------------
// Control loop: run() and what it calls.

Task<Result<>> CommitWork::run(Job& job) {
  CO_TRY_CONTEXT(co_await async::call_on(home(), grow_base()),
                 fmt::format("Could not resize node '{}'", plan_.base->name()));
  co_return plan_.active ? co_await copy_head(job) : co_await copy_layers(job);
}

// Home loop. Zeroes, as the layers above show what lies beyond the base's end.
Task<Result<>> CommitWork::grow_base() {
  const uint64_t wanted = plan_.top->driver().size_bytes();
  if (plan_.base->driver().size_bytes() >= wanted) co_return Result<>();
  co_return co_await plan_.base->driver().resize(wanted);
}

// Small where the speed is limited, so that it is kept to within a tenth of a second.
uint64_t CommitWork::budget(const Job& job) const {
  const auto speed = static_cast<uint64_t>(job.speed_bytes_per_s());
  return speed == 0 ? kBudgetBytes : std::clamp(speed / 10, kMinBudgetBytes, kBudgetBytes);
}

// Success: the step is to be done again.
Task<Result<>> CommitWork::handle(Job& job, const Step& step) {
  switch (job.handle_error(plan_.on_error, step.failed, *step.error)) {
    case ErrorAction::kReport:
      co_return base::fail(*step.error);
    case ErrorAction::kIgnore:  // nothing may be missing in the base, so it is tried again
      co_await job.sleep_for(kRetryPause);
      break;
    case ErrorAction::kStop:
      co_await job.pause_point();
      break;
  }
  co_return Result<>();
}

Task<Result<>> CommitWork::copy_layers(Job& job) {
  const uint64_t size = plan_.top->driver().size_bytes();  // sealed: it stays
  job.set_remaining(size);
  for (uint64_t at = 0; at < size && !job.is_cancelled();) {
    const Step step = co_await async::call_on(home(), copy_.copy_from(at, budget(job)));
    if (step.error) {
      CO_TRY(co_await handle(job, step));
      continue;
    }
    job.add_done(step.end - at);
    at = step.end;
    co_await job.throttle(step.copied_bytes);
  }
  switching_ = true;
  co_return Result<>();
}

Task<uint64_t> CommitWork::dirty_bytes() { co_return tracker_->map().dirty_bytes(); }

Task<Result<>> CommitWork::mark_all(Job& job) {
  const uint64_t size = plan_.top->driver().size_bytes();
  for (uint64_t at = 0; at < size && !job.is_cancelled();) {
    const Step step = co_await async::call_on(home(), copy_.mark_held(*tracker_, at));
    if (step.error) {
      CO_TRY(co_await handle(job, step));
      continue;
    }
    at = step.end;
    co_await job.throttle(0);
  }
  co_return Result<>();
}

Task<Result<>> CommitWork::copy_until_done(Job& job) {
  while (!job.is_cancelled()) {
    const Step step = co_await async::call_on(home(), copy_.copy_dirty(*tracker_, budget(job)));
    const uint64_t left = co_await async::call_on(home(), dirty_bytes());
    if (step.error) {
      CO_TRY(co_await handle(job, step));
      continue;
    }
    job.add_done(step.copied_bytes);
    job.set_remaining(left);
    co_await job.throttle(step.copied_bytes);
    if (left == 0 || job.cancel_requested() || (job.is_ready() && job.should_complete())) break;
  }
  co_return Result<>();
}

Task<Result<>> CommitWork::copy_head(Job& job) {
  CO_TRY(co_await mark_all(job));
  job.set_remaining(co_await async::call_on(home(), dirty_bytes()));
  while (!job.is_cancelled()) {
    CO_TRY(co_await copy_until_done(job));
    if (job.is_cancelled()) break;
    if (!job.is_ready()) job.set_ready();
    if (job.cancel_requested()) co_return co_await async::call_on(home(), flush_base());
    if (job.should_complete()) {
      switching_ = true;
      co_return Result<>();
    }
    co_await job.sleep_for(kReadyPause);
  }
  co_return Result<>();
}

// The end ----------------------------------------------------------------------------------------
// Control loop, unless a function says otherwise.

Task<Result<>> CommitWork::prepare() {
  if (!switching_) co_return Result<>();
  const Claim claim = co_await graph_.claim({plan_.base->name()});
  co_return plan_.active ? co_await make_base_head(claim) : co_await merge_layers(claim);
}

// Home loop.
Task<Result<>> CommitWork::flush_base() {
  if (base::canaries.commit_without_flush) co_return Result<>();
  auto flushed = co_await writer_.flush();
  if (flushed && plan_.base->flush_failed) {
    co_return base::fail(ErrorKind::kIo,
                         fmt::format("a flush of node '{}' failed meanwhile", plan_.base->name()));
  }
  co_return flushed;
}

// Home loop. A base that is larger than `top` would show its own data where larger overlays show
// zeroes, which is what lies beyond the end of `top`.
Task<Result<>> CommitWork::zero_tail() {
  uint64_t shown = 0;
  for (const block::Edge* edge : plan_.top->parents()) {
    if (edge->role() != EdgeRole::kBacking) continue;
    shown = std::max(shown, edge->parent()->driver().size_bytes());
  }
  const uint64_t end = std::min(shown, plan_.base->driver().size_bytes());
  co_return co_await copy_.zero(plan_.top->driver().size_bytes(), end);
}

Task<Result<>> CommitWork::merge_layers(const Claim& claim) {
  CO_TRY(co_await async::call_on(home(), zero_tail()));
  CO_TRY(co_await async::call_on(home(), flush_base()));
  block::LayerDrop drop(graph_, claim,
                        {.top = *plan_.top,
                         .base = *plan_.base,
                         .backing_file = plan_.backing_file,
                         .own = {&reader_, &writer_}});
  CO_TRY(co_await drop.prepare());
  auto intent = co_await graph_.state().record_intent(drop.change());
  if (!intent) {
    co_await drop.undo();
    co_return base::fail(std::move(intent).error());
  }
  if (auto written = co_await drop.rewrite_headers(); !written) {
    co_await drop.undo();
    (void)co_await graph_.state().forget_intent(*intent);
    co_return written;
  }
  co_await drop.pivot();
  co_return co_await end_drop(drop, *intent);
}

// The drop stands, whatever goes wrong here.
Task<Result<>> CommitWork::end_drop(block::LayerDrop& drop, uint64_t intent) {
  dropped_ = true;
  auto result = co_await drop.finish();
  std::erase_if(layers_, [&](Node* node) {
    return std::ranges::find(drop.closing(), node) != drop.closing().end();
  });
  if (auto closed = co_await drop.close(); !closed) {
    base::log_warning(
        fmt::format("a layer that was committed into node '{}' did not close cleanly: "
                    "{}",
                    plan_.base->name(), closed.error().text()));
  }
  auto recorded = co_await graph_.state().record_done(intent, {});
  if (!recorded && result) result = std::move(recorded);
  if (result) co_return result;
  co_return base::fail(std::move(result).error().with_context(
      fmt::format("The layers were committed into node '{}' and have left the chain, but",
                  plan_.base->name())));
}

Task<Result<>> CommitWork::make_base_head(const Claim& claim) {
  CO_TRY(co_await async::call_on(home(), catch_up()));
  block::LayerDrop drop(
      graph_, claim,
      {.top = *plan_.top, .base = *plan_.base, .backing_file = "", .own = {&reader_, &writer_}});
  CO_TRY(co_await drop.prepare());
  auto ready = co_await async::call_on(home(), hold_users());
  if (!ready) {
    co_await drop.undo();
    co_return ready;
  }
  auto intent = co_await graph_.state().record_intent(drop.change());
  if (!intent) {
    co_await async::call_on(home(), let_users_go());
    co_await drop.undo();
    co_return base::fail(std::move(intent).error());
  }
  co_await async::call_on(home(), pivot(drop));
  co_return co_await end_drop(drop, *intent);
}

// From here on on the home loop. Brings what is left down to little, while guests go on; who writes
// faster than it copies is held back in the end.
Task<Result<>> CommitWork::catch_up() {
  CO_TRY(check_head_users());
  for (int round = 0; round < kCatchUpRounds; ++round) {
    const uint64_t left = tracker_->map().dirty_bytes();
    if (left == 0) break;
    const Step step = co_await copy_.copy_dirty(*tracker_, left);
    if (step.error) co_return base::fail(*step.error);
    if (left <= kLastBytes) break;
  }
  co_return co_await flush_base();
}

Task<Result<>> CommitWork::hold_users() {
  for (const block::Edge* edge : plan_.top->parents()) {
    if (edge->root() == nullptr || edge->root() == &reader_) continue;
    edge->root()->gate().close();
    held_.push_back(edge->root());
  }
  auto result = co_await copy_the_rest();
  if (!result) co_await let_users_go();
  co_return result;
}

// With the gates closed: nothing is in flight any more, so that no copy misses a write.
Task<Result<>> CommitWork::copy_the_rest() {
  if (!base::canaries.commit_pivot_without_drain) {
    const async::TimePoint deadline = async::Loop::current().now() + kHoldPatience;
    for (block::Root* root : held_) {
      if (co_await root->drain_until(deadline)) continue;
      co_return base::fail(
          base::Error(ErrorKind::kBusy,
                      fmt::format("{} has requests in flight on node '{}' that do not end",
                                  root->edge().parent_text(), plan_.top->name()))
              .with_hint("the chain is as it was; start the job again"));
    }
    CHECK(!plan_.top->has_mutations());
  }
  while (!tracker_->map().empty()) {
    const Step step = co_await copy_.copy_dirty(*tracker_, UINT64_MAX);
    if (step.error) co_return base::fail(*step.error);
  }
  co_return co_await flush_base();
}

Task<void> CommitWork::let_users_go() {
  for (block::Root* root : std::exchange(held_, {})) root->gate().open();
  co_return;
}

Task<void> CommitWork::pivot(block::LayerDrop& drop) {
  tracker_.reset();
  // A base that nobody opened by itself serves as the head did.
  if (!graph_.is_added(*plan_.base)) plan_.base->take_request_options(plan_.top->options());
  drop.pivot_now();
  co_await let_users_go();
}

}  // namespace firn::jobs
