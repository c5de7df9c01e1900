// Exports: the NBD server and what it offers, by the exports' ids.
//
// Belongs to the control loop. Every change may be awaited beside others.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "api/types.h"
#include "async/task.h"
#include "base/result.h"
#include "block/graph.h"
#include "exports/nbd/server.h"
#include "qmp/events.h"

namespace firn::daemon {

class Exports final {
 public:
  // Both outlive this. Removed exports are told to `events`.
  Exports(block::Graph& graph, qmp::EventHub& events) : graph_(graph), events_(events) {}
  ~Exports();  // closed
  Exports(const Exports&) = delete;
  Exports& operator=(const Exports&) = delete;

  // Errors: "NBD server already running", and those of listening.
  async::Task<base::Result<>> start_server(nbd::ServerOptions options);
  // start_server's first error, for those who have something to lose by it.
  base::Result<> check_no_server() const;
  // Its exports go with it. Errors: "NBD server not running".
  async::Task<base::Result<>> stop_server();

  // Errors, in this order: the id, the node, the I/O thread, the server, the name.
  async::Task<base::Result<>> add(api::BlockExportOptions options);
  // The older form: the id is the name, and a node that is read-only is exported read-only.
  async::Task<base::Result<>> add_nbd(api::NbdServerAddOptions options);
  // Returns when the node is free. Errors: "Export 'x' is not found", "export 'x' still in use".
  async::Task<base::Result<>> remove(std::string id, nbd::RemoveMode mode);

  async::Task<base::Result<std::vector<api::BlockExportInfo>>> list();

  // For the state: those that are open, oldest first.
  std::vector<std::string> ids() const;
  // How it was asked for, as JSON; the node or device that it was asked for. Of one that is gone:
  // empty.
  std::string definition(const std::string& id) const;
  std::string node_name(const std::string& id) const;
  // The node that it serves now. The caller holds a claim on the chain. Empty if it is gone, or
  // about to go.
  async::Task<std::string> head_name(std::string id);

  // Stops the server if there is one.
  async::Task<void> close();

 private:
  struct Entry {
    uint64_t number = 0;              // they are listed newest first, as QEMU does
    std::string name;                 // what clients ask for
    std::string node_name;            // as it was asked for
    std::string definition;           // all of it, as JSON
    nbd::Export* exported = nullptr;  // null until it is open
    bool shutting_down = false;
  };

  base::Result<> check_new_id(const std::string& id) const;
  async::Task<base::Result<block::Node*>> find_node(const api::BlockExportOptions& options);
  void forget(const std::string& id);

  block::Graph& graph_;
  qmp::EventHub& events_;
  std::unique_ptr<nbd::Server> server_;
  bool starting_ = false;
  uint64_t last_number_ = 0;
  std::map<std::string, Entry, std::less<>> entries_;
};

}  // namespace firn::daemon
