// Database: one SQLite file, opened as the state wants it (WAL, synchronous=FULL, exclusive), and
// statements on it. Blocks: for workers.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "state/vfs.h"

struct sqlite3;
struct sqlite3_stmt;

namespace firn::state {

class Database;

// One prepared statement. Parameters are bound in order; a step gives a row. Errors are those of
// SQLite, with the file's name.
class Statement final {
 public:
  Statement(Statement&& other) noexcept;
  Statement& operator=(Statement&&) = delete;
  ~Statement();

  Statement& bind(std::string_view text);
  Statement& bind(int64_t value);
  Statement& bind(const std::optional<int64_t>& value);
  Statement& bind_null();

  // True: a row is there.
  base::Result<bool> step();
  // To the end, for what gives no rows.
  base::Result<> run();

  // Of the current row, by number from 0.
  std::string text(int column) const;
  int64_t number(int column) const;
  std::optional<int64_t> maybe_number(int column) const;

 private:
  friend class Database;
  Statement(Database& database, sqlite3_stmt* statement)
      : database_(&database), statement_(statement) {}
  Database* database_;
  sqlite3_stmt* statement_;
  int next_ = 1;
};

class Database final {
 public:
  enum class Access {
    kOwn,       // created if need be; nobody else may have it open
    kExisting,  // the same, of a file that must be there
    kCopy,      // one that nobody else knows: nothing is locked
  };
  // Errors: kBusy, "state file 'X' is in use by another process"; kCorrupt, a file that is none of
  // ours, or of a later version; those of opening.
  static base::Result<std::unique_ptr<Database>> open(Files& files, std::string path,
                                                      Access access);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  const std::string& path() const { return path_; }
  Files& files() { return vfs_.files(); }

  // `sql` is a literal of ours: one that does not compile is our bug.
  Statement prepare(std::string_view sql);
  base::Result<> execute(const char* sql);
  int64_t last_row_id() const;

  // SQLite's own check of the file; empty: all is well.
  base::Result<std::vector<std::string>> check_integrity();

  // What SQLite said last, as an error with the file's name.
  base::Error error() const;

 private:
  Database(Files& files, std::string path, bool locks)
      : vfs_(files, locks), path_(std::move(path)) {}
  base::Result<> set_up(Access access);
  base::Result<> check_kind();

  Vfs vfs_;
  std::string path_;
  sqlite3* db_ = nullptr;
};

// BEGIN, and ROLLBACK unless commit() was reached.
class Transaction final {
 public:
  static base::Result<Transaction> begin(Database& database);
  Transaction(Transaction&& other) noexcept : database_(std::exchange(other.database_, nullptr)) {}
  Transaction& operator=(Transaction&&) = delete;
  ~Transaction();
  // Durable after.
  base::Result<> commit();

 private:
  explicit Transaction(Database& database) : database_(&database) {}
  Database* database_;
};

}  // namespace firn::state
