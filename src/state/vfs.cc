#include "state/vfs.h"

#include <sqlite3.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <new>

#include "base/check.h"

namespace firn::state {
namespace {

constexpr int kMaxPath = 4096;

// What SQLite allocates for an open file (szOsFile); `methods` is its part.
struct OpenFile {
  sqlite3_file base;
  Vfs* vfs;
  BlockingFile* file;
};

OpenFile& self(sqlite3_file* file) { return *reinterpret_cast<OpenFile*>(file); }
Vfs& owner(sqlite3_vfs* vfs) { return *static_cast<Vfs*>(vfs->pAppData); }

// `result`: 0 or a negative errno value.
int code(Vfs& vfs, int64_t result, int error_code) {
  if (result >= 0) return SQLITE_OK;
  vfs.note_errno(static_cast<int>(-result));
  return result == -ENOSPC || result == -EDQUOT ? SQLITE_FULL : error_code;
}

// Files. ----------------------------------------------------------------------------------------

int close_file(sqlite3_file* file) {
  delete std::exchange(self(file).file, nullptr);
  return SQLITE_OK;
}

int read_file(sqlite3_file* file, void* into, int length, sqlite3_int64 offset) {
  const base::ByteSpan bytes(static_cast<std::byte*>(into), static_cast<size_t>(length));
  const int64_t got = self(file).file->read(static_cast<uint64_t>(offset), bytes);
  if (got < 0) return code(*self(file).vfs, got, SQLITE_IOERR_READ);
  if (got == length) return SQLITE_OK;
  std::memset(bytes.data() + got, 0, bytes.size() - static_cast<size_t>(got));
  return SQLITE_IOERR_SHORT_READ;
}

int write_file(sqlite3_file* file, const void* from, int length, sqlite3_int64 offset) {
  const base::ConstByteSpan bytes(static_cast<const std::byte*>(from), static_cast<size_t>(length));
  return code(*self(file).vfs, self(file).file->write(static_cast<uint64_t>(offset), bytes),
              SQLITE_IOERR_WRITE);
}

int truncate_file(sqlite3_file* file, sqlite3_int64 size) {
  return code(*self(file).vfs, self(file).file->truncate(static_cast<uint64_t>(size)),
              SQLITE_IOERR_TRUNCATE);
}

int sync_file(sqlite3_file* file, int) {
  return code(*self(file).vfs, self(file).file->sync(), SQLITE_IOERR_FSYNC);
}

int file_size(sqlite3_file* file, sqlite3_int64* size) {
  *size = self(file).file->size_bytes();
  return code(*self(file).vfs, *size, SQLITE_IOERR_FSTAT);
}

// The one lock is taken by open_file().
int lock_file(sqlite3_file*, int) { return SQLITE_OK; }
int unlock_file(sqlite3_file*, int) { return SQLITE_OK; }
int check_lock(sqlite3_file*, int* held) {
  *held = 0;
  return SQLITE_OK;
}

int control_file(sqlite3_file*, int, void*) { return SQLITE_NOTFOUND; }
int sector_size(sqlite3_file*) { return 4096; }
int characteristics(sqlite3_file*) { return 0; }

constexpr sqlite3_io_methods kMethods = {.iVersion = 1,
                                         .xClose = close_file,
                                         .xRead = read_file,
                                         .xWrite = write_file,
                                         .xTruncate = truncate_file,
                                         .xSync = sync_file,
                                         .xFileSize = file_size,
                                         .xLock = lock_file,
                                         .xUnlock = unlock_file,
                                         .xCheckReservedLock = check_lock,
                                         .xFileControl = control_file,
                                         .xSectorSize = sector_size,
                                         .xDeviceCharacteristics = characteristics};

// Names. ----------------------------------------------------------------------------------------

int open_file(sqlite3_vfs* vfs, const char* name, sqlite3_file* file, int flags, int* out_flags) {
  Vfs& own = owner(vfs);
  file->pMethods = nullptr;
  if (name == nullptr) return SQLITE_CANTOPEN;  // temporary files: temp_store=MEMORY
  const Files::Mode mode{.create = (flags & SQLITE_OPEN_CREATE) != 0,
                         .exclusive = (flags & SQLITE_OPEN_EXCLUSIVE) != 0,
                         .read_only = (flags & SQLITE_OPEN_READONLY) != 0};
  const bool existed = own.files().exists(name);
  int error = 0;
  auto opened = own.files().open(name, mode, error);
  if (opened == nullptr) {
    own.note_errno(error);
    return SQLITE_CANTOPEN;
  }
  if (own.locks() && (flags & SQLITE_OPEN_MAIN_DB) != 0) {
    if (const int locked = opened->lock(); locked != 0) {
      own.note_errno(-locked);
      return locked == -EAGAIN ? SQLITE_BUSY : SQLITE_IOERR_LOCK;
    }
  }
  // A file whose name a power cut takes back is as good as not written.
  if (!existed) {
    if (const int synced = own.files().sync_folder_of(name); synced != 0) {
      return code(own, synced, SQLITE_IOERR_DIR_FSYNC);
    }
  }
  if (out_flags != nullptr) *out_flags = flags;
  OpenFile& open = self(file);
  open.vfs = &own;
  open.file = opened.release();
  file->pMethods = &kMethods;
  return SQLITE_OK;
}

int delete_file(sqlite3_vfs* vfs, const char* name, int sync_folder) {
  Vfs& own = owner(vfs);
  const int removed = own.files().remove(name);
  if (removed == -ENOENT) return SQLITE_IOERR_DELETE_NOENT;
  if (removed != 0) return code(own, removed, SQLITE_IOERR_DELETE);
  return sync_folder == 0 ? SQLITE_OK
                          : code(own, own.files().sync_folder_of(name), SQLITE_IOERR_DIR_FSYNC);
}

int access_file(sqlite3_vfs* vfs, const char* name, int, int* result) {
  *result = owner(vfs).files().exists(name) ? 1 : 0;
  return SQLITE_OK;
}

int full_path(sqlite3_vfs*, const char* name, int length, char* out) {
  std::error_code error;
  const std::string path = std::filesystem::absolute(name, error).string();
  if (error || path.size() >= static_cast<size_t>(length)) return SQLITE_CANTOPEN;
  std::memcpy(out, path.c_str(), path.size() + 1);
  return SQLITE_OK;
}

int fill_random(sqlite3_vfs* vfs, int length, char* out) {
  owner(vfs).files().fill_random({reinterpret_cast<std::byte*>(out), static_cast<size_t>(length)});
  return length;
}

// Nobody waits for a lock that is held as long as its owner lives.
int sleep_for(sqlite3_vfs*, int microseconds) { return microseconds; }

// Julian days, in milliseconds (sqlite3.h, xCurrentTimeInt64).
constexpr int64_t kUnixEpochJulian_ms = 210866760000000;
int current_time_ms(sqlite3_vfs* vfs, sqlite3_int64* time) {
  *time = kUnixEpochJulian_ms + owner(vfs).files().wall_clock_us() / 1000;
  return SQLITE_OK;
}
int current_time(sqlite3_vfs* vfs, double* time) {
  sqlite3_int64 ms = 0;
  const int result = current_time_ms(vfs, &ms);
  *time = static_cast<double>(ms) / 86400000.0;
  return result;
}

int last_error(sqlite3_vfs* vfs, int, char*) { return owner(vfs).last_errno(); }

std::string make_name() {
  static std::atomic<unsigned> next{0};
  return "firn-" + std::to_string(next.fetch_add(1));
}

}  // namespace

Vfs::Vfs(Files& files, bool locks) : files_(files), locks_(locks), name_(make_name()) {
  vfs_ = new sqlite3_vfs{};
  vfs_->iVersion = 2;
  vfs_->szOsFile = sizeof(OpenFile);
  vfs_->mxPathname = kMaxPath;
  vfs_->zName = name_.c_str();
  vfs_->pAppData = this;
  vfs_->xOpen = open_file;
  vfs_->xDelete = delete_file;
  vfs_->xAccess = access_file;
  vfs_->xFullPathname = full_path;
  vfs_->xRandomness = fill_random;
  vfs_->xSleep = sleep_for;
  vfs_->xCurrentTime = current_time;
  vfs_->xGetLastError = last_error;
  vfs_->xCurrentTimeInt64 = current_time_ms;
  CHECK(sqlite3_vfs_register(vfs_, 0) == SQLITE_OK);
}

Vfs::~Vfs() {
  sqlite3_vfs_unregister(vfs_);
  delete vfs_;
}

}  // namespace firn::state
