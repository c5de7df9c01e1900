#include "state/database.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <cerrno>
#include <utility>

#include "base/check.h"
#include "state/state_format.h"

namespace firn::state {

using base::Error;
using base::ErrorKind;
using base::fail;
using base::Result;

// Statement -------------------------------------------------------------------------------------

Statement::Statement(Statement&& other) noexcept
    : database_(other.database_),
      statement_(std::exchange(other.statement_, nullptr)),
      next_(other.next_) {}

Statement::~Statement() { sqlite3_finalize(statement_); }

Statement& Statement::bind(std::string_view text) {
  if (statement_ == nullptr) return *this;
  CHECK(sqlite3_bind_text64(statement_, next_++, text.data(), text.size(), SQLITE_TRANSIENT,
                            SQLITE_UTF8) == SQLITE_OK);
  return *this;
}

Statement& Statement::bind(int64_t value) {
  if (statement_ == nullptr) return *this;
  CHECK(sqlite3_bind_int64(statement_, next_++, value) == SQLITE_OK);
  return *this;
}

Statement& Statement::bind(const std::optional<int64_t>& value) {
  return value ? bind(*value) : bind_null();
}

Statement& Statement::bind_null() {
  if (statement_ == nullptr) return *this;
  CHECK(sqlite3_bind_null(statement_, next_++) == SQLITE_OK);
  return *this;
}

Result<bool> Statement::step() {
  switch (sqlite3_step(statement_)) {
    case SQLITE_ROW:
      return true;
    case SQLITE_DONE:
      return false;
    default:
      return fail(database_->error());
  }
}

Result<> Statement::run() {
  while (TRY(step())) {
  }
  return {};
}

std::string Statement::text(int column) const {
  const auto* bytes = sqlite3_column_text(statement_, column);
  if (bytes == nullptr) return {};
  return {reinterpret_cast<const char*>(bytes),
          static_cast<size_t>(sqlite3_column_bytes(statement_, column))};
}

int64_t Statement::number(int column) const { return sqlite3_column_int64(statement_, column); }

std::optional<int64_t> Statement::maybe_number(int column) const {
  if (sqlite3_column_type(statement_, column) == SQLITE_NULL) return std::nullopt;
  return number(column);
}

// Database --------------------------------------------------------------------------------------

namespace {

// SQLite takes an empty file for a new one and throws its log away. But the log is made after the
// first page of the file is on disk, so that an empty file beside a log has lost what it held.
Result<> refuse_orphaned_log(Files& files, const std::string& path) {
  const std::string log = path + "-wal";
  const auto file = files.identity(path);
  const auto log_file = files.identity(log);
  if (!log_file || log_file->size_bytes == 0 || (file && file->size_bytes > 0)) return {};
  return fail(
      Error(ErrorKind::kCorrupt, fmt::format("state file '{}' is {}, but its log '{}' is there",
                                             path, file ? "empty" : "missing", log))
          .with_hint("restore it from a backup; to begin anew, remove the log too"));
}

}  // namespace

Result<std::unique_ptr<Database>> Database::open(Files& files, std::string path, Access access) {
  TRY(refuse_orphaned_log(files, path));
  std::unique_ptr<Database> database(new Database(files, std::move(path), access != Access::kCopy));
  TRY(database->set_up(access));
  return database;
}

Database::~Database() { CHECK(sqlite3_close(db_) == SQLITE_OK); }

Result<> Database::set_up(Access access) {
  int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX;
  if (access == Access::kOwn) flags |= SQLITE_OPEN_CREATE;
  if (sqlite3_open_v2(path_.c_str(), &db_, flags, vfs_.name().c_str()) != SQLITE_OK) {
    return fail(error());
  }
  sqlite3_extended_result_codes(db_, 1);
  // Exclusive before the first access, so that the WAL needs no shared memory.
  TRY(execute("PRAGMA locking_mode=EXCLUSIVE"));
  TRY(execute("PRAGMA temp_store=MEMORY"));
  TRY(execute("PRAGMA synchronous=FULL"));
  TRY(execute("PRAGMA journal_mode=WAL"));
  return check_kind();
}

// A new file gets the tables; one of somebody else is left alone.
Result<> Database::check_kind() {
  Statement ask_id = prepare("PRAGMA application_id");
  TRY(ask_id.step());
  const int64_t id = ask_id.number(0);
  Statement ask_version = prepare("PRAGMA user_version");
  TRY(ask_version.step());
  const int64_t version = ask_version.number(0);
  Statement ask_tables = prepare("SELECT count(*) FROM sqlite_master");
  TRY(ask_tables.step());
  const bool is_new = id == 0 && version == 0 && ask_tables.number(0) == 0;
  if (!is_new && id != kApplicationId) {
    return fail(Error(ErrorKind::kCorrupt,
                      fmt::format("'{}' is an SQLite database, but not of Firn's state", path_))
                    .with_hint("name another file: nothing of this one was changed"));
  }
  if (!is_new && version != kSchemaVersion) {
    return fail(Error(ErrorKind::kUnsupported,
                      fmt::format("state file '{}' has version {} of the format; this program "
                                  "reads version {}",
                                  path_, version, kSchemaVersion))
                    .with_hint("start the firnd that wrote it"));
  }
  if (!is_new) return {};
  Transaction transaction = TRY(Transaction::begin(*this));
  for (const char* sql : kSchema) TRY(execute(sql));
  return transaction.commit();
}

Statement Database::prepare(std::string_view sql) {
  sqlite3_stmt* statement = nullptr;
  const int result =
      sqlite3_prepare_v2(db_, sql.data(), static_cast<int>(sql.size()), &statement, nullptr);
  // A damaged file fails here too: then there is no statement, and its steps fail.
  CHECK(result != SQLITE_ERROR && result != SQLITE_MISUSE);
  return {*this, statement};
}

Result<> Database::execute(const char* sql) {
  if (sqlite3_exec(db_, sql, nullptr, nullptr, nullptr) == SQLITE_OK) return {};
  return fail(error());
}

int64_t Database::last_row_id() const { return sqlite3_last_insert_rowid(db_); }

Result<std::vector<std::string>> Database::check_integrity() {
  std::vector<std::string> findings;
  Statement statement = prepare("PRAGMA integrity_check");
  while (TRY(statement.step())) {
    if (std::string line = statement.text(0); line != "ok") findings.push_back(std::move(line));
  }
  return findings;
}

Error Database::error() const {
  const int code = db_ == nullptr ? SQLITE_NOMEM : sqlite3_errcode(db_) & 0xff;
  const int errno_value = vfs_.last_errno();
  const std::string shown = fmt::format("state file '{}'", path_);
  switch (code) {
    case SQLITE_BUSY:
      return {ErrorKind::kBusy, shown + " is in use by another process"};
    case SQLITE_NOTADB:
      return {ErrorKind::kCorrupt, shown + " is not an SQLite database"};
    case SQLITE_CORRUPT:
      return Error(ErrorKind::kCorrupt, shown + " is damaged: " + sqlite3_errmsg(db_))
          .with_hint("restore it from a backup, or define the disks again in a new one");
    case SQLITE_FULL:
      return Error::from_errno(errno_value != 0 ? errno_value : ENOSPC,
                               fmt::format("Could not write to {}", shown));
    case SQLITE_CANTOPEN:
      return Error::from_errno(errno_value != 0 ? errno_value : ENOENT,
                               fmt::format("Could not open {}", shown));
    case SQLITE_IOERR:
      return Error::from_errno(errno_value != 0 ? errno_value : EIO, shown);
    default:
      return {ErrorKind::kGeneric,
              fmt::format("{}: {}", shown,
                          db_ == nullptr ? sqlite3_errstr(code) : sqlite3_errmsg(db_))};
  }
}

// Transaction -----------------------------------------------------------------------------------

Result<Transaction> Transaction::begin(Database& database) {
  TRY(database.execute("BEGIN IMMEDIATE"));
  return Transaction(database);
}

// After some errors SQLite has rolled back by itself; then this one says so, and that is all.
Transaction::~Transaction() {
  if (database_ != nullptr) (void)database_->execute("ROLLBACK");
}

Result<> Transaction::commit() {
  TRY(database_->execute("COMMIT"));
  database_ = nullptr;
  return {};
}

}  // namespace firn::state
