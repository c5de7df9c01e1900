#include <poll.h>
#include <pthread.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <utility>

#include "async/kernel_loop.h"
#include "async/runtime.h"
#include "async/sync.h"
#include "base/check.h"

namespace firn::async {
namespace {

sigset_t termination_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&set, signal);
  return set;
}

class KernelSignalSource final : public SignalSource, private PollRequest {
 public:
  KernelSignalSource(KernelLoop& loop, int signal_fd) : loop_(loop) {
    fd = signal_fd;
    events = POLLIN;
    on_ready = [](PollRequest& request) {
      static_cast<KernelSignalSource&>(request).waiters_.wake_all();
    };
  }
  ~KernelSignalSource() override {
    close();
    ::close(fd);
  }

  Task<int> wait() override {
    while (!closed_) {
      signalfd_siginfo info{};
      if (::read(fd, &info, sizeof info) == sizeof info) {
        co_return static_cast<int>(info.ssi_signo);
      }
      if (!waiting()) loop_.poll(*this);
      co_await waiters_.wait();
    }
    co_return -1;
  }

  void close() override {
    if (std::exchange(closed_, true)) return;
    if (waiting()) loop_.cancel(static_cast<PollRequest&>(*this));
    if (!waiters_.empty()) waiters_.wake_all();
  }

 private:
  KernelLoop& loop_;
  bool closed_ = false;
  WaitList waiters_;
};

}  // namespace

void block_signals() {
  const sigset_t set = termination_signals();
  CHECK(pthread_sigmask(SIG_BLOCK, &set, nullptr) == 0);
  std::signal(SIGPIPE, SIG_IGN);
}

base::Result<std::unique_ptr<SignalSource>> make_signal_source(Loop& loop) {
  auto* const kernel_loop = dynamic_cast<KernelLoop*>(&loop);
  if (kernel_loop == nullptr) {
    return base::fail(base::ErrorKind::kUnsupported, "A simulated loop has no signals");
  }
  const sigset_t set = termination_signals();
  const int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  if (fd < 0) return base::fail(base::Error::from_errno(errno, "Could not wait for signals"));
  return std::make_unique<KernelSignalSource>(*kernel_loop, fd);
}

}  // namespace firn::async
