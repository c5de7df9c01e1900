// FaultStore: the files of one flat directory on a disk that can be slow, fail, hang, and lose
// power.
//
// What was written lies in the cache until fsync takes it to the disk, names until the directory is
// synced. Both are folders of the host: `live/` is what programs see, `disk/` is what survives.
// Power cuts keep nothing else, or, by a seed, any of the sectors that were not synced.
//
// Thread-safe. Errors are negative errno values, as FUSE has them.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace firn::tests {

class FaultStore final {
 public:
  // Starts from what is on the disk in `folder`, which is made where it does not exist.
  static base::Result<std::unique_ptr<FaultStore>> open(std::string folder);
  ~FaultStore();
  FaultStore(const FaultStore&) = delete;
  FaultStore& operator=(const FaultStore&) = delete;

  // What happens to calls before they are carried out. Fields that are not set don't count.
  struct Rule {
    std::string operation;           // "read", "write", "fsync", ..., or "any"
    std::string name_pattern = "*";  // of the file, as fnmatch(3) has it
    uint64_t delay_ms = 0;
    int error = 0;                  // errno
    std::optional<uint64_t> count;  // how often; not set: always
    bool hang = false;              // until clear_rules()
  };
  void add_rule(Rule rule);
  void clear_rules();
  // Calls that hang now.
  size_t hanging() const;

  // The power goes: what is not on the disk is lost, but for sectors and names that happened to get
  // there, of which `seed` decides; 0: none. Nothing can be called after.
  void cut(uint64_t seed);
  // Everything to the disk.
  void sync_all();

  // The calls. `id` is what create and open gave.
  base::Result<uint64_t> create(const std::string& name, mode_t mode, bool exclusive);
  base::Result<uint64_t> find(const std::string& name) const;
  void hold(uint64_t id);     // one more has it open
  void release(uint64_t id);  // one less
  int stat(uint64_t id, struct stat& stat) const;
  std::vector<std::string> names() const;
  // `name` is for the rules. 0, or what the rules say.
  int obey(std::string_view operation, uint64_t id, const std::string& name);
  ssize_t read(uint64_t id, void* data, size_t bytes, off_t offset) const;
  ssize_t write(uint64_t id, const void* data, size_t bytes, off_t offset);
  int truncate(uint64_t id, off_t size);
  int allocate(uint64_t id, int mode, off_t offset, off_t bytes);
  off_t seek(uint64_t id, off_t offset, int whence) const;
  int set_times(uint64_t id, const struct timespec times[2]);
  int fsync(uint64_t id);
  int sync_names();
  int unlink(const std::string& name);
  int rename(const std::string& from, const std::string& to, bool replace);

 private:
  struct File {
    int live_fd = -1;
    uint64_t open_count = 0;
    bool changed = false;                   // its size or times, too
    std::map<uint64_t, uint64_t> unsynced;  // begin, end; in whole sectors, apart from each other
  };
  using Names = std::map<std::string, uint64_t>;

  explicit FaultStore(std::string folder) : folder_(std::move(folder)) {}
  base::Result<> load();
  std::string disk_path(uint64_t id) const;
  std::string live_path(uint64_t id) const;
  File* file(uint64_t id);
  const File* file(uint64_t id) const;
  void note_change(File& file, uint64_t begin, uint64_t end);
  int to_disk(uint64_t id, File& file);
  int write_names(const Names& names);
  void forget_if_unused(uint64_t id);

  const std::string folder_;
  mutable std::mutex mutex_;
  std::map<uint64_t, File> files_;
  Names names_;
  Names names_on_disk_;
  uint64_t last_id_ = 0;

  mutable std::mutex rules_mutex_;
  std::condition_variable rules_changed_;
  std::vector<Rule> rules_;
  uint64_t rules_epoch_ = 0;
  size_t hanging_ = 0;
};

}  // namespace firn::tests
