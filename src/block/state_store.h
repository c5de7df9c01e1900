// StateStore: what the daemon remembers across a crash. Snapshots go through it at the moments that
// matter.
#pragma once

#include <string>
#include <vector>

#include "async/task.h"
#include "base/result.h"

namespace firn::block {

// The new head that a device is about to have.
struct SnapshotIntent {
  std::string device;  // or empty
  std::string old_node;
  std::string overlay_node;
  std::string overlay_path;
  std::string overlay_format;
};

class StateStore {
 public:
  virtual ~StateStore() = default;
  // Durable before any gate of the group closes.
  virtual async::Task<base::Result<>> record_intents(std::vector<SnapshotIntent> intents) = 0;
  // The old heads are sealed; durable before the command replies.
  virtual async::Task<base::Result<>> record_sealed(std::vector<SnapshotIntent> intents) = 0;
  // Nothing came of it; durable before what was created is removed.
  virtual async::Task<base::Result<>> forget_intents(std::vector<SnapshotIntent> intents) = 0;
};

// Remembers nothing.
class NullStateStore final : public StateStore {
 public:
  async::Task<base::Result<>> record_intents(std::vector<SnapshotIntent>) override {
    co_return base::Result<>();
  }
  async::Task<base::Result<>> record_sealed(std::vector<SnapshotIntent>) override {
    co_return base::Result<>();
  }
  async::Task<base::Result<>> forget_intents(std::vector<SnapshotIntent>) override {
    co_return base::Result<>();
  }
};

}  // namespace firn::block
