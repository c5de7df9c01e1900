// Monitors: the character devices and the monitors on them.
//
// Belongs to the control loop.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "api/types.h"
#include "async/task.h"
#include "base/result.h"
#include "daemon/chardev.h"
#include "daemon/client_commands.h"
#include "qmp/events.h"
#include "qmp/memory_budget.h"
#include "qmp/monitor.h"

namespace firn::daemon {

class Monitors final {
 public:
  // Both outlive this.
  Monitors(CommandContext& context, qmp::EventHub& events) : context_(context), events_(events) {}
  Monitors(const Monitors&) = delete;
  Monitors& operator=(const Monitors&) = delete;

  // Errors: "Duplicate ID 'c' for chardev", and those of open_chardev.
  async::Task<base::Result<>> add_chardev(ChardevSpec spec, async::CancelToken cancel);
  // Serves clients from then on. Errors: `chardev "c" not found`, "Device 'c' is in use", and
  // those of check_access_options.
  base::Result<> add_monitor(const api::MonitorOptions& options);

  // The monitors and their clients, for query-monitors.
  std::vector<api::MonitorInfo> describe(const ClientCommands& self) const;

  // As qmp::Monitor's, for all of them beside each other.
  async::Task<void> drain(async::Duration patience);
  async::Task<void> close();

 private:
  struct Entry {
    std::string id;
    api::MonitorOptions options;
    std::unique_ptr<qmp::Monitor> monitor;
  };
  qmp::ClientFactory client_factory(std::string id, const api::MonitorOptions& options);

  CommandContext& context_;
  qmp::EventHub& events_;
  std::map<std::string, std::unique_ptr<Chardev>, std::less<>> chardevs_;
  qmp::MemoryBudget budget_;  // of all clients together
  std::vector<Entry> monitors_;
};

}  // namespace firn::daemon
