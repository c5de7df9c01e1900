// EpollLoop: the loop for places where io_uring is forbidden. Files are served inline or by
// workers. Source: epoll(7).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "async/kernel_loop.h"

namespace firn::async {

class EpollLoop final : public KernelLoop {
 public:
  static base::Result<std::unique_ptr<EpollLoop>> create(std::string name, WorkerPool& workers);
  ~EpollLoop() override;

  using KernelLoop::cancel;
  void poll(PollRequest& request) override;
  void cancel(PollRequest& request) override;

 protected:
  void wait(std::optional<Duration> timeout) override;

 private:
  // Who waits for a descriptor: one for each direction. A descriptor stays known to the kernel,
  // disarmed, until it is closed.
  struct Waiters {
    PollRequest* in = nullptr;
    PollRequest* out = nullptr;
  };

  EpollLoop(std::string name, WorkerPool& workers) : KernelLoop(std::move(name), workers) {}
  // Tells the kernel who waits for `fd`. False if it can't be waited for (a regular file).
  bool watch(int fd);
  void dispatch(int fd, uint32_t events);

  int epoll_fd_ = -1;
  std::vector<Waiters> waiters_;         // by descriptor
  std::vector<PollRequest*> ready_now_;  // on descriptors that are always ready
};

}  // namespace firn::async
