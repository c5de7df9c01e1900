#include "async/posix_stream.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "async/posix_address.h"
#include "base/check.h"

namespace firn::async {
namespace {

bool is_socket(int fd) {
  struct stat stat{};
  return ::fstat(fd, &stat) == 0 && S_ISSOCK(stat.st_mode);
}

// Empty where the kernel does not tell (before Linux 4.13).
std::vector<gid_t> peer_groups(int fd) {
  std::vector<gid_t> groups(64);
  socklen_t bytes = groups.size() * sizeof(gid_t);
  int status = ::getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &bytes);
  if (status != 0 && errno == ERANGE) {  // `bytes` is what it takes
    groups.resize(bytes / sizeof(gid_t));
    status = ::getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &bytes);
  }
  groups.resize(status == 0 ? bytes / sizeof(gid_t) : 0);
  return groups;
}

// A pipe or a terminal that was handed over shares its O_NONBLOCK with other processes, which don't
// expect it. Opened anew, it is a description of our own. -1 if that can't be had.
int reopen_nonblocking(int fd, bool receives) {
  struct stat stat{};
  if (::fstat(fd, &stat) != 0 || (!S_ISFIFO(stat.st_mode) && !S_ISCHR(stat.st_mode))) return -1;
  const std::string path = fmt::format("/proc/self/fd/{}", fd);
  return ::open(path.c_str(), (receives ? O_RDONLY : O_WRONLY) | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
}

bool is_ready_now(int fd, short events) {
  pollfd request{.fd = fd, .events = events, .revents = 0};
  return ::poll(&request, 1, 0) > 0;
}

void close_owned(int fd) {
  if (fd > STDERR_FILENO) ::close(fd);
}

}  // namespace

