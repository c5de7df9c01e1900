#include "chardev/listen_fds.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <optional>
#include <utility>

namespace firn::chardev {

using base::Error;
using base::ErrorKind;
using base::fail;
using base::Result;

namespace {

constexpr int kFirstFd = 3;  // SD_LISTEN_FDS_START
constexpr int kMostFds = 1024;

template <typename Number>
std::optional<Number> parse_number(std::string_view text) {
  Number number{};
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) return std::nullopt;
  return number;
}

// What a variable says, which is removed.
std::optional<std::string> take_variable(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr) return std::nullopt;
  std::string text = value;
  ::unsetenv(name);
  return text;
}

bool is_socket(int fd) {
  struct stat stat{};
  return ::fstat(fd, &stat) == 0 && S_ISSOCK(stat.st_mode);
}

std::vector<std::string> split_names(std::string_view text) {
  std::vector<std::string> names;
  while (true) {
    const size_t colon = text.find(':');
    names.emplace_back(text.substr(0, colon));
    if (colon == std::string_view::npos) return names;
    text.remove_prefix(colon + 1);
  }
}

}  // namespace

Result<InheritedSockets> InheritedSockets::from_environment() {
  const auto pid = take_variable("LISTEN_PID");
  const auto count_text = take_variable("LISTEN_FDS");
  const auto names_text = take_variable("LISTEN_FDNAMES");
  InheritedSockets result;
  if (!pid || !count_text || *pid != std::to_string(::getpid())) return result;
  const auto count = parse_number<int>(*count_text);
  if (!count || *count < 0 || *count > kMostFds) {
    return fail(
        ErrorKind::kInvalidArgument,
        fmt::format("LISTEN_FDS={}: expected a number from 0 to {}", *count_text, kMostFds));
  }
  std::vector<std::string> names(static_cast<size_t>(*count), "unknown");
  if (names_text && *count > 0) names = split_names(*names_text);
  if (names.size() != static_cast<size_t>(*count)) {
    return fail(ErrorKind::kInvalidArgument,
                fmt::format("LISTEN_FDNAMES={}: {} names for {} descriptors",
                            names_text.value_or(""), names.size(), *count));
  }
  for (int i = 0; i != *count; ++i) {
    const int fd = kFirstFd + i;
    if (::fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) {
      return fail(Error::from_errno(
          errno, fmt::format("LISTEN_FDS={}: file descriptor {}", *count_text, fd)));
    }
    result.sockets_.push_back({.name = std::move(names[static_cast<size_t>(i)]), .fd = fd});
  }
  return result;
}

Result<int> InheritedSockets::take(std::string_view text) {
  const auto number = parse_number<int>(text);
  if (!number) {
    if (auto fd = take_named(text)) return fd;
    Error error(ErrorKind::kInvalidArgument, fmt::format("Unable to parse FD number {}", text));
    std::string names;
    for (const Socket& socket : sockets_) names += fmt::format(" '{}'", socket.name);
    if (!names.empty()) {
      error = std::move(error).with_hint("Sockets of the service manager that are left:" + names);
    }
    return fail(std::move(error));
  }
  if (taken_.contains(*number)) {
    return fail(ErrorKind::kBusy, fmt::format("File descriptor '{}' is already in use", *number));
  }
  if (!is_socket(*number)) {
    return fail(ErrorKind::kInvalidArgument,
                fmt::format("File descriptor '{}' is not a socket", *number));
  }
  std::erase_if(sockets_, [&](const Socket& socket) { return socket.fd == *number; });
  taken_.insert(*number);
  ::fcntl(*number, F_SETFD, FD_CLOEXEC);
  return *number;
}

Result<int> InheritedSockets::take_named(std::string_view name) {
  const auto found = std::ranges::find(sockets_, name, &Socket::name);
  if (found == sockets_.end()) {
    return fail(ErrorKind::kNotFound,
                fmt::format("File descriptor named '{}' has not been found", name));
  }
  const int fd = found->fd;
  if (!is_socket(fd)) {
    return fail(ErrorKind::kInvalidArgument,
                fmt::format("File descriptor '{}' is not a socket", name));
  }
  sockets_.erase(found);
  taken_.insert(fd);
  return fd;
}

}  // namespace firn::chardev
