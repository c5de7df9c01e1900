// The files that SQLite sees: everything of the outside world that the state needs, in calls that
// block and therefore run on a worker thread.
//
// SQLite wants blocking calls, which async::File has not; so the state has this narrow interface of
// its own. PosixFiles is the kernel's; a simulated one gives the state torn writes and power cuts.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/bytes.h"
#include "base/result.h"

namespace firn::state {

// Which file a name leads to, and what tells that somebody has changed it.
struct FileIdentity {
  uint64_t device = 0;
  uint64_t inode = 0;
  uint64_t size_bytes = 0;  // of a regular file; 0 for a device
  int64_t modified_ns = 0;
  bool is_block_device = false;
  uint64_t rdev = 0;  // of a block device: its own number

  bool operator==(const FileIdentity&) const = default;
};

// An open file. Errors are negative errno values, since SQLite tells its users no text.
class BlockingFile {
 public:
  virtual ~BlockingFile() = default;
  // Bytes read: fewer only at the file's end.
  virtual int64_t read(uint64_t offset, base::ByteSpan into) = 0;
  virtual int write(uint64_t offset, base::ConstByteSpan bytes) = 0;
  virtual int truncate(uint64_t size_bytes) = 0;
  virtual int sync() = 0;
  virtual int64_t size_bytes() = 0;
  // For this open file alone, until it is closed. -EAGAIN if another one has it.
  virtual int lock() = 0;
};

class Files {
 public:
  virtual ~Files() = default;
  struct Mode {
    bool create = false;
    bool exclusive = false;
    bool read_only = false;
  };
  // Null with `error` set to an errno value.
  virtual std::unique_ptr<BlockingFile> open(const std::string& path, Mode mode, int& error) = 0;
  virtual int remove(const std::string& path) = 0;
  virtual bool exists(const std::string& path) = 0;
  // The names in the folder of `path` are durable after.
  virtual int sync_folder_of(const std::string& path) = 0;
  virtual base::Result<FileIdentity> identity(const std::string& path) = 0;
  virtual int64_t wall_clock_us() = 0;
  virtual void fill_random(base::ByteSpan bytes) = 0;
  // Another one after each start of the machine.
  virtual std::string boot_id() = 0;
};

// This machine's.
Files& posix_files();

}  // namespace firn::state