PosixStream::PosixStream(KernelLoop& loop, int receive_fd, int send_fd, std::string peer_name)
    : loop_(&loop), peer_name_(std::move(peer_name)) {
  open_side(receive_, receive_fd, true);
  open_side(send_, send_fd, false);
  const auto is_used = [this](int fd) { return receive_.fd == fd || send_.fd == fd; };
  if (!is_used(receive_fd)) close_owned(receive_fd);
  if (!is_used(send_fd) && send_fd != receive_fd) close_owned(send_fd);
  if (send_.is_socket) {
    const int on = 1;  // refused on what is not TCP
    ::setsockopt(send_.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
}

PosixStream::~PosixStream() {
  CHECK(receive_.op == nullptr && send_.op == nullptr);
  close_side(receive_);
  close_side(send_);
}

void PosixStream::open_side(Side& side, int fd, bool receives) {
  side.fd = fd;
  side.stream = this;
  side.is_socket = is_socket(fd);
  side.poll.events = receives ? POLLIN : POLLOUT;
  if (!side.is_socket && !(::fcntl(fd, F_GETFL) & O_NONBLOCK)) {
    const int own = reopen_nonblocking(fd, receives);
    if (own >= 0) {
      side.fd = own;
    } else {
      side.may_block = true;
    }
  }
  side.poll.fd = side.fd;
}

void PosixStream::close_side(Side& side) {
  if (side.fd >= 0 && (&side == &receive_ || side.fd != receive_.fd)) close_owned(side.fd);
}

bool PosixStream::start(StreamOp& op) {
  if (closed_) {
    op.result = -ECANCELED;
    return true;
  }
  Side& side = side_of(op);
  CHECK(side.op == nullptr);
  op.done_bytes = 0;
  if (advance(side, op)) return loop_->may_go_on(op.waiter);
  side.op = &op;
  wait_for(side);
  return false;
}

int64_t PosixStream::move_once(Side& side, const StreamOp& op) {
  IoVec storage;
  const IoVec* rest = op.iov;
  if (op.done_bytes != 0) {
    storage = op.iov->slice(op.done_bytes, op.iov->size_bytes() - op.done_bytes);
    rest = &storage;
  }
  auto pieces = rest->pieces();
  pieces = pieces.first(std::min<size_t>(pieces.size(), IOV_MAX));
  const bool receives = op.kind == StreamOp::Kind::kReceive;
  if (receives && side.stream->descriptor_sink_ != nullptr) {
    return side.stream->receive_message(pieces);
  }
  if (side.is_socket) {
    constexpr int kFlags = MSG_DONTWAIT | MSG_NOSIGNAL;
    if (pieces.size() == 1) {
      return receives ? ::recv(side.fd, pieces[0].iov_base, pieces[0].iov_len, kFlags)
                      : ::send(side.fd, pieces[0].iov_base, pieces[0].iov_len, kFlags);
    }
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(pieces.data());
    message.msg_iovlen = pieces.size();
    return receives ? ::recvmsg(side.fd, &message, kFlags) : ::sendmsg(side.fd, &message, kFlags);
  }
  if (side.may_block) {
    if (!is_ready_now(side.fd, static_cast<short>(side.poll.events))) {
      errno = EAGAIN;
      return -1;
    }
    // What is ready takes PIPE_BUF bytes at least (pipe(7)).
    const size_t length = std::min<size_t>(pieces[0].iov_len, PIPE_BUF);
    return receives ? ::read(side.fd, pieces[0].iov_base, pieces[0].iov_len)
                    : ::write(side.fd, pieces[0].iov_base, length);
  }
  const int count = static_cast<int>(pieces.size());
  return receives ? ::readv(side.fd, pieces.data(), count)
                  : ::writev(side.fd, pieces.data(), count);
}

int64_t PosixStream::receive_message(std::span<const iovec> pieces) {
  constexpr size_t kMostDescriptors = 253;  // the kernel's limit for one message: SCM_MAX_FD
  alignas(cmsghdr) std::byte control[CMSG_SPACE(kMostDescriptors * sizeof(int))];
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(pieces.data());
  message.msg_iovlen = pieces.size();
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const int64_t received = ::recvmsg(receive_.fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (received < 0) return received;
  std::vector<int> fds;
  for (cmsghdr* each = CMSG_FIRSTHDR(&message); each; each = CMSG_NXTHDR(&message, each)) {
    if (each->cmsg_level != SOL_SOCKET || each->cmsg_type != SCM_RIGHTS) continue;
    const size_t old = fds.size();
    const size_t count = (each->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    fds.resize(old + count);
    std::memcpy(fds.data() + old, CMSG_DATA(each), count * sizeof(int));
  }
  if (!fds.empty()) descriptor_sink_->on_descriptors(fds, received_bytes_);
  received_bytes_ += static_cast<uint64_t>(received);
  return received;
}

bool PosixStream::advance(Side& side, StreamOp& op) {
  while (op.done_bytes != op.iov->size_bytes()) {
    const int64_t moved = move_once(side, op);
    if (moved < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN) return false;
      op.result = -errno;
      return true;
    }
    op.done_bytes += static_cast<uint64_t>(moved);
    if (op.kind == StreamOp::Kind::kReceive) break;
  }
  op.result = static_cast<int64_t>(op.done_bytes);
  return true;
}

void PosixStream::wait_for(Side& side) {
  // What comes into one piece of memory, the ring receives without another call.
  if (&side == &receive_ && side.is_socket && loop_->has_ring() && descriptor_sink_ == nullptr &&
      side.op->iov->pieces().size() == 1) {
    return receive_on_ring(side);
  }
  side.poll.on_ready = [](PollRequest& poll) {
    auto& side = *reinterpret_cast<Side*>(reinterpret_cast<char*>(&poll) - offsetof(Side, poll));
    if (advance(side, *side.op)) {
      side.stream->finish(side);
    } else {
      side.stream->wait_for(side);
    }
  };
  loop_->poll(side.poll);
}

void PosixStream::receive_on_ring(Side& side) {
  side.on_ring = true;
  side.ring.kind = RingRequest::Kind::kReceive;
  side.ring.fd = side.fd;
  side.ring.pieces = side.op->iov->pieces().data();
  side.ring.piece_count = 1;
  side.ring.complete = [](RingRequest& ring, int32_t result) {
    on_ring_result(*reinterpret_cast<Side*>(reinterpret_cast<char*>(&ring) - offsetof(Side, ring)),
                   result);
  };
  loop_->submit(side.ring);
}

void PosixStream::on_ring_result(Side& side, int32_t result) {
  side.on_ring = false;
  PosixStream& self = *side.stream;
  if (self.closed_) {
    result = -ECANCELED;
  } else if (result == -EINTR || result == -EAGAIN || result == -ECANCELED) {
    return self.wait_for(side);
  }
  side.op->result = result;
  self.finish(side);
}

void PosixStream::finish(Side& side) { loop_->ready(std::exchange(side.op, nullptr)->waiter); }

void PosixStream::cancel(Side& side) {
  if (side.op == nullptr) return;
  if (side.on_ring) {
    // The kernel may be storing to the memory: the operation ends when the ring says so.
    loop_->cancel(side.ring);
    return;
  }
  loop_->cancel(side.poll);
  side.op->result = -ECANCELED;
  finish(side);
}

void PosixStream::shutdown_send() {
  if (closed_) return;
  if (send_.is_socket) {
    ::shutdown(send_.fd, SHUT_WR);
  } else if (send_.fd != receive_.fd) {
    close_owned(std::exchange(send_.fd, -1));
  }
}

void PosixStream::close() {
  if (std::exchange(closed_, true)) return;
  cancel(receive_);
  cancel(send_);
  // The peer hears of it now, not only when the last reference to the socket is gone.
  if (receive_.is_socket) ::shutdown(receive_.fd, SHUT_RDWR);
}

std::optional<PeerCredentials> PosixStream::peer_credentials() const {
  int domain = 0;
  socklen_t length = sizeof domain;
  if (!receive_.is_socket ||
      ::getsockopt(receive_.fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) != 0 ||
      domain != AF_UNIX) {
    return std::nullopt;
  }
  ucred credentials{};
  length = sizeof credentials;
  if (::getsockopt(receive_.fd, SOL_SOCKET, SO_PEERCRED, &credentials, &length) != 0 ||
      credentials.uid == static_cast<uid_t>(-1)) {
    return std::nullopt;
  }
  return PeerCredentials{credentials.pid, credentials.uid, credentials.gid,
                         peer_groups(receive_.fd)};
}

bool PosixStream::peer_is_gone() const {
  // Of a pipe, the end that we write to tells (POLLERR).
  pollfd state{.fd = send_.fd, .events = 0, .revents = 0};
  return closed_ || (::poll(&state, 1, 0) == 1 && (state.revents & (POLLHUP | POLLERR)) != 0);
}

std::string PosixStream::local_name() const {
  if (!receive_.is_socket) return {};
  const auto address = local_address(receive_.fd);
  if (!address || address->get()->sa_family == AF_UNIX) return {};
  return name_of(*address);
}

void PosixStream::set_descriptor_sink(DescriptorSink* sink) {
  CHECK(receive_.op == nullptr);
  const auto address = receive_.is_socket ? local_address(receive_.fd)
                                          : base::Result<KernelAddress>(KernelAddress{});
  if (address && address->get()->sa_family == AF_UNIX) descriptor_sink_ = sink;
}

void PosixStream::move_to(KernelLoop& loop) {
  CHECK(receive_.op == nullptr && send_.op == nullptr);
  loop_ = &loop;
}

}  // namespace firn::async
