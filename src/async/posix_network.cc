#include "async/posix_network.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "async/posix_address.h"
#include "async/posix_stream.h"
#include "base/check.h"

namespace firn::async {
namespace {

// Waits for `fd` to take part in I/O, or for `token`.
struct Readiness : PollRequest, CancelWaiter {
  Readiness(KernelLoop& on, int descriptor, uint32_t wanted, CancelToken token)
      : CancelWaiter(token,
                     [](CancelWaiter& waiter) {
                       auto& self = static_cast<Readiness&>(waiter);
                       if (!self.waiting()) return;
                       self.loop.cancel(self);
                       self.loop.ready(self.waiter);
                     }),
        loop(on) {
    fd = descriptor;
    events = wanted;
    on_ready = [](PollRequest& request) {
      auto& self = static_cast<Readiness&>(request);
      self.loop.ready(self.waiter);
    };
  }
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> handle) {
    waiter = handle;
    loop.poll(*this);
  }
  void await_resume() const noexcept {}

  KernelLoop& loop;
  std::coroutine_handle<> waiter;
};

// Of a socket that was bound by others and does not listen yet.
constexpr int kAdoptedBacklog = 128;

base::Error connect_error(int problem, const SocketAddress& address) {
  const bool is_file = address.kind == SocketAddress::Kind::kUnix && !address.local.abstract;
  return base::Error::from_errno(
      problem,
      fmt::format("Failed to connect to '{}'", is_file ? address.local.path : address.to_string()));
}

}  // namespace

// Network -----------------------------------------------------------------------------------------

Task<base::Result<std::unique_ptr<Listener>>> PosixNetwork::listen(SocketAddress address,
                                                                   int backlog) {
  if (address.kind == SocketAddress::Kind::kFd) {
    auto listener = adopt_listener(address.fd);
    if (!listener) ::close(address.fd);
    co_return listener;
  }
  auto options = co_await loop_.on_worker([&] {
    return address.kind == SocketAddress::Kind::kUnix ? listen_unix(address, backlog)
                                                      : listen_inet(address, backlog);
  });
  if (!options) co_return base::fail(std::move(options).error());
  co_return std::make_unique<PosixListener>(loop_, std::move(*options));
}

Task<base::Result<std::unique_ptr<Stream>>> PosixNetwork::connect(SocketAddress address,
                                                                  CancelToken cancel) {
  if (address.kind == SocketAddress::Kind::kUnix) {
    co_return co_await connect_unix(std::move(address), cancel);
  }
  if (address.kind == SocketAddress::Kind::kFd) {
    co_return adopt_fds(address.fd, address.fd, address.to_string());
  }
  co_return co_await connect_inet(std::move(address), cancel);
}

Task<int> PosixNetwork::connect_fd(int fd, const void* address, unsigned length,
                                   CancelToken cancel) {
  // A unix socket whose queue is full says EAGAIN and can't be waited for: it is asked again.
  constexpr int kTries = 500;
  constexpr Duration kPause = std::chrono::milliseconds(10);
  for (int tries = 0; ::connect(fd, static_cast<const sockaddr*>(address), length) != 0; ++tries) {
    const int problem = errno;
    if (problem == EAGAIN && tries < kTries) {
      if (!co_await loop_.sleep_for(kPause, cancel)) co_return ECANCELED;
      continue;
    }
    if (problem != EINPROGRESS && problem != EINTR) co_return problem;
    if (cancel.cancelled()) co_return ECANCELED;
    co_await Readiness(loop_, fd, POLLOUT, cancel);
    if (cancel.cancelled()) co_return ECANCELED;
    int outcome = 0;
    socklen_t size = sizeof outcome;
    if (::getsockopt(fd, SOL_SOCKET, SO_ERROR, &outcome, &size) != 0) co_return errno;
    co_return outcome;
  }
  co_return 0;
}

Task<base::Result<std::unique_ptr<Stream>>> PosixNetwork::connect_unix(SocketAddress address,
                                                                       CancelToken cancel) {
  const KernelAddress raw = CO_TRY(unix_address(address.local));
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) co_return base::fail(connect_error(errno, address));
  const int problem = co_await connect_fd(fd, raw.get(), raw.length, cancel);
  if (problem != 0) {
    ::close(fd);
    co_return base::fail(connect_error(problem, address));
  }
  co_return std::make_unique<PosixStream>(loop_, fd, fd, address.to_string());
}

Task<base::Result<std::unique_ptr<Stream>>> PosixNetwork::connect_inet(SocketAddress address,
                                                                       CancelToken cancel) {
  auto found = co_await loop_.on_worker([&] { return resolve(address.inet, false); });
  if (!found) co_return base::fail(std::move(found).error());
  int problem = EADDRNOTAVAIL;
  for (const KernelAddress& raw : *found) {
    const int fd = ::socket(raw.get()->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
      problem = errno;
      continue;
    }
    problem = co_await connect_fd(fd, raw.get(), raw.length, cancel);
    if (problem == 0) co_return std::make_unique<PosixStream>(loop_, fd, fd, name_of(raw));
    ::close(fd);
  }
  co_return base::fail(connect_error(problem, address));
}

base::Result<std::unique_ptr<Stream>> PosixNetwork::adopt(std::unique_ptr<Stream> stream) {
  auto* const own = dynamic_cast<PosixStream*>(stream.get());
  CHECK(own != nullptr);
  own->move_to(loop_);
  return stream;
}

