// WriteAccess: a read-only layer of a chain is written to for a while, and is read-only again
// after. A commit's base, and an overlay whose header is to name another backing file.
//
// Readers of the node go on throughout.
#pragma once

#include <vector>

#include "block/node.h"

namespace firn::block {

class WriteAccess final {
 public:
  WriteAccess() = default;  // of no node
  // Given back, or kept.
  ~WriteAccess();
  WriteAccess(WriteAccess&& other) noexcept;
  WriteAccess& operator=(WriteAccess&& other) noexcept;

  // Home loop of the node, for who holds the claim on its chain. Reopens `node` and the nodes of
  // its bytes for writing and takes the image locks of a writer; of a node that is writable already
  // it takes nothing, and gives nothing back. Errors leave everything as it was: the file's ("Could
  // not open ...: Permission denied"), kBusy (`Failed to get "write" lock`), kReadOnly for a node
  // with force-share.
  static Task<Result<WriteAccess>> take(Node& node);

  // Home loop, with the claim. Waits for mutating requests, flushes, closes the image as one that
  // is only read and gives up the writer's locks. After an error the node stays writable; what
  // could not be made durable is then what the error says.
  Task<Result<>> give_back();
  // The node stays writable.
  void keep() { opened_.clear(); }

 private:
  static Task<Result<>> open(Node& node, std::vector<Node*>& opened);
  static Task<void> undo(std::vector<Node*> opened);

  std::vector<Node*> opened_;  // children before parents; empty: nothing to give back
};

}  // namespace firn::block
