// Export: a node that clients may attach to by name.
//
// Its name and the count of its clients belong to the control loop; its root and the sessions
// belong to its home, the node's loop.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "async/loop.h"
#include "async/socket.h"
#include "async/sync.h"
#include "base/result.h"
#include "block/graph.h"
#include "block/root.h"
#include "exports/nbd/buffer_pool.h"
#include "exports/nbd/negotiation.h"
#include "exports/nbd/session.h"

namespace firn::nbd {

struct ExportOptions {
  std::string id;           // for error texts of others: "block export 'ID'"
  std::string name;         // what clients ask for; empty: the default export
  std::string description;  // for people
  bool writable = false;
  bool writethrough = false;      // every write is durable before it is answered
  bool allocation_depth = false;  // offer the context qemu:allocation-depth
};

class Export final {
 public:
  // Attaches to `node`: consistent reads, and writes if writable, shared with all others. On the
  // control loop. Errors: those of Graph::attach; "Cannot export read-only node as writable".
  static async::Task<base::Result<std::unique_ptr<Export>>> open(block::Graph& graph,
                                                                 block::Node& node,
                                                                 ExportOptions options);
  ~Export();  // closed
  Export(const Export&) = delete;
  Export& operator=(const Export&) = delete;

  const ExportOptions& options() const { return options_; }
  uint64_t serial() const { return serial_; }  // never used again in this program
  async::Loop& home() const { return *home_; }
  // Any loop may name it, the home loop alone uses it: queries of statistics, for instance.
  block::Root& root() { return root_; }

  // Control loop. -------------------------------------------------------------------------------

  size_t client_count() const { return client_count_; }

  // What a client is told; hops home.
  async::Task<ExportFacts> facts();

  // Serves a client that has agreed, on the home loop, until it is gone.
  async::Task<void> serve(std::unique_ptr<async::Stream> stream, Agreement agreement);

  // Disconnects the clients, waits for their requests and gives the node up. Nobody calls facts()
  // or serve() from then on. Called once.
  async::Task<void> close();

 private:
  Export(block::Graph& graph, ExportOptions options);

  // Home loop. ----------------------------------------------------------------------------------
  async::Task<ExportFacts> facts_here();
  async::Task<void> serve_here(std::unique_ptr<async::Stream> stream, Agreement agreement);
  async::Task<void> disconnect_here();

  block::Graph& graph_;
  async::Loop* home_ = nullptr;
  const ExportOptions options_;
  const uint64_t serial_;
  block::Root root_;

  // Control loop.
  size_t client_count_ = 0;
  size_t user_count_ = 0;  // facts() and serve() under way
  async::WaitList unused_;
  bool closed_ = false;

  // Home loop.
  BufferPool pool_;
  std::vector<Session*> sessions_;
  bool disconnecting_ = false;
};

}  // namespace firn::nbd