base::Result<std::unique_ptr<Stream>> PosixNetwork::adopt_fds(int receive_fd, int send_fd,
                                                              std::string name) {
  for (const int fd : {receive_fd, send_fd}) {
    if (::fcntl(fd, F_GETFD) < 0) {
      return base::fail(base::Error::from_errno(
          errno, fmt::format("Could not use file descriptor {} for '{}'", fd, name)));
    }
  }
  return std::make_unique<PosixStream>(loop_, receive_fd, send_fd, std::move(name));
}

base::Result<std::unique_ptr<Listener>> PosixNetwork::adopt_listener(int fd) {
  const std::string text = fmt::format("Could not listen on file descriptor {}", fd);
  int listens = 0;
  socklen_t length = sizeof listens;
  if (::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &length) != 0) {
    return base::fail(base::Error::from_errno(errno, text));
  }
  const KernelAddress raw = TRY_CONTEXT(local_address(fd), text);
  PosixListener::Options options;
  options.address = TRY_CONTEXT(address_of(raw), text);
  const bool is_bound = options.address.kind == SocketAddress::Kind::kUnix
                            ? !options.address.local.path.empty()
                            : options.address.inet.port != "0";
  if (listens == 0 && !is_bound) {
    return base::fail(base::ErrorKind::kInvalidArgument,
                      text + ": it is a socket that has no address");
  }
  if (listens == 0 && ::listen(fd, kAdoptedBacklog) != 0) {
    return base::fail(base::Error::from_errno(errno, text));
  }
  options.shared = true;
  options.fds.push_back(fd);
  ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
  ::fcntl(fd, F_SETFD, FD_CLOEXEC);
  return std::make_unique<PosixListener>(loop_, std::move(options));
}

// Listener ----------------------------------------------------------------------------------------

PosixListener::PosixListener(KernelLoop& loop, Options options)
    : loop_(loop), options_(std::move(options)), sockets_(options_.fds.size()) {
  for (size_t i = 0; i != sockets_.size(); ++i) {
    sockets_[i].fd = options_.fds[i];
    sockets_[i].events = POLLIN;
    sockets_[i].listener = this;
    sockets_[i].on_ready = [](PollRequest& request) {
      static_cast<Socket&>(request).listener->waiters_.wake_one();
    };
  }
}

PosixListener::~PosixListener() {
  close();
  CHECK(accepting_ == 0);
}

void PosixListener::close() {
  if (std::exchange(closed_, true)) return;
  // Inline, though it touches a file system: a new listener at the same path must not lose its file
  // to this one, whose inode number it may have inherited.
  struct stat stat{};
  if (!options_.file_to_remove.empty() && ::lstat(options_.file_to_remove.c_str(), &stat) == 0 &&
      stat.st_dev == options_.file_device && stat.st_ino == options_.file_inode) {
    ::unlink(options_.file_to_remove.c_str());
  }
  for (Socket& socket : sockets_) {
    loop_.cancel(socket);
    // A poll that is still being cancelled in the kernel keeps the socket; nobody connects any
    // more.
    if (!options_.shared) ::shutdown(socket.fd, SHUT_RDWR);
    ::close(socket.fd);
  }
  waiters_.wake_all();
}

int PosixListener::accept_now() {
  for (size_t tries = 0; tries != sockets_.size(); ++tries) {
    const int fd = sockets_[next_++ % sockets_.size()].fd;
    while (true) {
      const int client = ::accept4(fd, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
      if (client >= 0) return client;
      // A client that has gone again, or whose network failed, is no failure of ours (accept(2)).
      const bool goes_on = errno == EINTR || errno == ECONNABORTED || errno == EPROTO ||
                           errno == ENETDOWN || errno == ENOPROTOOPT || errno == EHOSTDOWN ||
                           errno == ENONET || errno == EHOSTUNREACH || errno == EOPNOTSUPP ||
                           errno == ENETUNREACH;
      if (goes_on) continue;
      if (errno != EAGAIN) return -1;
      break;
    }
  }
  errno = EAGAIN;
  return -1;
}

Task<base::Result<std::unique_ptr<Stream>>> PosixListener::accept() {
  ++accepting_;
  int client = -1;
  int problem = ECANCELED;
  while (!closed_) {
    client = accept_now();
    problem = errno;
    if (client >= 0 || problem != EAGAIN) break;
    for (Socket& socket : sockets_) {
      if (!socket.waiting()) loop_.poll(socket);
    }
    co_await waiters_.wait();
    problem = ECANCELED;
  }
  --accepting_;
  if (client < 0) {
    co_return base::fail(base::Error::from_errno(
        problem, fmt::format("Could not accept a client on {}", options_.address.to_string())));
  }
  KernelAddress peer;
  peer.length = sizeof peer.storage;
  const bool is_inet = options_.address.kind == SocketAddress::Kind::kInet;
  std::string name = options_.address.to_string();
  if (is_inet &&
      ::getpeername(client, reinterpret_cast<sockaddr*>(&peer.storage), &peer.length) == 0) {
    name = name_of(peer);
  }
  co_return std::make_unique<PosixStream>(loop_, client, client, std::move(name));
}

}  // namespace firn::async
