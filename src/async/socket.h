// Byte streams between processes, as a loop sees them.
#pragma once

#include <sys/types.h>

#include <coroutine>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "async/iovec.h"
#include "async/loop.h"
#include "async/task.h"
#include "base/result.h"

namespace firn::async {

struct UnixAddress {
  std::string path;
  bool abstract = false;  // in Linux's abstract name space
  bool tight = true;      // abstract: the name's length is the address's, no padding
};
struct InetAddress {
  std::string host;  // empty: all addresses when listening, localhost when connecting
  std::string port;  // a number or a service; "0" lets the kernel choose
  bool ipv4 = true;
  bool ipv6 = true;
};
struct SocketAddress {
  enum class Kind { kUnix, kInet, kFd } kind = Kind::kUnix;
  UnixAddress local;
  InetAddress inet;
  int fd = -1;  // kFd: a socket that is open already; listen() and connect() take it over

  static SocketAddress of_unix(std::string path) {
    return {.kind = Kind::kUnix, .local = {.path = std::move(path)}, .inet = {}};
  }
  static SocketAddress of_inet(std::string host, std::string port) {
    return {.kind = Kind::kInet,
            .local = {},
            .inet = {.host = std::move(host), .port = std::move(port)}};
  }
  static SocketAddress of_fd(int fd) {
    return {.kind = Kind::kFd, .local = {}, .inet = {}, .fd = fd};
  }
  // "unix:/run/firn.sock", "127.0.0.1:10809", "[::1]:10809", "fd:3": as QEMU prints them.
  std::string to_string() const;
};

// Who is at the other end of a unix socket, as of its connecting or listening (SO_PEERCRED,
// SO_PEERGROUPS).
struct PeerCredentials {
  pid_t pid = 0;  // 0: a process that our PID namespace does not see
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups = {};  // supplementary; empty where the kernel does not tell
};

// One operation in flight. It lives in the awaiting coroutine's frame.
struct StreamOp {
  enum class Kind : uint8_t { kReceive, kSend };
  Kind kind = Kind::kReceive;
  const IoVec* iov = nullptr;
  int64_t result = 0;  // bytes, or a negative errno
  std::coroutine_handle<> waiter;
  StreamOp* next = nullptr;  // for the implementation's use, as is the rest
  void* context = nullptr;
  uint64_t done_bytes = 0;
};

// Takes the descriptors that a peer sends along with its bytes (SCM_RIGHTS of unix(7)).
class DescriptorSink {
 public:
  virtual ~DescriptorSink() = default;
  // Within a receive that brings `fds`, which the sink owns from here on; they close on exec.
  // `position` bytes had been received before it.
  virtual void on_descriptors(std::span<const int> fds, uint64_t position) = 0;
};

// A connected stream. One receive and one send may be in flight at a time. Belongs to one loop;
// no operation may be in flight when it is destroyed: close() it and await what was begun.
class Stream {
 public:
  virtual ~Stream() = default;

  // At least one byte, or 0 at the end of the stream; kCancelled after close().
  auto receive(const IoVec& iov) { return Awaiter<uint64_t>(*this, StreamOp::Kind::kReceive, iov); }
  // All of it. A peer that is gone gives an error, never a signal.
  auto send(const IoVec& iov) { return Awaiter<void>(*this, StreamOp::Kind::kSend, iov); }

  // Tells the peer that no more comes; receiving goes on.
  virtual void shutdown_send() = 0;
  // Ends the stream: operations in flight, and all later ones, give kCancelled. Idempotent.
  virtual void close() = 0;

  // None for what is no unix socket.
  virtual std::optional<PeerCredentials> peer_credentials() const = 0;
  // Whether the peer is known to have left. One that only stopped sending is still there; over TCP
  // the two look the same until something is sent.
  virtual bool peer_is_gone() const { return false; }
  // For logs: "unix:/run/x.sock", "127.0.0.1:53422", "stdio".
  virtual std::string peer_name() const = 0;
  // This end, of TCP: "127.0.0.1:10809". Else empty.
  virtual std::string local_name() const { return {}; }

  // From now on descriptors that the peer sends go to `sink`, which outlives the stream's last
  // receive. Without a sink, and on what is no unix socket, they are closed. Nothing is in flight.
  virtual void set_descriptor_sink(DescriptorSink* sink) { (void)sink; }

 protected:
  // As File::start.
  virtual bool start(StreamOp& op) = 0;

 private:
  static base::Error error_of(const Stream& stream, const StreamOp& op);

  template <typename R>
  class Awaiter {
   public:
    Awaiter(Stream& stream, StreamOp::Kind kind, const IoVec& iov) : stream_(stream) {
      op_.kind = kind;
      op_.iov = &iov;
    }
    bool await_ready() const noexcept { return false; }
    bool await_suspend(std::coroutine_handle<> handle) {
      op_.waiter = handle;
      return !stream_.start(op_);
    }
    [[nodiscard]] base::Result<R> await_resume() const {
      if (op_.result < 0) return std::unexpected(error_of(stream_, op_));
      if constexpr (std::is_void_v<R>) {
        return {};
      } else {
        return static_cast<R>(op_.result);
      }
    }

   private:
    Stream& stream_;
    StreamOp op_;
  };
};

class Listener {
 public:
  virtual ~Listener() = default;  // the socket's file, if we made it, is removed
  // The next client, on this loop. kCancelled after close(); other errors (too many open files)
  // pass, and the caller goes on after a pause.
  virtual Task<base::Result<std::unique_ptr<Stream>>> accept() = 0;
  virtual void close() = 0;  // idempotent
  // Where clients find it, as the kernel names it: the host is numeric, the port is the real one
  // where "0" was asked for.
  virtual const SocketAddress& address() const = 0;
};

class Network {
 public:
  virtual ~Network() = default;
  // A unix socket's file that nobody listens on any more is replaced; one in use gives kBusy. The
  // socket of an address of kind kFd is owned from then on; an error closes it.
  virtual Task<base::Result<std::unique_ptr<Listener>>> listen(SocketAddress address,
                                                               int backlog = 128) = 0;
  // kCancelled once `cancel` is asked, though not while a name is looked up.
  virtual Task<base::Result<std::unique_ptr<Stream>>> connect(SocketAddress address,
                                                              CancelToken cancel = {}) = 0;
  // A stream that moves to this loop: accepted on one loop, served on another. The stream has no
  // operation in flight and is not used on its old loop again.
  virtual base::Result<std::unique_ptr<Stream>> adopt(std::unique_ptr<Stream> stream) = 0;
  // Descriptors that are open already: a pair such as 0 and 1 for stdio, or twice the same for
  // a socket. Owned from then on; stdio's stay open.
  virtual base::Result<std::unique_ptr<Stream>> adopt_fds(int receive_fd, int send_fd,
                                                          std::string name) = 0;
  virtual base::Result<std::unique_ptr<Listener>> adopt_listener(int fd) = 0;
};

}  // namespace firn::async
