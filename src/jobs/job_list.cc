#include "jobs/job_list.h"

#include <fmt/format.h>

#include <algorithm>
#include <ranges>
#include <utility>

#include "base/check.h"
#include "block/registry.h"

namespace firn::jobs {

using base::ErrorKind;
using Status = JobStatus;

JobList::~JobList() { CHECK(jobs_.empty()); }

// Coming and going ------------------------------------------------------------------------------

Result<> JobList::check_new_id(std::string_view id) const {
  if (closed_) return base::fail(ErrorKind::kShutdown, "the daemon is ending and starts no job");
  if (!block::is_identifier(id)) {
    return base::fail(ErrorKind::kInvalidArgument, fmt::format("Invalid job ID '{}'", id));
  }
  if (std::ranges::any_of(jobs_, [&](const auto& job) { return job->id() == id; })) {
    return base::fail(ErrorKind::kExists, fmt::format("Job ID '{}' already in use", id));
  }
  return {};
}

Result<Job*> JobList::create(JobSettings settings, std::unique_ptr<Work> work) {
  TRY(check_new_id(settings.id));
  CHECK(work != nullptr && settings.speed_bytes_per_s >= 0);
  jobs_.push_back(std::unique_ptr<Job>(new Job(*this, std::move(settings), std::move(work))));
  jobs_.back()->number_ = ++last_number_;
  jobs_.back()->set_status(Status::kCreated);
  return jobs_.back().get();
}

void JobList::start(Job& job) {
  CHECK(!job.started_);
  job.started_ = true;
  running_.spawn(drive(job));
}

void JobList::drop(Job& job) {
  CHECK(!job.started_);
  remove(job);
}

const Job* JobList::find_number(uint64_t number) const {
  auto found = std::ranges::find_if(jobs_, [&](const auto& job) { return job->number_ == number; });
  return found == jobs_.end() ? nullptr : found->get();
}

void JobList::on_status(const Job& job) {
  observer_.on_status(job);
  changes_.wake_all();
}

void JobList::remove(Job& job) {
  job.set_status(Status::kNull);
  CHECK(std::erase_if(jobs_, [&](const auto& one) { return one.get() == &job; }) == 1);
}

std::vector<const Job*> JobList::jobs() const {
  std::vector<const Job*> list;
  for (const auto& job : jobs_ | std::views::reverse) list.push_back(job.get());
  return list;
}

Result<Job*> JobList::find(std::string_view id) {
  auto found = std::ranges::find_if(jobs_, [&](const auto& job) { return job->id() == id; });
  if (found == jobs_.end()) return base::fail(ErrorKind::kNotFound, "Job not found");
  return found->get();
}

Result<Job*> JobList::find_block_job(std::string_view id) {
  auto found = find(id);
  if (!found || !is_block_job((*found)->type())) {
    return base::fail(
        base::Error(ErrorKind::kDeviceNotActive, fmt::format("Block job '{}' not found", id))
            .with_data("device", std::string(id)));
  }
  return found;
}

Task<void> JobList::close() {
  closed_ = true;
  for (const auto& job : jobs_) {
    if (apply(*job, JobVerb::kCancel)) do_cancel(*job, true);
    job->settings_.auto_dismiss = true;
    job->wake();
  }
  // Those that are only created are started, or dropped, by the commands that made them.
  while (!jobs_.empty()) co_await changes_.wait();
  co_await running_.join();
}

// One job's life --------------------------------------------------------------------------------

Task<void> JobList::drive(Job& job) {
  job.busy_ = true;
  Result<> result;
  if (!job.is_cancelled()) {
    job.ran_ = true;
    job.set_status(Status::kRunning);
    co_await job.pause_point();
    result = co_await job.work_->run(job);
  }
  if (!result) {
    job.fail(std::move(result).error());
  } else if (!job.is_cancelled()) {
    job.set_status(Status::kWaiting);
    job.set_status(Status::kPending);
    if (co_await wait_for_finalize(job)) {
      job.finalizing_ = true;
      if (auto prepared = co_await job.work_->prepare(); !prepared) {
        job.fail(std::move(prepared).error());
      }
    }
  }
  job.finalizing_ = true;
  if (job.is_cancelled()) job.fail(base::Error::from_errno(ECANCELED, ""));
  co_await conclude(job, !job.error_.has_value());
}

Task<bool> JobList::wait_for_finalize(Job& job) {
  if (job.settings_.auto_finalize) co_return true;
  if (is_block_job(job.type())) observer_.on_pending(job);
  job.busy_ = false;
  while (!job.finalize_asked_ && !job.is_cancelled()) co_await job.waiters_.wait();
  job.busy_ = true;
  co_return !job.is_cancelled();
}

Task<void> JobList::conclude(Job& job, bool succeeded) {
  if (!succeeded) {
    job.set_status(Status::kAborting);
    co_await job.work_->abort();
  } else {
    co_await job.work_->commit();
  }
  co_await job.work_->clean();
  job.busy_ = false;
  if (is_block_job(job.type()) && job.ran_) {
    if (job.is_cancelled()) {
      observer_.on_cancelled(job);
    } else {
      observer_.on_completed(job);
    }
  }
  job.set_status(Status::kConcluded);
  while (!job.settings_.auto_dismiss && !job.dismiss_asked_) co_await job.waiters_.wait();
  remove(job);
}

// Verbs -----------------------------------------------------------------------------------------

Result<> JobList::apply(const Job& job, JobVerb verb) const {
  const bool too_late = job.status() == Status::kPending && job.finalizing_;
  if (accepts(job.status(), verb) && !too_late) return {};
  return base::fail(ErrorKind::kInvalidArgument,
                    fmt::format("Job '{}' in state '{}' cannot accept command verb '{}'", job.id(),
                                to_string(job.status()), to_string(verb)));
}

Result<> JobList::pause(Job& job) {
  TRY(apply(job, JobVerb::kPause));
  if (job.user_paused_) return base::fail(ErrorKind::kInvalidArgument, "Job is already paused");
  job.user_paused_ = true;
  job.wake();
  observer_.on_settings(job);
  return {};
}

Result<> JobList::resume(Job& job) {
  if (!job.user_paused_) {
    return base::fail(ErrorKind::kInvalidArgument, "Can't resume a job that was not paused");
  }
  TRY(apply(job, JobVerb::kResume));
  job.user_paused_ = false;
  job.io_status_ = IoStatus::kOk;
  job.wake();
  observer_.on_settings(job);
  return {};
}

Result<> JobList::set_speed(Job& job, int64_t bytes_per_s) {
  TRY(apply(job, JobVerb::kSetSpeed));
  if (bytes_per_s < 0) {
    return base::fail(ErrorKind::kInvalidArgument,
                      "Parameter 'speed' expects a non-negative value");
  }
  job.set_speed(bytes_per_s);
  return {};
}

Result<> JobList::complete(Job& job) {
  TRY(apply(job, JobVerb::kComplete));
  if (job.cancelled_ || !job.work_->can_complete()) {
    return base::fail(ErrorKind::kInvalidArgument,
                      fmt::format("The active block job '{}' cannot be completed", job.id()));
  }
  job.should_complete_ = true;
  job.wake();
  return {};
}

Task<Result<>> JobList::finalize(Job& job) {
  CO_TRY(apply(job, JobVerb::kFinalize));
  job.finalize_asked_ = true;
  job.finalizing_ = true;
  job.wake();
  const uint64_t number = job.number_;
  for (const Job* one = &job; one != nullptr && one->status() < Status::kConcluded;) {
    co_await changes_.wait();
    one = find_number(number);
  }
  co_return Result<>();
}

Task<Result<>> JobList::dismiss(Job& job) {
  CO_TRY(apply(job, JobVerb::kDismiss));
  job.dismiss_asked_ = true;
  job.wake();
  const uint64_t number = job.number_;
  while (find_number(number) != nullptr) co_await changes_.wait();
  co_return Result<>();
}

Result<> JobList::cancel(Job& job, bool force) {
  TRY(apply(job, JobVerb::kCancel));
  do_cancel(job, force);
  return {};
}

void JobList::do_cancel(Job& job, bool force) {
  if (job.work_->cancel(job, force)) force = true;
  job.user_paused_ = false;
  job.cancelled_ = true;
  job.force_cancel_ = job.force_cancel_ || force;
  job.wake();
}

}  // namespace firn::jobs
