#include "async/uring_loop.h"

#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/check.h"

namespace firn::async {
namespace {

constexpr unsigned kSubmissionEntries = 1024;
constexpr unsigned kCompletionEntries = 8192;

// The low bit of user_data tells polls from requests; 0 is a completion that nobody waits for.
constexpr uint64_t kPollTag = 1;

struct SetupChoice {
  unsigned flags;
  bool reports_task_work;
  bool polls_first;  // so new that it also knows IORING_RECVSEND_POLL_FIRST (Linux 5.19)
};

// Best first; older kernels refuse flags that they don't know with EINVAL. A ring that starts
// disabled belongs to the thread that enables it, not to the one that made it.
constexpr SetupChoice kSetupChoices[] = {
    {IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_COOP_TASKRUN |
         IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_R_DISABLED,
     true, true},
    {IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG |
         IORING_SETUP_SUBMIT_ALL | IORING_SETUP_R_DISABLED,
     true, true},
    {IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL, true, false},
    {0, false, false},
};

constexpr unsigned kMostKernelWorkers = 512;

}  // namespace

base::Result<std::unique_ptr<UringLoop>> UringLoop::create(std::string name, WorkerPool& workers) {
  std::unique_ptr<UringLoop> loop(new UringLoop(std::move(name), workers));
  TRY(loop->set_up());
  TRY(loop->open_wake());
  return loop;
}

base::Result<> UringLoop::set_up() {
  int result = -ENOSYS;
  for (const SetupChoice& choice : kSetupChoices) {
    io_uring_params params{};
    params.flags = choice.flags | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
    params.cq_entries = kCompletionEntries;
    result = io_uring_queue_init_params(kSubmissionEntries, &ring_, &params);
    if (result == -EINVAL) continue;
    if (result < 0) break;
    ring_open_ = true;
    disabled_at_start_ = (choice.flags & IORING_SETUP_R_DISABLED) != 0;
    reports_task_work_ = choice.reports_task_work;
    polls_first_ = choice.polls_first;
    // Waiting with a timeout, and no completion ever dropped: Linux 5.11.
    constexpr unsigned kNeeded = IORING_FEAT_EXT_ARG | IORING_FEAT_NODROP | IORING_FEAT_FAST_POLL;
    if ((params.features & kNeeded) == kNeeded) return {};
    return base::fail(base::ErrorKind::kUnsupported,
                      "Could not set up io_uring: it needs Linux 5.11 or newer");
  }
  return base::fail(base::Error::from_errno(-result, "Could not set up io_uring"));
}

UringLoop::~UringLoop() {
  if (ring_open_) io_uring_queue_exit(&ring_);
}

void UringLoop::begin_thread() {
  if (disabled_at_start_) {
    // By hand: Debian 12's shared liburing lacks io_uring_enable_rings.
    const long result =
        ::syscall(__NR_io_uring_register, ring_.ring_fd, IORING_REGISTER_ENABLE_RINGS, nullptr, 0);
    CHECK(result == 0);
  }
  // The kernel's own workers for files: by default a few per processor, which one disk that does
  // not answer would soon hold all. Kernels before 5.15 don't know this.
  unsigned most[2] = {kMostKernelWorkers, 0};
  (void)io_uring_register_iowq_max_workers(&ring_, most);
}

io_uring_sqe* UringLoop::next_sqe() {
  io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
  while (sqe == nullptr) {
    submit_now();
    sqe = io_uring_get_sqe(&ring_);
  }
  return sqe;
}

// The kernel takes nothing while completions overflow: take them in, which only queues what they
// wake, and try again.
void UringLoop::submit_now() {
  const int result = io_uring_submit(&ring_);
  if (result >= 0 || result == -EINTR) return;
  CHECK(result == -EBUSY || result == -EAGAIN);
  io_uring_get_events(&ring_);
  take_in_completions();
}

UringLoop::PollSlot* UringLoop::take_slot() {
  if (free_slot_ == nullptr) {
    slots_.push_back(std::make_unique<PollSlot>());
    return slots_.back().get();
  }
  return std::exchange(free_slot_, free_slot_->next_free);
}

void UringLoop::poll(PollRequest& request) {
  CHECK(!request.waiting());
  PollSlot* const slot = take_slot();
  slot->request = &request;
  request.slot = slot;
  io_uring_sqe* const sqe = next_sqe();
  io_uring_prep_poll_add(sqe, request.fd, request.events);
  sqe->user_data = reinterpret_cast<uint64_t>(slot) | kPollTag;
}

void UringLoop::cancel(PollRequest& request) {
  if (!request.waiting()) return;
  auto* const slot = static_cast<PollSlot*>(std::exchange(request.slot, nullptr));
  slot->request = nullptr;
  io_uring_sqe* const sqe = next_sqe();
  io_uring_prep_poll_remove(sqe, reinterpret_cast<uint64_t>(slot) | kPollTag);
  sqe->user_data = 0;
}

void UringLoop::submit(RingRequest& request) {
  io_uring_sqe* const sqe = next_sqe();
  switch (request.kind) {
    case RingRequest::Kind::kRead:
      if (request.piece_count == 1) {
        io_uring_prep_read(
            sqe, request.fd, request.pieces->iov_base,
            static_cast<unsigned>(std::min<size_t>(request.pieces->iov_len, 1 << 30)),
            request.offset);
      } else {
        io_uring_prep_readv(sqe, request.fd, request.pieces, request.piece_count, request.offset);
      }
      break;
    case RingRequest::Kind::kWrite:
      if (request.piece_count == 1) {
        io_uring_prep_write(
            sqe, request.fd, request.pieces->iov_base,
            static_cast<unsigned>(std::min<size_t>(request.pieces->iov_len, 1 << 30)),
            request.offset);
      } else {
        io_uring_prep_writev(sqe, request.fd, request.pieces, request.piece_count, request.offset);
      }
      break;
    case RingRequest::Kind::kSync:
      io_uring_prep_fsync(sqe, request.fd, 0);
      break;
    case RingRequest::Kind::kDataSync:
      io_uring_prep_fsync(sqe, request.fd, IORING_FSYNC_DATASYNC);
      break;
    case RingRequest::Kind::kReceive:
      io_uring_prep_recv(sqe, request.fd, request.pieces->iov_base, request.pieces->iov_len, 0);
      // Whoever comes here has just found nothing to receive.
      if (polls_first_) sqe->ioprio = IORING_RECVSEND_POLL_FIRST;
      break;
  }
  sqe->user_data = reinterpret_cast<uint64_t>(&request);
}

void UringLoop::cancel(RingRequest& request) {
  io_uring_sqe* const sqe = next_sqe();
  io_uring_prep_cancel64(sqe, reinterpret_cast<uint64_t>(&request), 0);
  sqe->user_data = 0;
}

// What is not submitted for lack of memory, or because completions overflow, stays queued for the
// next turn; a signal and the end of the time are no errors at all.
void UringLoop::wait(std::optional<Duration> timeout) {
  int result = 0;
  if (timeout == Duration::zero()) {
    const bool task_work = !reports_task_work_ || (IO_URING_READ_ONCE(*ring_.sq.kflags) &
                                                   (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW));
    if (task_work) {
      result = io_uring_submit_and_get_events(&ring_);
    } else if (io_uring_sq_ready(&ring_) != 0) {
      result = io_uring_submit(&ring_);
    }
  } else {
    io_uring_cqe* cqe = nullptr;
    __kernel_timespec time{};
    if (timeout) {
      time.tv_sec = *timeout / std::chrono::seconds(1);
      time.tv_nsec = (*timeout % std::chrono::seconds(1)).count();
    }
    result = io_uring_submit_and_wait_timeout(&ring_, &cqe, 1, timeout ? &time : nullptr, nullptr);
  }
  CHECK(result >= 0 || result == -ETIME || result == -EINTR || result == -EBUSY ||
        result == -EAGAIN || result == -ENOMEM);
  take_in_completions();
}

// Each completion leaves the ring before it is acted upon: that may submit, and come back here.
void UringLoop::take_in_completions() {
  io_uring_cqe* cqe = nullptr;
  while (io_uring_peek_cqe(&ring_, &cqe) == 0 && cqe != nullptr) {
    const uint64_t user_data = cqe->user_data;
    const int32_t result = cqe->res;
    io_uring_cqe_seen(&ring_, cqe);
    complete(user_data, result);
  }
}

void UringLoop::complete(uint64_t user_data, int32_t result) {
  if (user_data == 0) return;
  if ((user_data & kPollTag) == 0) {
    auto* const request = reinterpret_cast<RingRequest*>(user_data);
    request->complete(*request, result);
    return;
  }
  auto* const slot = reinterpret_cast<PollSlot*>(user_data & ~kPollTag);
  PollRequest* const request = std::exchange(slot->request, nullptr);
  slot->next_free = std::exchange(free_slot_, slot);
  if (request == nullptr) return;  // given up meanwhile
  request->slot = nullptr;
  request->on_ready(*request);
}

}  // namespace firn::async
