// The files of a simulated process. See sim_world.h and sim_disk.h.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "async/file.h"
#include "async/sim_disk.h"
#include "async/sim_event.h"

namespace firn::async {

// An operation on its way. Its effect comes at one or two random moments between its start and its
// completion, so that operations that overlap in time and place mix sector by sector.
struct SimFileOp : SimEvent {
  enum class Stage : uint8_t { kFirstEffect, kLastEffect, kDone };
  SimFile* file = nullptr;
  FileOp* op = nullptr;
  SimLoop* loop = nullptr;
  Stage stage = Stage::kFirstEffect;
  SimSectors sectors;  // of the part that comes next
  int64_t result = 0;
  TimePoint effect_at;
  TimePoint done_at;
  int injected_error = 0;
  SimFileOp* previous = nullptr;  // on the disk's list
  SimFileOp* next = nullptr;
};

class SimFile final : public File {
 public:
  ~SimFile() override;

  Task<base::Result<FileStat>> stat() override;
  Task<base::Result<Extent>> extent_at(uint64_t offset) override;
  base::Result<> lock_byte(uint64_t offset, LockKind kind) override;
  base::Result<> unlock_byte(uint64_t offset) override;
  base::Result<> test_lock(uint64_t offset, LockKind kind) override;

 private:
  friend class SimDisk;
  friend class SimFileSystem;
  SimFile(SimProcess& process, std::shared_ptr<SimInode> inode, std::string path, bool writable,
          bool direct);

  bool start(FileOp& op) override;
  void advance(SimFileOp& flight);
  void finish(SimFileOp& flight);
  // 0, or a negative errno value. What an operation does, all of it or the sectors given.
  int64_t check(const FileOp& op) const;
  int64_t effect(const FileOp& op, SimSectors sectors, int injected_error);
  int64_t read_effect(const FileOp& op, SimSectors sectors);
  int64_t change_effect(const FileOp& op, SimSectors sectors);
  int64_t sync_effect(int injected_error);
  void discard_on_device(uint64_t offset, uint64_t length);
  uint64_t growth(const FileOp& op) const;
  // The process is a ghost, or power was cut since the file was opened.
  bool stale() const;
  base::Error shut_down() const;

  SimProcess& process_;
  SimDisk& disk_;
  std::shared_ptr<SimInode> inode_;
  uint64_t epoch_;
  uint64_t sync_failures_seen_;
  uint32_t in_flight_ = 0;
};

class SimFileSystem final : public FileSystem {
 public:
  explicit SimFileSystem(SimProcess& process) : process_(process), disk_(process.disk()) {}

  Task<base::Result<std::unique_ptr<File>>> open(std::string path, OpenOptions options) override;
  Task<base::Result<std::unique_ptr<File>>> adopt(int fd, std::string name, bool writable) override;
  // An operation ends on the loop that began it, so that a file is at home on all of them.
  base::Result<> adopt_file(std::unique_ptr<File>&) override { return {}; }
  Task<base::Result<FileStat>> stat(std::string path) override;
  Task<base::Result<>> unlink(std::string path) override;
  Task<base::Result<>> rename(std::string from, std::string to) override;
  Task<base::Result<>> make_directory(std::string path) override;
  Task<base::Result<std::vector<std::string>>> list(std::string path) override;
  Task<base::Result<>> sync_directory(std::string path) override;
  Task<base::Result<std::string>> real_path(std::string path) override;
  Task<base::Result<StoreStat>> store_of(std::string path) override;

 private:
  using Kind = SimFileAccess::Kind;
  // What every call begins with: the count of steps, faults, and whether this is a ghost.
  base::Result<> begin(Kind kind, const std::string& path, const char* verb);
  base::Result<SimDisk::Place> place_of(const std::string& path, bool follow_last,
                                        const char* verb);
  base::Result<FileStat> stat_now(const std::string& path);
  base::Result<> sync_directory_now(const std::string& path);
  base::Result<std::unique_ptr<File>> open_now(const std::string& path, OpenOptions options);
  base::Result<> unlink_now(const std::string& path);
  base::Result<> rename_now(const std::string& from, const std::string& to);
  base::Result<> make_directory_now(const std::string& path);
  base::Result<std::vector<std::string>> list_now(const std::string& path);

  SimProcess& process_;
  SimDisk& disk_;
};

}  // namespace firn::async
