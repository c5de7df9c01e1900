#include "drivers/file/fd_sets.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <utility>

namespace firn::file {

using base::Error;
using base::ErrorKind;
using base::fail;
using base::Result;

namespace {

constexpr std::string_view kPrefix = "/dev/fdset/";

std::unexpected<Error> not_found(int64_t set, std::optional<int64_t> fd) {
  const std::string name =
      fd ? fmt::format("fdset-id:{}, fd:{}", set, *fd) : fmt::format("fdset-id:{}", set);
  return fail(ErrorKind::kNotFound, fmt::format("File descriptor named '{}' not found", name));
}

// What is set on a descriptor is set on all its copies.
Result<> set_direct(int fd, bool direct) {
  const int flags = ::fcntl(fd, F_GETFL);
  const int wanted = (flags & ~(O_DIRECT | O_APPEND | O_NONBLOCK)) | (direct ? O_DIRECT : 0);
  if (flags >= 0 && (wanted == flags || ::fcntl(fd, F_SETFL, wanted) == 0)) return {};
  return fail(Error::from_errno(errno, "Could not set the flags of a file descriptor"));
}

}  // namespace

std::optional<Result<int64_t>> parse_fdset(std::string_view filename) {
  if (!filename.starts_with(kPrefix)) return std::nullopt;
  const std::string_view text = filename.substr(kPrefix.size());
  int64_t id = -1;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), id);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size() || id < 0) {
    return fail(ErrorKind::kInvalidArgument, fmt::format("Could not parse fdset {}", filename));
  }
  return id;
}

FdSets::~FdSets() {
  for (auto& [id, entry] : entries_) {
    for (const Descriptor& each : entry.fds) ::close(each.fd);
  }
}

Result<FdSets::Added> FdSets::add(int fd, std::optional<int64_t> set,
                                  std::optional<std::string> opaque) {
  const std::lock_guard lock(mutex_);
  if (set && *set < 0) {
    ::close(fd);
    return fail(ErrorKind::kInvalidArgument, "Parameter 'fdset-id' expects a non-negative value");
  }
  if (!set) {
    set = 0;
    for (const auto& [id, entry] : entries_) {
      if (id != *set) break;
      ++*set;
    }
  }
  std::vector<Descriptor>& fds = entries_[*set].fds;
  fds.insert(fds.begin(), {.fd = fd, .opaque = std::move(opaque)});
  return Added{.set = *set, .fd = fd};
}

void FdSets::drop_if_empty(Entries::iterator at) {
  if (at->second.fds.empty() && at->second.in_use.expired()) entries_.erase(at);
}

Result<> FdSets::remove(int64_t set, std::optional<int64_t> fd) {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(set);
  if (found == entries_.end()) return not_found(set, fd);
  std::vector<Descriptor>& fds = found->second.fds;
  const size_t removed = std::erase_if(fds, [&](const Descriptor& each) {
    if (fd && each.fd != *fd) return false;
    ::close(each.fd);
    return true;
  });
  if (removed == 0) return not_found(set, fd);
  drop_if_empty(found);
  return {};
}

std::vector<FdSets::Set> FdSets::list() const {
  const std::lock_guard lock(mutex_);
  std::vector<Set> sets;
  for (const auto& [id, entry] : entries_) {
    // One that is only held by who uses it has nothing to show.
    if (!entry.fds.empty()) sets.push_back({.id = id, .fds = entry.fds});
  }
  return sets;
}

Result<FdSets::Copy> FdSets::open(int64_t set, bool writable, bool direct) {
  const std::lock_guard lock(mutex_);
  const std::string what = fmt::format("Could not dup FD for {}{} flags {:x}", kPrefix, set,
                                       (writable ? O_RDWR : O_RDONLY) | (direct ? O_DIRECT : 0));
  const auto found = entries_.find(set);
  if (found == entries_.end()) return fail(Error::from_errno(ENOENT, what));
  Entry& entry = found->second;
  const auto fits = std::ranges::find_if(entry.fds, [&](const Descriptor& each) {
    const int flags = ::fcntl(each.fd, F_GETFL);
    return flags >= 0 && (flags & O_ACCMODE) == (writable ? O_RDWR : O_RDONLY);
  });
  if (fits == entry.fds.end()) return fail(Error::from_errno(EACCES, what));
  TRY_CONTEXT(set_direct(fits->fd, direct), what);
  const int copy = ::fcntl(fits->fd, F_DUPFD_CLOEXEC, 0);
  if (copy < 0) return fail(Error::from_errno(errno, what));
  std::shared_ptr<void> in_use = entry.in_use.lock();
  if (in_use == nullptr) {
    in_use =
        std::shared_ptr<void>(this, [](void* self) { static_cast<FdSets*>(self)->close_unused(); });
    entry.in_use = in_use;
  }
  return Copy{.fd = copy, .in_use = std::move(in_use)};
}

void FdSets::set_has_clients(bool has_clients) {
  {
    const std::lock_guard lock(mutex_);
    has_clients_ = has_clients;
  }
  close_unused();
}

void FdSets::close_unused() {
  const std::lock_guard lock(mutex_);
  for (auto at = entries_.begin(); at != entries_.end();) {
    Entry& entry = at->second;
    const bool unused = entry.in_use.expired();
    if (unused && !has_clients_) {
      for (const Descriptor& each : entry.fds) ::close(each.fd);
      entry.fds.clear();
    }
    at = unused && entry.fds.empty() ? entries_.erase(at) : std::next(at);
  }
}

FdSets& process_fd_sets() {
  static FdSets sets;
  return sets;
}

}  // namespace firn::file
