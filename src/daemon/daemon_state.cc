// Daemon: what --state adds to the start.
#include <fmt/format.h>

#include <utility>

#include "api/codec.h"
#include "base/json.h"
#include "daemon/chardev_options.h"
#include "daemon/daemon.h"
#include "daemon/restore.h"

namespace firn::daemon {

namespace kind = state::kind;
using async::Task;
using base::ErrorKind;
using base::fail;
using base::Result;

namespace {

template <typename T>
Result<T> decode(const state::Thing& thing) {
  return api::decode_as<T>(TRY(base::parse_json(thing.definition)), api::InputMode::kJson);
}

// Nothing that a restart brings back waits for a client: the disks come first.
void wait_for_nobody(api::ChardevAddArgs& args) {
  if (auto* socket = std::get_if<api::ChardevSocketWrapper>(&args.backend.u)) {
    if (socket->data.wait) socket->data.wait = false;
  }
}

}  // namespace

Task<Result<>> Daemon::restore(const std::vector<Option>& options) {
  if (!recorder_->has_store()) {
    restored_ = true;
    co_return Result<>();
  }
  contents_ = CO_TRY(co_await recorder_->store().recover());
  StateOptions judge(recorder_->store().path(), contents_);
  for (const Option& option : options) {
    StateOption known = CO_TRY_CONTEXT(read_state_option(option), option.shown());
    const auto verdict = CO_TRY_CONTEXT(judge.judge(known), option.shown());
    judged_.push_back({std::move(known), verdict});
  }
  // A first start that was cut short waits for its options: without them it is not completed.
  const bool is_new = contents_.nodes.empty() && contents_.things.empty();
  completes_ = !contents_.complete && (is_new || !options.empty());
  CO_TRY(co_await restore_graph(*graph_, recorder_->store(), contents_));
  restored_ = true;
  recorder_->begin(contents_);
  for (const state::Thing& thing : contents_.things) {
    if (thing.kind != kind::kChardev && thing.kind != kind::kServer) continue;
    CO_TRY_CONTEXT(co_await while_busy([&] { return restore_thing(thing); }),
                   fmt::format("{} '{}'", thing.kind, thing.id));
  }
  co_return Result<>();
}

Task<Result<>> Daemon::record(std::string_view command, base::JsonValue arguments, bool succeeded) {
  if (succeeded) CO_TRY(co_await job_recorder_.note(command, arguments));
  co_return co_await recorder_->note(command, std::move(arguments), succeeded);
}

Task<Result<>> Daemon::restore_thing(const state::Thing& thing) {
  const DescriptorLookup none = [](std::string_view name) -> Result<int> {
    return fail(ErrorKind::kNotFound,
                fmt::format("descriptor '{}' ended with the daemon that had it", name));
  };
  if (thing.kind == kind::kServer) {
    if (thing.id == "--nbd-server") {
      co_return co_await commands_.modules()->block_export.start_server(
          CO_TRY(decode<api::NbdServerOptions>(thing)), none);
    }
    co_return co_await commands_.modules()->block_export.nbd_server_start(
        CO_TRY(decode<api::NbdServerStartArgs>(thing)));
  }
  if (thing.kind == kind::kMonitor) {
    co_return monitors_.add_monitor(CO_TRY(decode<api::MonitorOptions>(thing)));
  }
  auto args = CO_TRY(decode<api::ChardevAddArgs>(thing));
  wait_for_nobody(args);
  co_return co_await commands_.modules()->chardev.add_option(
      {.id = args.id, .spec = CO_TRY(chardev_spec(args.backend, none))});
}

Task<Result<>> Daemon::finish_restore() {
  if (!recorder_->has_store()) co_return Result<>();
  CO_TRY(co_await restore_exports(exports_, contents_));
  recorder_->begin_exports();
  for (const state::Thing& thing : contents_.things) {
    if (thing.kind != kind::kMonitor) continue;
    CO_TRY_CONTEXT(co_await restore_thing(thing), fmt::format("monitor '{}'", thing.id));
  }
  for (const Option& option : std::exchange(late_options_, {})) {
    CO_TRY_CONTEXT(co_await run_action(option), option.shown());
  }
  CO_TRY(co_await job_recorder_.restore(contents_, commands_));
  CO_TRY(co_await recorder_->sync());
  if (completes_) {
    state::Store::Update update;
    update.complete();
    CO_TRY(co_await recorder_->store().write(std::move(update)));
  }
  co_return Result<>();
}

// What an option makes is recorded before the option is: a start that is cut short between the two
// finds it there.
Task<Result<>> Daemon::carry_out_once(const Option& option) {
  if (judged_.empty()) co_return co_await run_action(option);
  auto [known, verdict] = std::move(judged_.front());
  judged_.pop_front();
  if (verdict == StateOptions::Verdict::kSkip) co_return Result<>();
  if (option.kind == OptionKind::kMonitor && contents_.complete) {
    late_options_.push_back(option);
    co_return Result<>();
  }
  CO_TRY(co_await run_action(option));
  if (verdict == StateOptions::Verdict::kBound) co_return Result<>();
  if (known.thing) CO_TRY(co_await recorder_->put(*std::move(known.thing)));
  CO_TRY(co_await recorder_->sync());
  state::Store::Update update;
  update.add(std::move(known.record));
  co_return co_await recorder_->store().write(std::move(update));
}

}  // namespace firn::daemon
