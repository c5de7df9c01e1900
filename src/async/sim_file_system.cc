#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "async/sim_file.h"
#include "async/sim_loop.h"
#include "async/sim_world.h"
#include "base/check.h"

namespace firn::async {
namespace {

std::unexpected<base::Error> refuse(int errno_value, const char* verb, std::string_view path) {
  return base::fail(
      base::Error::from_errno(errno_value, fmt::format("Could not {} '{}'", verb, path)));
}

}  // namespace

base::Result<> SimFileSystem::begin(Kind kind, const std::string& path, const char* verb) {
  disk_.world_.note(SimTrace::kName, static_cast<uint64_t>(kind));
  disk_.count_step();
  if (!process_.alive()) return refuse(ESHUTDOWN, verb, path);
  const SimFaultVerdict verdict = disk_.ask_faults({.kind = kind, .path = path});
  if (verdict.error != 0) return refuse(verdict.error, verb, path);
  return {};
}

base::Result<SimDisk::Place> SimFileSystem::place_of(const std::string& path, bool follow_last,
                                                     const char* verb) {
  auto place = disk_.resolve(process_.working_directory, path, follow_last);
  if (!place) return refuse(place.error(), verb, path);
  return *std::move(place);
}

Task<base::Result<std::unique_ptr<File>>> SimFileSystem::open(std::string path,
                                                              OpenOptions options) {
  co_return co_await Loop::current().on_worker([&] { return open_now(path, options); });
}

base::Result<std::unique_ptr<File>> SimFileSystem::open_now(const std::string& path,
                                                            OpenOptions options) {
  const char* verb = options.create ? "create" : "open";
  TRY(begin(options.create ? Kind::kCreate : Kind::kOpen, path, verb));
  SimDisk::Place place = TRY(place_of(path, !(options.create && options.exclusive), verb));
  if (place.inode == nullptr) {
    if (!options.create) return refuse(ENOENT, verb, path);
    if (disk_.allocated_bytes_ >= disk_.options_.capacity_bytes) return refuse(ENOSPC, verb, path);
    place.inode = &disk_.make_inode(FileKind::kRegular);
    disk_.change_name(++disk_.last_name_operation_, *place.directory, place.name,
                      place.inode->number);
  } else if (options.create && options.exclusive) {
    return refuse(EEXIST, verb, path);
  }
  if (place.inode->kind == FileKind::kDirectory && options.writable) {
    return refuse(EISDIR, verb, path);
  }
  return std::unique_ptr<File>(new SimFile(process_, disk_.shared_inode(*place.inode), path,
                                           options.writable, options.direct));
}

Task<base::Result<std::unique_ptr<File>>> SimFileSystem::adopt(int fd, std::string name, bool) {
  co_return base::fail(
      base::ErrorKind::kUnsupported,
      fmt::format("Could not take over descriptor {} as '{}': a simulated process has none", fd,
                  name));
}

base::Result<FileStat> SimFileSystem::stat_now(const std::string& path) {
  TRY(begin(Kind::kStat, path, "stat"));
  const SimDisk::Place place = TRY(place_of(path, true, "stat"));
  if (place.inode == nullptr) return refuse(ENOENT, "stat", path);
  return disk_.stat_of(*place.inode);
}

Task<base::Result<FileStat>> SimFileSystem::stat(std::string path) {
  co_return co_await Loop::current().on_worker([&] { return stat_now(path); });
}

base::Result<> SimFileSystem::unlink_now(const std::string& path) {
  TRY(begin(Kind::kUnlink, path, "remove"));
  const SimDisk::Place place = TRY(place_of(path, false, "remove"));
  if (place.inode == nullptr) return refuse(ENOENT, "remove", path);
  if (place.inode->kind == FileKind::kDirectory) return refuse(EISDIR, "remove", path);
  CHECK(place.directory != nullptr);
  disk_.change_name(++disk_.last_name_operation_, *place.directory, place.name, 0);
  return {};
}

Task<base::Result<>> SimFileSystem::unlink(std::string path) {
  co_return co_await Loop::current().on_worker([&] { return unlink_now(path); });
}

base::Result<> SimFileSystem::rename_now(const std::string& from, const std::string& to) {
  TRY(begin(Kind::kRename, from, "rename"));
  const SimDisk::Place source = TRY(place_of(from, false, "rename"));
  const SimDisk::Place target = TRY(place_of(to, false, "rename"));
  if (source.inode == nullptr) return refuse(ENOENT, "rename", from);
  if (source.directory == nullptr || target.directory == nullptr) {
    return refuse(EBUSY, "rename", from);
  }
  if (source.inode == target.inode) return {};
  const bool is_directory = source.inode->kind == FileKind::kDirectory;
  if (target.inode != nullptr) {
    const bool onto_directory = target.inode->kind == FileKind::kDirectory;
    if (onto_directory && !is_directory) return refuse(EISDIR, "rename", from);
    if (is_directory && !onto_directory) return refuse(ENOTDIR, "rename", from);
    if (onto_directory && !target.inode->names.empty()) return refuse(ENOTEMPTY, "rename", from);
  }
  if (is_directory && target.canonical.starts_with(source.canonical + '/')) {
    return refuse(EINVAL, "rename", from);
  }
  const uint64_t operation = ++disk_.last_name_operation_;
  disk_.change_name(operation, *target.directory, target.name, source.inode->number);
  disk_.change_name(operation, *source.directory, source.name, 0);
  return {};
}

Task<base::Result<>> SimFileSystem::rename(std::string from, std::string to) {
  co_return co_await Loop::current().on_worker([&] { return rename_now(from, to); });
}

base::Result<> SimFileSystem::make_directory_now(const std::string& path) {
  TRY(begin(Kind::kMakeDirectory, path, "create directory"));
  const SimDisk::Place place = TRY(place_of(path, false, "create directory"));
  if (place.inode != nullptr) return refuse(EEXIST, "create directory", path);
  SimInode& made = disk_.make_inode(FileKind::kDirectory);
  disk_.change_name(++disk_.last_name_operation_, *place.directory, place.name, made.number);
  return {};
}

Task<base::Result<>> SimFileSystem::make_directory(std::string path) {
  co_return co_await Loop::current().on_worker([&] { return make_directory_now(path); });
}

base::Result<std::vector<std::string>> SimFileSystem::list_now(const std::string& path) {
  TRY(begin(Kind::kList, path, "list"));
  const SimDisk::Place place = TRY(place_of(path, true, "list"));
  if (place.inode == nullptr) return refuse(ENOENT, "list", path);
  if (place.inode->kind != FileKind::kDirectory) return refuse(ENOTDIR, "list", path);
  std::vector<std::string> names;
  for (const auto& [name, number] : place.inode->names) names.push_back(name);
  return names;
}

Task<base::Result<std::vector<std::string>>> SimFileSystem::list(std::string path) {
  co_return co_await Loop::current().on_worker([&] { return list_now(path); });
}

base::Result<> SimFileSystem::sync_directory_now(const std::string& path) {
  TRY(begin(Kind::kSyncDirectory, path, "flush directory"));
  const SimDisk::Place place = TRY(place_of(path, true, "flush directory"));
  if (place.inode == nullptr) return refuse(ENOENT, "flush directory", path);
  if (place.inode->kind != FileKind::kDirectory) return refuse(ENOTDIR, "flush directory", path);
  disk_.sync_names(*place.inode);
  return {};
}

Task<base::Result<>> SimFileSystem::sync_directory(std::string path) {
  co_return co_await Loop::current().on_worker([&] { return sync_directory_now(path); });
}

Task<base::Result<std::string>> SimFileSystem::real_path(std::string path) {
  co_return co_await Loop::current().on_worker([&]() -> base::Result<std::string> {
    TRY(begin(Kind::kStat, path, "resolve"));
    SimDisk::Place place = TRY(place_of(path, true, "resolve"));
    return place.canonical.empty() ? "/" : std::move(place.canonical);
  });
}

Task<base::Result<StoreStat>> SimFileSystem::store_of(std::string path) {
  co_return co_await Loop::current().on_worker([&]() -> base::Result<StoreStat> {
    TRY(begin(Kind::kStat, path, "stat the file system of"));
    const SimDisk::Place place = TRY(place_of(path, true, "stat the file system of"));
    if (place.inode == nullptr) return refuse(ENOENT, "stat the file system of", path);
    const uint64_t total = disk_.options_.capacity_bytes;
    return StoreStat{.free_bytes = total - std::min(total, disk_.allocated_bytes_),
                     .total_bytes = total};
  });
}

}  // namespace firn::async
