#include "daemon/client_fds.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cctype>
#include <optional>
#include <utility>

namespace firn::daemon {

using async::Task;
using base::ErrorKind;
using base::fail;
using base::Result;

FdInbox::~FdInbox() {
  for (const Waiting& each : waiting_) ::close(each.fd);
}

void FdInbox::on_descriptors(std::span<const int> fds, uint64_t position) {
  for (const int fd : fds.subspan(1)) ::close(fd);
  waiting_.push_back({.fd = fds.front(), .position = position});
  if (waiting_.size() <= kMost) return;
  ::close(waiting_.front().fd);
  waiting_.pop_front();
}

int FdInbox::take(uint64_t end) {
  int taken = -1;
  while (!waiting_.empty() && waiting_.front().position < end) {
    if (taken >= 0) ::close(taken);
    taken = waiting_.front().fd;
    waiting_.pop_front();
  }
  return taken;
}

ClientFds::~ClientFds() {
  for (const auto& [name, fd] : names_) ::close(fd);
}

Result<int> ClientFds::take_sent() {
  const int fd = inbox_.take(position_);
  if (fd >= 0) return fd;
  return fail(ErrorKind::kInvalidArgument, "No file descriptor supplied via SCM_RIGHTS");
}

Result<int> ClientFds::take_socket(std::string_view name) {
  const auto found = names_.find(name);
  if (found == names_.end()) return more_(name);
  struct stat stat{};
  if (::fstat(found->second, &stat) != 0 || !S_ISSOCK(stat.st_mode)) {
    return fail(ErrorKind::kInvalidArgument,
                fmt::format("File descriptor '{}' is not a socket", name));
  }
  const int fd = found->second;
  names_.erase(found);
  return fd;
}

Task<Result<>> ClientFds::getfd(api::GetfdArgs args) {
  const int fd = CO_TRY(take_sent());
  // A number would look like a descriptor that was open at the start.
  if (!args.fdname.empty() && std::isdigit(static_cast<unsigned char>(args.fdname.front()))) {
    ::close(fd);
    co_return fail(ErrorKind::kInvalidArgument,
                   "Parameter 'fdname' expects a name not starting with a digit");
  }
  if (names_.size() >= kMostNames && !names_.contains(args.fdname)) {
    ::close(fd);
    co_return fail(base::Error(base::ErrorKind::kBusy,
                               fmt::format("This client has {} file descriptors already and keeps "
                                           "no more",
                                           kMostNames))
                       .with_hint("Close some with closefd."));
  }
  const auto [at, added] = names_.try_emplace(std::move(args.fdname), fd);
  if (!added) ::close(std::exchange(at->second, fd));
  co_return Result<>();
}

Task<Result<>> ClientFds::closefd(api::ClosefdArgs args) {
  const auto found = names_.find(args.fdname);
  if (found == names_.end()) {
    co_return fail(ErrorKind::kNotFound,
                   fmt::format("File descriptor named '{}' not found", args.fdname));
  }
  ::close(found->second);
  names_.erase(found);
  co_return Result<>();
}

Task<Result<api::AddfdInfo>> ClientFds::add_fd(api::AddFdArgs args) {
  const int fd = CO_TRY(take_sent());
  const auto added = CO_TRY(sets_.add(fd, args.fdset_id, std::move(args.opaque)));
  co_return api::AddfdInfo{.fdset_id = added.set, .fd = added.fd};
}

Task<Result<>> ClientFds::remove_fd(api::RemoveFdArgs args) {
  co_return sets_.remove(args.fdset_id, args.fd);
}

Task<Result<std::vector<api::FdsetInfo>>> ClientFds::query_fdsets() {
  std::vector<api::FdsetInfo> list;
  for (file::FdSets::Set& set : sets_.list()) {
    api::FdsetInfo& info = list.emplace_back();
    info.fdset_id = set.id;
    for (file::FdSets::Descriptor& each : set.fds) {
      info.fds.push_back({.fd = each.fd, .opaque = std::move(each.opaque)});
    }
  }
  co_return list;
}

}  // namespace firn::daemon
