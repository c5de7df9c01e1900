// SQLite's way to its files: a VFS ("operating system interface") over state::Files.
// Source: https://www.sqlite.org/vfs.html, sqlite3.h (sqlite3_vfs, sqlite3_io_methods).
//
// Made for one kind of use: one connection, locking_mode=EXCLUSIVE, journal_mode=WAL. So there is
// no shared memory, and the one lock is taken when the main database file is opened: whoever comes
// second gets SQLITE_BUSY.
#pragma once

#include <string>

#include "state/files.h"

struct sqlite3_vfs;

namespace firn::state {

// Registered with SQLite while it lives, under a name of its own.
class Vfs final {
 public:
  // `files` outlives it. Without `locks`, nothing is locked: for a copy that only we know.
  explicit Vfs(Files& files, bool locks = true);
  ~Vfs();  // no database of it is open
  Vfs(const Vfs&) = delete;
  Vfs& operator=(const Vfs&) = delete;

  const std::string& name() const { return name_; }
  Files& files() { return files_; }
  bool locks() const { return locks_; }
  // Of the last operation that failed, for the text of an error; 0: none.
  int last_errno() const { return last_errno_; }
  void note_errno(int value) { last_errno_ = value; }

 private:
  Files& files_;
  bool locks_;
  std::string name_;
  int last_errno_ = 0;
  sqlite3_vfs* vfs_;
};

}  // namespace firn::state
