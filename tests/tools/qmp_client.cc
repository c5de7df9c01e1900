#include "tests/tools/qmp_client.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cerrno>
#include <utility>

namespace firn::tests {

using base::Error;
using base::ErrorKind;
using base::fail;
using base::Result;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {

constexpr milliseconds kGreetingTimeout{10'000};

// True if the line is an object with this member.
Result<bool> has_member(const std::string& line, std::string_view member) {
  boost::system::error_code error;
  boost::json::value value = boost::json::parse(line, error);
  if (error || !value.is_object()) {
    return fail(ErrorKind::kGeneric, fmt::format("QMP: not a JSON object: {}", line));
  }
  return value.as_object().contains(member);
}

}  // namespace

QmpClient::QmpClient(QmpClient&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      received_(std::move(other.received_)),
      events_(std::move(other.events_)) {}

QmpClient::~QmpClient() {
  if (fd_ >= 0) close(fd_);
}

Result<QmpClient> QmpClient::connect(const std::string& socket_path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket_path.size() >= sizeof address.sun_path) {
    return fail(ErrorKind::kInvalidArgument,
                fmt::format("{}: too long for a socket's path", socket_path));
  }
  std::ranges::copy(socket_path, address.sun_path);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return fail(Error::from_errno(errno, "socket"));
  QmpClient client(fd);
  if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    return fail(Error::from_errno(errno, socket_path));
  }
  auto greeting = TRY(client.next_line(steady_clock::now() + kGreetingTimeout));
  if (greeting.empty() || !TRY(has_member(greeting, "QMP"))) {
    return fail(ErrorKind::kGeneric, fmt::format("{}: no QMP greeting", socket_path));
  }
  auto reply = TRY(client.execute(R"({"execute": "qmp_capabilities"})", kGreetingTimeout));
  if (!TRY(has_member(reply, "return"))) {
    return fail(ErrorKind::kGeneric, fmt::format("qmp_capabilities failed: {}", reply));
  }
  return client;
}

Result<std::string> QmpClient::next_line(Deadline deadline) {
  for (;;) {
    if (auto end = received_.find('\n'); end != std::string::npos) {
      std::string line = received_.substr(0, end);
      received_.erase(0, end + 1);
      return line;
    }
    auto left = std::chrono::ceil<milliseconds>(deadline - steady_clock::now());
    if (left.count() <= 0) return std::string();
    pollfd readable{.fd = fd_, .events = POLLIN, .revents = 0};
    int ready = poll(&readable, 1, static_cast<int>(left.count()));
    if (ready < 0 && errno != EINTR) return fail(Error::from_errno(errno, "QMP"));
    if (ready <= 0) continue;
    char buffer[16384];
    ssize_t count = read(fd_, buffer, sizeof buffer);
    if (count < 0) return fail(Error::from_errno(errno, "QMP"));
    if (count == 0) return fail(ErrorKind::kIo, "QMP: the daemon closed the connection");
    received_.append(buffer, static_cast<size_t>(count));
  }
}

Result<> QmpClient::send_line(const std::string& line) {
  std::string rest = line + "\n";
  while (!rest.empty()) {
    ssize_t count = send(fd_, rest.data(), rest.size(), MSG_NOSIGNAL);
    if (count < 0) return fail(Error::from_errno(errno, "QMP"));
    rest.erase(0, static_cast<size_t>(count));
  }
  return {};
}

Result<std::string> QmpClient::execute(const std::string& command, milliseconds timeout) {
  TRY(send_line(command));
  auto deadline = steady_clock::now() + timeout;
  for (;;) {
    std::string line = TRY(next_line(deadline));
    if (line.empty()) {
      return fail(ErrorKind::kTimedOut,
                  fmt::format("no reply within {} ms to {}", timeout.count(), command));
    }
    if (!TRY(has_member(line, "event"))) return line;
    events_.push_back(std::move(line));
  }
}

Result<> QmpClient::collect_events(milliseconds duration) {
  auto deadline = steady_clock::now() + duration;
  for (;;) {
    std::string line = TRY(next_line(deadline));
    if (line.empty()) return {};
    events_.push_back(std::move(line));
  }
}

std::vector<std::string> QmpClient::take_events() { return std::exchange(events_, {}); }

}  // namespace firn::tests
