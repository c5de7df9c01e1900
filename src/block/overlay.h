// An overlay on its way into a chain: its file made or taken over, its image laid out, opened
// without its backing, checked and locked; or undone without a trace. The part of a snapshot that
// may fail.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "block/permissions.h"
#include "block/registry.h"
#include "block/snapshot.h"
#include "block/space_guard.h"

namespace firn::block {

// A file that some node of the graph has open.
struct FileInUse {
  std::string node_name;
  async::FileStat stat;
};

struct OverlayPlan {
  const Registry& registry;
  Node& below;       // the old head
  std::string path;  // as it was asked for
  std::string format;
  std::string node_name;  // empty: made up
  SnapshotMode mode = SnapshotMode::kAbsolutePaths;
  Graph::CreateOptions create_options;
  // What the overlay is opened with, and what its users will do; not set: as `below`.
  std::optional<NodeOptions> options;
  std::optional<PermissionSet> users;
  SpaceReserve reserve;    // of the overlay's store
  bool may_exist = false;  // false: a file that is there is somebody's of this very moment
  std::vector<FileInUse> files_in_use;  // where it may exist: all that are open here
};

// `filename` without the prefix "file:".
std::string plain_path(std::string filename);

// True if both are one file, or one block device.
bool is_same_file(const async::FileStat& a, const async::FileStat& b);

// Everything here runs on the home loop of `below`.
class PreparedOverlay {
 public:
  // Errors: QEMU's texts; kOpenFileFailed with data filename for whatever is wrong with the file,
  // kInvalidBlockFormat with data name for an unknown format. Nothing is left behind; where an
  // existing file had been taken over already, the error says that its content is gone.
  static Task<Result<std::unique_ptr<PreparedOverlay>>> prepare(OverlayPlan plan);
  // Whether a node of the graph may become the overlay; on its own home loop. Errors: those of
  // blockdev-snapshot ("The overlay is already in use", ...), and a node smaller than `below`.
  static Task<Result<>> check_node(Node& overlay, Node& below, const Registry& registry);
  // The same as prepare, of a node that passed: it stays what it is when it is discarded.
  static Task<Result<std::unique_ptr<PreparedOverlay>>> take_over(Node& overlay, Node& below,
                                                                  const Registry& registry);
  ~PreparedOverlay();  // handed over or discarded

  Node& top() { return *tree_.top; }
  const std::string& path() const { return path_; }  // absolute

  // The overlay's side of the pivot: from here on its users are those of the old head, whose locks
  // were taken in prepare. No I/O, no waiting.
  void stand_in();
  // For Graph::adopt. What it does not take is still to be discarded.
  OpenedTree& tree() { return tree_; }

  // Closes what was opened and removes what was created.
  Task<void> discard();
  // What was created stays.
  void keep_file() { created_ = false; }

 private:
  explicit PreparedOverlay(OverlayPlan plan);
  Task<Result<>> run();
  Task<Result<const DriverEntry*>> check_format() const;
  Task<Result<>> find_path();
  Task<Result<>> verify_backing_path() const;
  Task<Result<>> check_not_in_use(const async::FileStat& stat) const;
  Result<> check_layout(const DriverEntry& format) const;
  Task<Result<>> check_target(const async::FileStat* existing) const;
  DriverEntry::CreateRequest create_request() const;
  Task<Result<>> make_file();
  Task<Result<>> open_file();
  Task<Result<>> lay_out(const DriverEntry& format, bool existed);
  Task<Result<>> open_image();
  Task<Result<>> check_existing_image();
  Task<Result<>> take_permissions();
  base::Error explain(base::Error error) const;

  OverlayPlan plan_;
  std::string path_;
  std::string directory_;
  OpenedTree tree_;
  bool taken_over_ = false;  // `tree_` holds but the top, which the graph owns
  Node* file_ = nullptr;
  Edge user_;  // stands for the future users until the pivot
  bool created_ = false;
  bool overwritten_ = false;
  bool opening_ = false;  // whatever fails now says that the file can't be opened
};

}  // namespace firn::block
