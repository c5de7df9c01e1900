// Sets of file descriptors that clients handed over, for nodes to open under the name
// `/dev/fdset/N`: who may not open a file itself can be given it open. A set has descriptors of one
// file, each opened in another way; a node takes a copy of the one that fits.
// Source: add-fd, remove-fd and query-fdsets of QEMU 7.2 (monitor/fds.c, util/osdep.c).
//
// Used from any thread: nodes are opened on their own loops.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace firn::file {

// N of "/dev/fdset/N"; nothing if `filename` is no such name. Error: "Could not parse fdset x".
std::optional<base::Result<int64_t>> parse_fdset(std::string_view filename);

class FdSets final {
 public:
  FdSets() = default;
  ~FdSets();  // closes what is left
  FdSets(const FdSets&) = delete;
  FdSets& operator=(const FdSets&) = delete;

  struct Added {
    int64_t set = 0;
    int fd = -1;
  };
  // `fd` is owned from then on, errors included. Without a set: a new one, of the lowest number
  // that is free. Error: "Parameter 'fdset-id' expects a non-negative value".
  base::Result<Added> add(int fd, std::optional<int64_t> set, std::optional<std::string> opaque);

  // One descriptor, or all of a set. Nodes that have it open keep their copies. Errors: "File
  // descriptor named 'fdset-id:1, fd:9' not found".
  base::Result<> remove(int64_t set, std::optional<int64_t> fd);

  struct Descriptor {
    int fd = -1;
    std::optional<std::string> opaque;
  };
  struct Set {
    int64_t id = 0;
    std::vector<Descriptor> fds;  // the latest first
  };
  std::vector<Set> list() const;  // by id

  // An open copy. The set is in use while `in_use` lives.
  struct Copy {
    int fd = -1;  // the caller's
    std::shared_ptr<void> in_use;
  };
  // A copy of the descriptor that is open for reading and writing, or for reading alone; with or
  // without O_DIRECT, which all copies share. Errors are errno's: ENOENT, no such set; EACCES, none
  // of its descriptors was opened so.
  base::Result<Copy> open(int64_t set, bool writable, bool direct);

  // Without clients, who could ask for them, sets that no node uses are closed.
  void set_has_clients(bool has_clients);

 private:
  struct Entry {
    std::vector<Descriptor> fds;
    std::weak_ptr<void> in_use;
  };
  using Entries = std::map<int64_t, Entry>;
  void close_unused();
  void drop_if_empty(Entries::iterator at);

  mutable std::mutex mutex_;
  Entries entries_;
  bool has_clients_ = false;
};

// The process's: descriptors are numbers of the whole process, and file names mean the same
// everywhere in it.
FdSets& process_fd_sets();

}  // namespace firn::file
