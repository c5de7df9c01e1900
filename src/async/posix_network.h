// Sockets on this machine's kernel.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "async/kernel_loop.h"
#include "async/socket.h"
#include "async/sync.h"

namespace firn::async {

class PosixNetwork final : public Network {
 public:
  explicit PosixNetwork(KernelLoop& loop) : loop_(loop) {}

  Task<base::Result<std::unique_ptr<Listener>>> listen(SocketAddress address, int backlog) override;
  Task<base::Result<std::unique_ptr<Stream>>> connect(SocketAddress address,
                                                      CancelToken cancel) override;
  base::Result<std::unique_ptr<Stream>> adopt(std::unique_ptr<Stream> stream) override;
  base::Result<std::unique_ptr<Stream>> adopt_fds(int receive_fd, int send_fd,
                                                  std::string name) override;
  base::Result<std::unique_ptr<Listener>> adopt_listener(int fd) override;

 private:
  Task<base::Result<std::unique_ptr<Stream>>> connect_unix(SocketAddress address,
                                                           CancelToken cancel);
  Task<base::Result<std::unique_ptr<Stream>>> connect_inet(SocketAddress address,
                                                           CancelToken cancel);
  // Connects `fd`, which doesn't block. 0 or an errno value.
  Task<int> connect_fd(int fd, const void* address, unsigned length, CancelToken cancel);

  KernelLoop& loop_;
};

// A listening socket, or several for one name that stands for several addresses.
class PosixListener final : public Listener {
 public:
  struct Options {
    SocketAddress address;
    std::vector<int> fds;        // owned; they don't block
    bool shared = false;         // other processes listen too: shutdown is not ours to do
    std::string file_to_remove;  // the socket's file, if we made it ...
    uint64_t file_device = 0;    // ... and while it is still this one
    uint64_t file_inode = 0;
  };
  PosixListener(KernelLoop& loop, Options options);
  ~PosixListener() override;

  Task<base::Result<std::unique_ptr<Stream>>> accept() override;
  void close() override;
  const SocketAddress& address() const override { return options_.address; }

 private:
  struct Socket : PollRequest {
    PosixListener* listener = nullptr;
  };
  // The next client of any socket; -1 with errno.
  int accept_now();

  KernelLoop& loop_;
  Options options_;
  std::vector<Socket> sockets_;
  size_t next_ = 0;
  bool closed_ = false;
  size_t accepting_ = 0;
  WaitList waiters_;
};

}  // namespace firn::async
