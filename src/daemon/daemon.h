// Daemon: everything that firnd is made of, from the command line's actions to the orderly end.
#pragma once

#include <deque>
#include <memory>
#include <string>

#include "async/runtime.h"
#include "async/sync.h"
#include "async/task.h"
#include "base/result.h"
#include "block/graph.h"
#include "chardev/chardevs.h"
#include "chardev/listen_fds.h"
#include "daemon/audit_log.h"
#include "daemon/client_commands.h"
#include "daemon/exports.h"
#include "daemon/handlers.h"
#include "daemon/handlers_diff.h"
#include "daemon/job_events.h"
#include "daemon/job_handlers.h"
#include "daemon/job_recorder.h"
#include "daemon/monitors.h"
#include "daemon/options.h"
#include "daemon/recorder.h"
#include "daemon/state_options.h"
#include "daemon/stats_handlers.h"
#include "jobs/job_list.h"
#include "qmp/commands.h"
#include "qmp/events.h"
#include "state/store.h"

namespace firn::daemon {

// The formats, protocols and null devices of this program.
block::Registry make_registry();

// Belongs to the control loop.
class Daemon final {
 public:
  // `store` is what --state names, or null. Errors: those of Graph::create, and of opening the
  // audit log; the store is closed then.
  static async::Task<base::Result<std::unique_ptr<Daemon>>> create(
      async::Runtime& runtime, const Options& options,
      std::unique_ptr<state::Store> store = nullptr);
  ~Daemon();  // stopped

  // Begins the audit log, if there is one. Called before the first carry_out(). An error is the
  // end.
  async::Task<base::Result<>> start_audit();

  // Brings back what the state remembers: what can be there before the options, and what comes
  // after them (exports, whose server an option may have brought; monitors, whose clients find
  // all of it). Both do nothing without --state.
  // `options` are those that carry_out() will be called with, in their order: an option that the
  // state forbids is refused before anything is opened.
  async::Task<base::Result<>> restore(const std::vector<Option>& options);
  async::Task<base::Result<>> finish_restore();

  // Carries one option of the command line out, unless the state has it already. Errors are
  // complete: "--blockdev TEXT: ...".
  async::Task<base::Result<>> carry_out(Option option);

  // The daemon's own, which nobody's role bounds.
  qmp::Commands& commands() { return commands_; }
  qmp::EventHub& events() { return events_; }

  // The wish to end, by a signal or by the command `quit`. Whoever waits at startup is released.
  void ask_to_end();
  async::Task<void> wait_for_end() { return end_.wait(); }
  bool end_is_asked() const { return end_.is_set(); }

  // In order: no more commands, exports closed, images flushed and closed, monitors closed, the
  // audit log written. Called once, after carry_out has returned. The first error of closing an
  // image.
  async::Task<base::Result<>> stop();

 private:
  async::Task<void> drain_monitors(async::CancelSource& drained);
  Daemon(std::unique_ptr<Recorder> recorder, std::unique_ptr<block::Graph> graph,
         std::unique_ptr<AuditLog> audit, chardev::InheritedSockets inherited_sockets);
  async::Task<base::Result<>> carry_out_once(const Option& option);
  async::Task<base::Result<>> run_action(const Option& option);
  async::Task<base::Result<>> record(std::string_view command, base::JsonValue arguments,
                                     bool succeeded);
  async::Task<base::Result<>> restore_thing(const state::Thing& thing);
  std::unique_ptr<ClientModules> make_modules();
  // For the command line: of the sockets that the daemon was started with, any by its number.
  DescriptorLookup inherited_by_number();

  std::unique_ptr<AuditLog> audit_;  // null without --audit
  std::unique_ptr<Recorder> recorder_;
  state::Contents contents_;  // as the state was at the start
  struct Judged {
    StateOption option;
    StateOptions::Verdict verdict;
  };
  std::deque<Judged> judged_;         // the options that are still to come
  std::vector<Option> late_options_;  // monitors that come when all is there
  bool completes_ = false;            // this is the first start with the state, or its rest
  bool restored_ = false;             // the graph is as the state has it
  std::unique_ptr<block::Graph> graph_;
  async::Event end_;
  async::CancelSource startup_;
  qmp::EventHub events_;
  Exports exports_;
  BlockHandlers block_handlers_;
  DeviceHandlers device_handlers_;
  BlockSnapshotHandlers block_snapshot_handlers_;
  RevertHandlers revert_handlers_;
  ReopenHandlers reopen_handlers_;
  DiffHandlers diff_handlers_;
  TransactionHandlers transaction_handlers_;
  ObjectHandlers object_handlers_;
  JobEvents job_events_;
  jobs::JobList jobs_;
  JobRecorder job_recorder_;
  JobHandlers job_handlers_;
  BlockJobHandlers block_job_handlers_;
  BlockCreateHandlers block_create_handlers_;
  BlockStatsHandlers block_stats_handlers_;
  chardev::InheritedSockets inherited_sockets_;
  chardev::Chardevs chardevs_;
  CommandContext context_;
  ClientCommands commands_;
  Monitors monitors_;
};

}  // namespace firn::daemon
