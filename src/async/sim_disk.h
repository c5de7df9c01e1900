// SimDisk: a file system on a disk that can lose power, and the machine's page cache above it.
//
// What is durable when, as POSIX promises it and no more:
//   - What a file holds, and its size, is durable after an fsync of that file that began after the
//     write had ended. A power cut keeps any part of the rest, sector by sector, in any order
//     (sim_content.h), parts of operations in flight included.
//   - A name (create, unlink, rename, a new directory) is durable after a sync of its directory.
//     A power cut keeps a random part of the rest: most often a prefix, as a journal would, but
//     any subset happens. A rename is kept whole or not at all.
//   - fsync of a file says nothing about its name, nor the other way round.
//   - After an fsync that failed, what it should have written is lost or not, and the next fsync
//     says nothing of it (Linux). Each open file hears of the failure once.
//   - The death of a process loses nothing but parts of its operations in flight.
#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "async/file.h"
#include "async/sim_content.h"
#include "async/sim_world.h"
#include "base/result.h"

namespace firn::async {

class SimFile;
struct SimFileOp;

// What a process asks of a disk, as a fault hook sees it.
struct SimFileAccess {
  enum class Kind : uint8_t {
    kRead,
    kWrite,
    kSync,  // fsync and fdatasync
    kZero,
    kZeroAndUnmap,
    kDiscard,
    kAllocate,
    kTruncate,
    kOpen,
    kCreate,
    kStat,
    kUnlink,
    kRename,
    kMakeDirectory,
    kList,
    kSyncDirectory,
  };
  Kind kind;
  std::string_view path;  // as the process named it; of an open file, as it was opened
  uint64_t offset = 0;
  uint64_t length = 0;
};

struct SimFaultVerdict {
  int error = 0;      // an errno value; 0: go on
  Duration delay{0};  // more than usual
};

struct SimDiskOptions {
  uint32_t sector_bytes = 512;      // what a power cut leaves whole: 512 or 4096
  uint32_t direct_alignment = 512;  // what O_DIRECT asks for
  uint64_t capacity_bytes = uint64_t{1} << 40;
  bool can_zero = true;  // else kZero and kZeroAndUnmap give EOPNOTSUPP
};

struct SimInode {
  uint64_t number = 0;
  FileKind kind = FileKind::kRegular;
  SimContent content{512};
  std::map<std::string, uint64_t> names;  // of a directory: as programs see it
  struct DurableName {
    uint64_t inode = 0;  // 0: removed
    uint64_t change = 0;
  };
  std::map<std::string, DurableName> durable_names;
  std::string target;        // of a symbolic link
  uint64_t device_size = 0;  // of a block device
  uint64_t parent = 0;       // of a directory
  uint32_t links = 0;        // names that lead here
  uint32_t open_files = 0;
  int64_t modified_ns = 0;
  int64_t changed_ns = 0;
  uint64_t sync_failures = 0;  // with sync_error, what an open file hears of once
  int sync_error = 0;
  struct Lock {
    const SimFile* owner;
    uint64_t offset;
    bool exclusive;
  };
  std::vector<Lock> locks;
  bool released = false;  // no name and no open file: it counts as free space
};

class SimDisk {
 public:
  SimDisk(SimWorld& world, const SimDiskOptions& options);
  ~SimDisk();
  SimDisk(const SimDisk&) = delete;
  SimDisk& operator=(const SimDisk&) = delete;

  const SimDiskOptions& options() const { return options_; }

  // Power goes at this moment and comes back at once: the processes on this disk's machine, but
  // for the observer, are ghosts; open files, the observer's too, give ESHUTDOWN; names and
  // contents are what a disk may hold after it.
  void cut_power();
  // Counts what the disk does (parts of writes, syncs, changes of names, beginnings of operations);
  // cut_power() comes by itself when the count reaches `steps`. 0: never.
  void cut_power_at_step(uint64_t steps) { cut_at_step_ = steps; }
  uint64_t steps() const { return steps_; }
  uint64_t power_cuts() const { return epoch_; }

  // Asked before each operation. At most one hook; an empty one ends the faults.
  void set_faults(std::function<SimFaultVerdict(const SimFileAccess&)> hook) {
    faults_ = std::move(hook);
  }
  void set_capacity(uint64_t bytes) { options_.capacity_bytes = bytes; }
  uint64_t allocated_bytes() const { return allocated_bytes_; }

  // Things that programs do not make, but find. Durable at once.
  void make_block_device(std::string_view path, uint64_t size_bytes);
  void make_symlink(std::string_view path, std::string target);

  // What a test may look at without a process: null if there is no such file. Current contents.
  const SimInode* find(std::string_view path) const;
  // True if a power cut now would lose nothing of the file, its name aside.
  bool is_durable(std::string_view path) const;

 private:
  friend class SimFile;
  friend class SimFileSystem;
  friend struct SimFileOp;
  friend class SimProcess;

  struct NameChange {
    uint64_t operation;  // a rename changes two names and is one operation
    uint64_t change;     // counts up
    uint64_t directory;
    std::string name;
    uint64_t inode;  // 0: removed
  };
  // Where a path leads. `inode` is null if the last component does not exist.
  struct Place {
    SimInode* directory = nullptr;
    std::string name;
    SimInode* inode = nullptr;
    std::string canonical;
  };

  // One step of cut_power_at_step. Callers look afterwards whether they are ghosts.
  void count_step() {
    if (++steps_ == cut_at_step_) cut_power();
  }
  SimFaultVerdict ask_faults(const SimFileAccess& access) const;

  // The error is an errno value.
  std::expected<Place, int> resolve(const std::string& base_directory, std::string_view path,
                                    bool follow_last, int depth = 0) const;
  SimInode& inode(uint64_t number) const { return *inodes_.at(number); }
  const std::shared_ptr<SimInode>& shared_inode(const SimInode& inode) const {
    return inodes_.at(inode.number);
  }
  SimInode& make_inode(FileKind kind);
  // Changes a name now; it is durable later. `inode` 0 removes.
  void change_name(uint64_t operation, SimInode& directory, const std::string& name,
                   uint64_t inode);
  void apply_name(const NameChange& change);
  void sync_names(SimInode& directory);
  void lose_names();
  void forget_unreachable();
  void release_if_unused(SimInode& inode);
  void count_allocation(SimInode& inode);
  int64_t wall_clock_ns() const;
  FileStat stat_of(const SimInode& inode) const;
  // What a process that died leaves of its operations.
  void process_died(SimProcess& process);
  void leave_parts_of(SimFileOp& op);

  SimWorld& world_;
  SimDiskOptions options_;
  uint64_t device_;
  uint64_t epoch_ = 0;  // power cuts so far
  uint64_t steps_ = 0;
  uint64_t cut_at_step_ = 0;
  std::function<SimFaultVerdict(const SimFileAccess&)> faults_;
  std::map<uint64_t, std::shared_ptr<SimInode>> inodes_;
  uint64_t last_inode_ = 0;
  uint64_t last_name_change_ = 0;
  uint64_t last_name_operation_ = 0;
  std::vector<NameChange> name_log_;
  uint64_t allocated_bytes_ = 0;
  SimFileOp* in_flight_ = nullptr;
  std::vector<std::unique_ptr<SimFileOp>> free_ops_;
};

}  // namespace firn::async
