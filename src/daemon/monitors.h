// Monitors: each sits on a character device, which brings its clients.
//
// Belongs to the control loop.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "api/types.h"
#include "async/task.h"
#include "base/result.h"
#include "chardev/chardevs.h"
#include "daemon/client_commands.h"
#include "qmp/events.h"
#include "qmp/memory_budget.h"
#include "qmp/monitor.h"

namespace firn::daemon {

class Monitors final {
 public:
  // All outlive this.
  Monitors(CommandContext& context, qmp::EventHub& events, chardev::Chardevs& chardevs)
      : context_(context), events_(events), chardevs_(chardevs) {}
  Monitors(const Monitors&) = delete;
  Monitors& operator=(const Monitors&) = delete;

  // Serves clients from then on. Errors: `chardev "c" not found`, "Device 'c' is in use", and
  // those of check_access_options.
  base::Result<> add_monitor(const api::MonitorOptions& options);

  // The monitors and their clients, for query-monitors.
  std::vector<api::MonitorInfo> describe(const ClientCommands& self) const;

  // As qmp::Monitor's, for all of them beside each other; no further client comes.
  async::Task<void> drain(async::Duration patience);
  // Closes the character devices too.
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
  chardev::Chardevs& chardevs_;
  qmp::MemoryBudget budget_;  // of all clients together
  std::vector<Entry> monitors_;
};

}  // namespace firn::daemon
