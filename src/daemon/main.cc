// firnd: the storage daemon.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "async/runtime.h"
#include "async/scope.h"
#include "base/log.h"
#include "daemon/daemon.h"
#include "daemon/options.h"
#include "daemon/process.h"

namespace firn::daemon {
namespace {

using async::Task;
using base::Result;

int failed(const base::Error& error) {
  std::string text = fmt::format("firnd: {}\n", error.text());
  if (!error.hint().empty()) text += error.hint() + "\n";
  std::fputs(text.c_str(), stderr);
  return 1;
}

Task<void> end_on_signals(async::SignalSource& signals, Daemon& daemon) {
  while (co_await signals.wait() >= 0) daemon.ask_to_end();
}

// From the first action to "startup is complete".
Task<Result<>> start(Daemon& daemon, const Options& options, Background* background,
                     std::unique_ptr<Pidfile>& pidfile) {
  CO_TRY(co_await daemon.start_audit());
  CO_TRY(co_await daemon.restore(options.actions));
  for (const Option& action : options.actions) {
    CO_TRY(co_await daemon.carry_out(action));
    if (daemon.end_is_asked()) co_return Result<>();
  }
  CO_TRY(co_await daemon.finish_restore());
  if (options.pidfile) pidfile = CO_TRY(Pidfile::create(*options.pidfile));
  if (background != nullptr) CO_TRY(background->ready());
  co_return Result<>();
}

Task<int> serve(async::Runtime& runtime, async::SignalSource& signals, const Options& options,
                Background* background) {
  std::unique_ptr<state::Store> store;
  if (options.state) {
    auto opened = co_await state::Store::open(*options.state, state::posix_files());
    if (!opened) co_return failed(opened.error());
    store = *std::move(opened);
  }
  auto daemon = co_await Daemon::create(runtime, options, std::move(store));
  if (!daemon) co_return failed(daemon.error());
  async::TaskScope scope;
  scope.spawn(end_on_signals(signals, **daemon));
  std::unique_ptr<Pidfile> pidfile;
  int status = 0;
  auto started = co_await start(**daemon, options, background, pidfile);
  if (started) {
    co_await (*daemon)->wait_for_end();
  } else if (!(*daemon)->end_is_asked()) {
    status = failed(started.error());
  }
  auto stopped = co_await (*daemon)->stop();
  if (!stopped) status = failed(stopped.error());
  signals.close();
  co_await scope.join();
  co_return status;
}

Result<> check_daemonize(const Options& options) {
  if (!options.daemonize) return {};
  for (const Option& action : options.actions) {
    if (action.kind == OptionKind::kChardev && action.text.starts_with("stdio")) {
      return base::fail(base::ErrorKind::kInvalidArgument,
                        action.shown() + ": cannot use stdio with --daemonize");
    }
  }
  return {};
}

Result<int> run(const Options& options) {
  TRY(check_daemonize(options));
  std::unique_ptr<Background> background;
  if (options.daemonize) background = TRY(Background::start());
  async::block_signals();
  auto runtime = TRY(async::make_runtime());
  auto signals = TRY(async::make_signal_source(runtime->control_loop()));
  return async::run_until_done(*runtime, serve(*runtime, *signals, options, background.get()));
}

}  // namespace
}  // namespace firn::daemon

int main(int argc, char** argv) {
  using namespace firn;
  base::set_log_name("firnd");
  auto options = daemon::parse_options(std::vector<std::string>(argv + 1, argv + argc));
  if (!options) {
    int status = daemon::failed(options.error());
    std::fputs("Try 'firnd --help' for more information.\n", stderr);
    return status;
  }
  if (options->print_and_exit) {
    std::fputs(options->print_and_exit->c_str(), stdout);
    return std::fflush(stdout) == 0 ? 0 : 1;
  }
  auto sockets = chardev::InheritedSockets::from_environment();
  if (!sockets) return daemon::failed(sockets.error());
  options->inherited_sockets = *std::move(sockets);
  auto status = daemon::run(*options);
  return status ? *status : daemon::failed(status.error());
}
