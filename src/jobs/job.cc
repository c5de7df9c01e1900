#include "jobs/job.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/check.h"
#include "jobs/job_list.h"

namespace firn::jobs {
namespace {

using base::ErrorKind;
using Status = JobStatus;

// So much may go out at once after a pause, for the speed limit to be met on average (QEMU's slice
// of blockjob.c).
constexpr async::Duration kBurst = std::chrono::milliseconds(100);

constexpr auto kTypes =
    std::to_array<std::string_view>({"commit", "stream", "mirror", "backup", "create"});
constexpr auto kStatuses = std::to_array<std::string_view>(
    {"undefined", "created", "running", "paused", "ready", "standby", "waiting", "pending",
     "aborting", "concluded", "null"});
constexpr auto kVerbs = std::to_array<std::string_view>(
    {"cancel", "pause", "resume", "set-speed", "complete", "finalize", "dismiss"});

}  // namespace

std::string_view to_string(JobType type) { return kTypes.at(static_cast<size_t>(type)); }
std::string_view to_string(JobStatus status) { return kStatuses.at(static_cast<size_t>(status)); }
std::string_view to_string(JobVerb verb) { return kVerbs.at(static_cast<size_t>(verb)); }

bool accepts(JobStatus status, JobVerb verb) {
  const bool is_active = status >= Status::kCreated && status <= Status::kStandby;
  switch (verb) {
    case JobVerb::kCancel:
      return status >= Status::kCreated && status <= Status::kPending;
    case JobVerb::kPause:
    case JobVerb::kResume:
    case JobVerb::kSetSpeed:
      return is_active;
    case JobVerb::kComplete:
      return status == Status::kReady || status == Status::kStandby;
    case JobVerb::kFinalize:
      return status == Status::kPending;
    case JobVerb::kDismiss:
      return status == Status::kConcluded;
  }
  return false;
}

Job::Job(JobList& list, JobSettings settings, std::unique_ptr<Work> work)
    : list_(list), settings_(std::move(settings)), work_(std::move(work)) {}

Job::~Job() = default;

void Job::set_status(JobStatus status) {
  if (status_ == status) return;
  status_ = status;
  list_.on_status(*this);
}

void Job::fail(base::Error error) {
  if (!error_) error_ = std::move(error);
}

// Waiting ---------------------------------------------------------------------------------------

void Job::wake() {
  if (sleep_ != nullptr) sleep_->cancel();
  waiters_.wake_all();
}

Task<void> Job::idle() {
  CHECK(busy_);
  busy_ = false;
  co_await waiters_.wait();
  busy_ = true;
}

Task<void> Job::idle_until(async::TimePoint deadline) {
  CHECK(busy_);
  busy_ = false;
  async::CancelSource source;
  sleep_ = &source;
  (void)co_await async::Loop::current().sleep_until(deadline, source.token());
  sleep_ = nullptr;
  busy_ = true;
}

Task<void> Job::pause_point() {
  while (should_pause()) {
    const JobStatus before = status_;
    set_status(before == Status::kReady ? Status::kStandby : Status::kPaused);
    while (should_pause()) co_await idle();
    set_status(before);
  }
}

Task<void> Job::sleep_for(async::Duration duration) {
  if (force_cancel_) co_return;
  if (!should_pause()) co_await idle_until(async::Loop::current().now() + duration);
  co_await pause_point();
}

Task<void> Job::wait() {
  if (force_cancel_) co_return;
  if (!should_pause()) co_await idle();
  co_await pause_point();
}

Task<void> Job::throttle(uint64_t bytes) {
  async::Loop& loop = async::Loop::current();
  const int64_t speed = settings_.speed_bytes_per_s;
  if (speed > 0) {
    constexpr auto kNsPerS = static_cast<double>(std::nano::den);
    const auto takes = async::Duration(static_cast<int64_t>(
        std::min(static_cast<double>(bytes) / static_cast<double>(speed) * kNsPerS, 1e18)));
    next_transfer_ = std::max(next_transfer_, loop.now() - kBurst) + takes;
    // A wait is cut short by whatever is asked of the job; only a new speed or a cancellation ends
    // the limit's.
    while (!force_cancel_ && !should_pause() && next_transfer_ > loop.now()) {
      co_await idle_until(next_transfer_);
    }
  } else if (loop.turn_is_over()) {
    co_await loop.yield();
  }
  co_await pause_point();
}

void Job::set_speed(int64_t bytes_per_s) {
  settings_.speed_bytes_per_s = bytes_per_s;
  next_transfer_ = {};
  wake();
  list_.observer_.on_settings(*this);
}

// What the work tells ---------------------------------------------------------------------------

void Job::set_ready() {
  CHECK(status_ == Status::kRunning);
  set_status(Status::kReady);
  if (is_block_job(type())) list_.observer_.on_ready(*this);
}

ErrorAction Job::handle_error(OnError policy, Operation operation, const base::Error& error) {
  const bool no_space = error.kind() == ErrorKind::kNoSpace;
  ErrorAction action = ErrorAction::kReport;
  switch (policy) {
    case OnError::kReport:
      break;
    case OnError::kIgnore:
      action = ErrorAction::kIgnore;
      break;
    case OnError::kStop:
      action = ErrorAction::kStop;
      break;
    case OnError::kEnospc:
    case OnError::kAuto:
      if (no_space) action = ErrorAction::kStop;
      break;
  }
  list_.observer_.on_error(*this, operation, action);
  if (action == ErrorAction::kStop) {
    if (!user_paused_) {
      user_paused_ = true;
      list_.observer_.on_settings(*this);
    }
    if (io_status_ == IoStatus::kOk) {
      io_status_ = no_space ? IoStatus::kNoSpace : IoStatus::kFailed;
    }
  }
  return action;
}

}  // namespace firn::jobs
