// StateStore: what the daemon remembers of its graph across a crash. Every change of the graph that
// a restart must know of goes through it: snapshots, reverts, forks, commits, changed backing
// files.
//
// A change is recorded as an intent before anything of it shows, and ends in one of two ways: it is
// done, or it came to nothing. An intent that is there after a crash is carried out at the start.
// Therefore it is recorded only when all that it rests on is durable: an overlay that was prepared
// and synced reads the same as the old head, and a base that a commit has flushed reads the same as
// the layers above it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "async/task.h"
#include "base/result.h"
#include "block/types.h"

namespace firn::block {

// One change of the graph; all of it happens, or nothing. Nodes are named by their node-names; made
// up names ("#block12") count, since the store gives the same ones to the same nodes after a
// restart.
struct GraphChange {
  // A node that joins the graph, with a plain file or block device below it.
  struct NewNode {
    std::string name;
    std::string format;     // "qcow2"
    std::string path;       // absolute; of its `file` child
    std::string protocol;   // of its `file` child: "file", "host_device"
    std::string file_name;  // the `file` child's node-name
    NodeOptions options;
    std::string backing_node;  // empty: none
    std::string io_thread;     // where it lives; empty: the default I/O loop
  };
  // All users of `from` (devices, exports, filters; not overlays) use `to` from now on.
  struct MovedUsers {
    std::string from;
    std::string to;
    std::string device;  // one that is among them, for people; may be empty
  };
  // The overlay's backing child, and what its header names, is another.
  struct NewBacking {
    std::string overlay;
    std::string backing_node;  // empty: none
    // What the header is to say; empty: it stays as it is.
    std::string backing_file;
    std::string backing_format;
  };
  // A device that begins, with its head.
  struct NewDevice {
    std::string id;
    std::string node;
  };
  std::vector<NewNode> added;
  std::vector<NewDevice> devices;
  std::vector<MovedUsers> moved;
  std::vector<NewBacking> backings;
  // Sealed layers that are about to be written to (the base of a commit): from the intent on a
  // restart does not take it for damage that their files change. Those that are sealed again name
  // themselves in the `to_seal` of a later change.
  std::vector<std::string> to_write;
  std::vector<std::string> to_seal;  // become read-only and durable
  std::vector<std::string> removed;  // leave the graph; their files stay
};

// Called on the control loop. Each call is durable when it completes.
class StateStore {
 public:
  virtual ~StateStore() = default;
  // Before any gate closes. The number names the intent in the calls below. After an error nothing
  // is recorded.
  virtual async::Task<base::Result<uint64_t>> record_intent(GraphChange change) = 0;
  // All of it has happened, but for the nodes of `to_seal` that could not be sealed: of these the
  // intent is kept. Before the command replies.
  virtual async::Task<base::Result<>> record_done(uint64_t intent,
                                                  std::vector<std::string> unsealed) = 0;
  // A node that record_done left unsealed is sealed after all. Before the command replies.
  virtual async::Task<base::Result<>> record_sealed(std::string node) = 0;
  // Nothing came of it. Before what was created for it is removed.
  virtual async::Task<base::Result<>> forget_intent(uint64_t intent) = 0;
};

// Remembers nothing.
class NullStateStore final : public StateStore {
 public:
  async::Task<base::Result<uint64_t>> record_intent(GraphChange) override {
    co_return base::Result<uint64_t>(0);
  }
  async::Task<base::Result<>> record_done(uint64_t, std::vector<std::string>) override {
    co_return base::Result<>();
  }
  async::Task<base::Result<>> record_sealed(std::string) override { co_return base::Result<>(); }
  async::Task<base::Result<>> forget_intent(uint64_t) override { co_return base::Result<>(); }
};

}  // namespace firn::block
