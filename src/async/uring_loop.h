// UringLoop: the loop on io_uring. Source: io_uring(7), io_uring_setup(2), io_uring_enter(2).
#pragma once

#include <liburing.h>

#include <memory>
#include <string>

#include "async/kernel_loop.h"

namespace firn::async {

class UringLoop final : public KernelLoop {
 public:
  // kUnsupported or kPermission where the kernel, a seccomp filter or the sysctl
  // kernel.io_uring_disabled forbids it.
  static base::Result<std::unique_ptr<UringLoop>> create(std::string name, WorkerPool& workers);
  ~UringLoop() override;

  using KernelLoop::cancel;
  using KernelLoop::submit;
  void poll(PollRequest& request) override;
  void cancel(PollRequest& request) override;
  bool has_ring() const override { return true; }
  void submit(RingRequest& request) override;
  void cancel(RingRequest& request) override;

 protected:
  void begin_thread() override;
  void wait(std::optional<Duration> timeout) override;

 private:
  // What a completion's user_data points to while a poll is in flight. It outlives the request,
  // whose owner may give up at any moment.
  struct PollSlot {
    PollRequest* request = nullptr;
    PollSlot* next_free = nullptr;
  };
  UringLoop(std::string name, WorkerPool& workers) : KernelLoop(std::move(name), workers) {}
  base::Result<> set_up();
  io_uring_sqe* next_sqe();
  void submit_now();
  void take_in_completions();
  void complete(uint64_t user_data, int32_t result);
  PollSlot* take_slot();

  io_uring ring_{};
  bool ring_open_ = false;
  bool disabled_at_start_ = false;
  bool reports_task_work_ = false;
  bool polls_first_ = false;
  std::vector<std::unique_ptr<PollSlot>> slots_;
  PollSlot* free_slot_ = nullptr;
};

}  // namespace firn::async
