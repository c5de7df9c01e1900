#include "async/epoll_loop.h"

#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <utility>

#include "base/check.h"

namespace firn::async {

base::Result<std::unique_ptr<EpollLoop>> EpollLoop::create(std::string name, WorkerPool& workers) {
  std::unique_ptr<EpollLoop> loop(new EpollLoop(std::move(name), workers));
  loop->epoll_fd_ = epoll_create1(EPOLL_CLOEXEC);
  if (loop->epoll_fd_ < 0) {
    return base::fail(base::Error::from_errno(errno, "Could not make an event loop"));
  }
  TRY(loop->open_wake());
  return loop;
}

EpollLoop::~EpollLoop() {
  if (epoll_fd_ >= 0) ::close(epoll_fd_);
}

bool EpollLoop::watch(int fd) {
  const Waiters& waiters = waiters_[fd];
  epoll_event event{};
  event.events = EPOLLONESHOT;
  if (waiters.in != nullptr) event.events |= EPOLLIN;
  if (waiters.out != nullptr) event.events |= EPOLLOUT;
  event.data.fd = fd;
  if (epoll_ctl(epoll_fd_, EPOLL_CTL_MOD, fd, &event) == 0) return true;
  CHECK(errno == ENOENT || errno == EPERM);
  if (errno == ENOENT && epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, fd, &event) == 0) return true;
  return false;
}

void EpollLoop::poll(PollRequest& request) {
  CHECK(!request.waiting() && request.fd >= 0);
  if (waiters_.size() <= static_cast<size_t>(request.fd)) waiters_.resize(request.fd + 1);
  request.slot = &request;
  Waiters& waiters = waiters_[request.fd];
  PollRequest*& mine = request.events == POLLIN ? waiters.in : waiters.out;
  CHECK(mine == nullptr);
  mine = &request;
  if (watch(request.fd)) return;
  // Whoever is told tries the operation, which then shows what is wrong, if anything is.
  mine = nullptr;
  ready_now_.push_back(&request);
}

void EpollLoop::cancel(PollRequest& request) {
  if (!request.waiting()) return;
  request.slot = nullptr;
  if (std::erase(ready_now_, &request) != 0) return;
  Waiters& waiters = waiters_[request.fd];
  (request.events == POLLIN ? waiters.in : waiters.out) = nullptr;
  watch(request.fd);
}

void EpollLoop::wait(std::optional<Duration> timeout) {
  std::array<epoll_event, 256> events;
  if (!ready_now_.empty()) timeout = Duration::zero();
  timespec time{};
  if (timeout) {
    time.tv_sec = *timeout / std::chrono::seconds(1);
    time.tv_nsec = (*timeout % std::chrono::seconds(1)).count();
  }
  int count =
      epoll_pwait2(epoll_fd_, events.data(), events.size(), timeout ? &time : nullptr, nullptr);
  if (count < 0 && (errno == ENOSYS || errno == EPERM)) {
    // Linux before 5.11, or a filter that is older than that. Rounded up: never too early.
    const auto wait_ms =
        timeout ? std::min<int64_t>((timeout->count() + 999'999) / 1'000'000, INT_MAX) : -1;
    count = epoll_wait(epoll_fd_, events.data(), events.size(), static_cast<int>(wait_ms));
  }
  for (int i = 0; i < count; ++i) dispatch(events[i].data.fd, events[i].events);

  // One that is told may wait again, for the next turn.
  for (PollRequest* request : std::exchange(ready_now_, {})) {
    request->slot = nullptr;
    request->on_ready(*request);
  }
}

void EpollLoop::dispatch(int fd, uint32_t events) {
  Waiters& waiters = waiters_[fd];
  constexpr uint32_t kBoth = EPOLLERR | EPOLLHUP;
  PollRequest* const in =
      (events & (EPOLLIN | kBoth)) ? std::exchange(waiters.in, nullptr) : nullptr;
  PollRequest* const out =
      (events & (EPOLLOUT | kBoth)) ? std::exchange(waiters.out, nullptr) : nullptr;
  // Reported once, the descriptor is disarmed; who still waits has it armed again.
  if (waiters.in != nullptr || waiters.out != nullptr) watch(fd);
  if (in != nullptr) in->slot = nullptr;
  if (out != nullptr) out->slot = nullptr;
  // The first must not end the second's life: both belong to one stream, which only a coroutine
  // destroys, and coroutines run later.
  if (in != nullptr) in->on_ready(*in);
  if (out != nullptr) out->on_ready(*out);
}

}  // namespace firn::async
