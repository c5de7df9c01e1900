#include "tests/tools/fault_store.h"

#include <dirent.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <random>
#include <sstream>
#include <thread>

namespace firn::tests {

using base::Error;
using base::Result;

namespace {

constexpr uint64_t kSectorBytes = 512;

std::unexpected<Error> failed(int error, const std::string& what) {
  return std::unexpected(Error::from_errno(error, what));
}

// Both files are open; holes stay holes where the host can.
int copy_range(int from, int to, uint64_t begin, uint64_t end) {
  std::vector<char> buffer(std::min<uint64_t>(end - begin, 1 << 20));
  while (begin < end) {
    const size_t wanted = std::min<uint64_t>(buffer.size(), end - begin);
    const ssize_t got = pread(from, buffer.data(), wanted, static_cast<off_t>(begin));
    if (got < 0) return -errno;
    if (got == 0) return 0;
    if (pwrite(to, buffer.data(), static_cast<size_t>(got), static_cast<off_t>(begin)) != got) {
      return -EIO;
    }
    begin += static_cast<uint64_t>(got);
  }
  return 0;
}

int copy_all(int from, int to) {
  struct stat stat = {};
  if (fstat(from, &stat) != 0 || ftruncate(to, stat.st_size) != 0) return -errno;
  off_t at = 0;
  while (at < stat.st_size) {
    const off_t data = lseek(from, at, SEEK_DATA);
    if (data < 0) break;
    const off_t hole = lseek(from, data, SEEK_HOLE);
    if (hole < 0) return -errno;
    if (int error =
            copy_range(from, to, static_cast<uint64_t>(data), static_cast<uint64_t>(hole))) {
      return error;
    }
    at = hole;
  }
  return 0;
}

// Size and times of one file to another.
int copy_shape(int from, int to) {
  struct stat stat = {};
  if (fstat(from, &stat) != 0 || ftruncate(to, stat.st_size) != 0) return -errno;
  const struct timespec times[2] = {stat.st_atim, stat.st_mtim};
  return futimens(to, times) == 0 ? 0 : -errno;
}

}  // namespace

Result<std::unique_ptr<FaultStore>> FaultStore::open(std::string folder) {
  std::unique_ptr<FaultStore> store(new FaultStore(std::move(folder)));
  TRY(store->load());
  return store;
}

FaultStore::~FaultStore() {
  for (auto& [id, file] : files_) ::close(file.live_fd);
}

Result<> FaultStore::load() {
  std::error_code ignored;
  std::filesystem::create_directories(folder_ + "/disk", ignored);
  std::filesystem::remove_all(folder_ + "/live", ignored);
  std::filesystem::create_directories(folder_ + "/live", ignored);
  std::ifstream names(folder_ + "/names");
  for (std::string line; std::getline(names, line);) {
    const size_t space = line.find(' ');
    names_[line.substr(space + 1)] = std::stoull(line.substr(0, space));
  }
  names_on_disk_ = names_;
  for (const auto& [name, id] : names_) {
    last_id_ = std::max(last_id_, id);
    const int disk = ::open(disk_path(id).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    const int live = ::open(live_path(id).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (disk < 0 || live < 0) return failed(errno, "can't open '" + name + "' on the disk");
    if (int error = copy_all(disk, live)) return failed(-error, "can't read '" + name + "'");
    if (int error = copy_shape(disk, live)) return failed(-error, "can't read '" + name + "'");
    ::close(disk);
    files_[id].live_fd = live;
  }
  for (const auto& entry : std::filesystem::directory_iterator(folder_ + "/disk", ignored)) {
    const uint64_t id = std::stoull(entry.path().filename().string());
    last_id_ = std::max(last_id_, id);
    if (!files_.contains(id)) std::filesystem::remove(entry.path(), ignored);
  }
  return {};
}

std::string FaultStore::disk_path(uint64_t id) const {
  return folder_ + "/disk/" + std::to_string(id);
}

std::string FaultStore::live_path(uint64_t id) const {
  return folder_ + "/live/" + std::to_string(id);
}

FaultStore::File* FaultStore::file(uint64_t id) {
  const auto at = files_.find(id);
  return at == files_.end() ? nullptr : &at->second;
}

const FaultStore::File* FaultStore::file(uint64_t id) const {
  const auto at = files_.find(id);
  return at == files_.end() ? nullptr : &at->second;
}

// Rules -----------------------------------------------------------------------------------------

void FaultStore::add_rule(Rule rule) {
  const std::lock_guard lock(rules_mutex_);
  rules_.push_back(std::move(rule));
}

void FaultStore::clear_rules() {
  const std::lock_guard lock(rules_mutex_);
  rules_.clear();
  ++rules_epoch_;
  rules_changed_.notify_all();
}

size_t FaultStore::hanging() const {
  const std::lock_guard lock(rules_mutex_);
  return hanging_;
}

int FaultStore::obey(std::string_view operation, uint64_t id, const std::string& name) {
  std::string known = name;
  if (known.empty()) {
    const std::lock_guard lock(mutex_);
    for (const auto& [own, own_id] : names_) {
      if (own_id == id) known = own;
    }
  }
  std::unique_lock lock(rules_mutex_);
  uint64_t delay_ms = 0;
  int error = 0;
  bool hang = false;
  for (Rule& rule : rules_) {
    if (rule.operation != "any" && rule.operation != operation) continue;
    if (fnmatch(rule.name_pattern.c_str(), known.c_str(), 0) != 0) continue;
    if (rule.count && *rule.count == 0) continue;
    if (rule.count) --*rule.count;
    delay_ms += rule.delay_ms;
    if (error == 0) error = rule.error;
    hang = hang || rule.hang;
  }
  if (hang) {
    ++hanging_;
    const uint64_t epoch = rules_epoch_;
    rules_changed_.wait(lock, [&] { return rules_epoch_ != epoch; });
    --hanging_;
  }
  lock.unlock();
  if (delay_ms != 0) std::this_thread::sleep_for(std::chrono::milliseconds(delay_ms));
  return -error;
}

// The disk --------------------------------------------------------------------------------------

void FaultStore::note_change(File& file, uint64_t begin, uint64_t end) {
  file.changed = true;
  begin = begin / kSectorBytes * kSectorBytes;
  end = (end + kSectorBytes - 1) / kSectorBytes * kSectorBytes;
  if (begin == end) return;
  auto at = file.unsynced.upper_bound(begin);
  if (at != file.unsynced.begin() && std::prev(at)->second >= begin) --at;
  while (at != file.unsynced.end() && at->first <= end) {
    begin = std::min(begin, at->first);
    end = std::max(end, at->second);
    at = file.unsynced.erase(at);
  }
  file.unsynced.emplace(begin, end);
}

int FaultStore::to_disk(uint64_t id, File& file) {
  if (!file.changed) return 0;
  const int disk = ::open(disk_path(id).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (disk < 0) return -errno;
  int error = 0;
  for (const auto& [begin, end] : file.unsynced) {
    if (error == 0) error = copy_range(file.live_fd, disk, begin, end);
  }
  if (error == 0) error = copy_shape(file.live_fd, disk);
  ::close(disk);
  if (error != 0) return error;
  file.unsynced.clear();
  file.changed = false;
  return 0;
}

int FaultStore::write_names(const Names& names) {
  const std::string path = folder_ + "/names";
  std::ofstream out(path + ".new", std::ios::trunc);
  for (const auto& [name, id] : names) out << id << ' ' << name << '\n';
  out.close();
  if (!out || ::rename((path + ".new").c_str(), path.c_str()) != 0) return -EIO;
  names_on_disk_ = names;
  return 0;
}

void FaultStore::cut(uint64_t seed) {
  const std::lock_guard lock(mutex_);
  if (seed == 0) return;
  std::mt19937_64 random(seed);
  for (auto& [id, file] : files_) {
    if (file.unsynced.empty()) continue;
    const int disk = ::open(disk_path(id).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (disk < 0) continue;
    // Of some files nearly all gets there, of some nearly nothing.
    const uint64_t share = random() % 101;
    for (const auto& [begin, end] : file.unsynced) {
      for (uint64_t at = begin; at < end; at += kSectorBytes) {
        if (random() % 100 < share) (void)copy_range(file.live_fd, disk, at, at + kSectorBytes);
      }
    }
    ::close(disk);
  }
  Names kept = names_on_disk_;
  for (const auto& [name, id] : names_) {
    if (!kept.contains(name) && random() % 2 == 0) kept[name] = id;
  }
  (void)write_names(kept);
}

void FaultStore::sync_all() {
  const std::lock_guard lock(mutex_);
  for (auto& [id, file] : files_) (void)to_disk(id, file);
  (void)write_names(names_);
}

// The calls -------------------------------------------------------------------------------------

Result<uint64_t> FaultStore::create(const std::string& name, mode_t mode, bool exclusive) {
  const std::lock_guard lock(mutex_);
  if (const auto at = names_.find(name); at != names_.end()) {
    if (exclusive) return failed(EEXIST, name);
    return at->second;
  }
  const uint64_t id = ++last_id_;
  const int live = ::open(live_path(id).c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode);
  if (live < 0) return failed(errno, name);
  files_[id] = {.live_fd = live, .changed = true, .unsynced = {}};
  names_[name] = id;
  return id;
}

Result<uint64_t> FaultStore::find(const std::string& name) const {
  const std::lock_guard lock(mutex_);
  const auto at = names_.find(name);
  if (at == names_.end()) return failed(ENOENT, name);
  return at->second;
}

void FaultStore::hold(uint64_t id) {
  const std::lock_guard lock(mutex_);
  if (File* own = file(id)) ++own->open_count;
}

void FaultStore::release(uint64_t id) {
  const std::lock_guard lock(mutex_);
  if (File* own = file(id)) --own->open_count;
  forget_if_unused(id);
}

void FaultStore::forget_if_unused(uint64_t id) {
  const auto at = files_.find(id);
  if (at == files_.end() || at->second.open_count != 0) return;
  const auto is_it = [&](const auto& entry) { return entry.second == id; };
  if (std::ranges::any_of(names_, is_it)) return;
  ::close(at->second.live_fd);
  ::unlink(live_path(id).c_str());
  files_.erase(at);
}

int FaultStore::stat(uint64_t id, struct stat& stat) const {
  const std::lock_guard lock(mutex_);
  const File* own = file(id);
  if (own == nullptr) return -ENOENT;
  if (fstat(own->live_fd, &stat) != 0) return -errno;
  stat.st_ino = id;
  return 0;
}

std::vector<std::string> FaultStore::names() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> list;
  for (const auto& [name, id] : names_) list.push_back(name);
  return list;
}

ssize_t FaultStore::read(uint64_t id, void* data, size_t bytes, off_t offset) const {
  const std::lock_guard lock(mutex_);
  const File* own = file(id);
  if (own == nullptr) return -EBADF;
  const ssize_t got = pread(own->live_fd, data, bytes, offset);
  return got < 0 ? -errno : got;
}

ssize_t FaultStore::write(uint64_t id, const void* data, size_t bytes, off_t offset) {
  const std::lock_guard lock(mutex_);
  File* own = file(id);
  if (own == nullptr) return -EBADF;
  const ssize_t put = pwrite(own->live_fd, data, bytes, offset);
  if (put < 0) return -errno;
  note_change(*own, static_cast<uint64_t>(offset),
              static_cast<uint64_t>(offset) + static_cast<uint64_t>(put));
  return put;
}

int FaultStore::truncate(uint64_t id, off_t size) {
  const std::lock_guard lock(mutex_);
  File* own = file(id);
  if (own == nullptr) return -EBADF;
  struct stat before = {};
  if (fstat(own->live_fd, &before) != 0 || ftruncate(own->live_fd, size) != 0) return -errno;
  // What is cut off and comes back later is zeroes: they are to get to the disk too.
  const auto [low, high] = std::minmax(before.st_size, size);
  note_change(*own, static_cast<uint64_t>(low), static_cast<uint64_t>(high));
  return 0;
}

int FaultStore::allocate(uint64_t id, int mode, off_t offset, off_t bytes) {
  const std::lock_guard lock(mutex_);
  File* own = file(id);
  if (own == nullptr) return -EBADF;
  if (fallocate(own->live_fd, mode, offset, bytes) != 0) return -errno;
  note_change(*own, static_cast<uint64_t>(offset), static_cast<uint64_t>(offset + bytes));
  return 0;
}

off_t FaultStore::seek(uint64_t id, off_t offset, int whence) const {
  const std::lock_guard lock(mutex_);
  const File* own = file(id);
  if (own == nullptr) return -EBADF;
  const off_t at = lseek(own->live_fd, offset, whence);
  return at < 0 ? -errno : at;
}

int FaultStore::set_times(uint64_t id, const struct timespec times[2]) {
  const std::lock_guard lock(mutex_);
  File* own = file(id);
  if (own == nullptr) return -ENOENT;
  own->changed = true;
  return futimens(own->live_fd, times) == 0 ? 0 : -errno;
}

int FaultStore::fsync(uint64_t id) {
  const std::lock_guard lock(mutex_);
  File* own = file(id);
  return own == nullptr ? -EBADF : to_disk(id, *own);
}

int FaultStore::sync_names() {
  const std::lock_guard lock(mutex_);
  return write_names(names_);
}

int FaultStore::unlink(const std::string& name) {
  const std::lock_guard lock(mutex_);
  const auto at = names_.find(name);
  if (at == names_.end()) return -ENOENT;
  const uint64_t id = at->second;
  names_.erase(at);
  forget_if_unused(id);
  return 0;
}

int FaultStore::rename(const std::string& from, const std::string& to, bool replace) {
  const std::lock_guard lock(mutex_);
  const auto at = names_.find(from);
  if (at == names_.end()) return -ENOENT;
  if (!replace && names_.contains(to)) return -EEXIST;
  const uint64_t id = at->second;
  names_.erase(at);
  const auto old = names_.find(to);
  const uint64_t replaced = old == names_.end() ? 0 : old->second;
  names_[to] = id;
  if (replaced != 0) forget_if_unused(replaced);
  return 0;
}

}  // namespace firn::tests
