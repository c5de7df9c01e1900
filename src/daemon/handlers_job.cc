#include <fmt/format.h>

#include <utility>

#include "daemon/job_handlers.h"
#include "daemon/job_info.h"
#include "jobs/commit.h"

namespace firn::daemon {

using async::Task;
using base::ErrorKind;
using base::fail;
using base::Result;

Task<Result<>> JobHandlers::job_pause(api::JobPauseArgs args) {
  co_return jobs_.pause(*CO_TRY(jobs_.find(args.id)));
}

Task<Result<>> JobHandlers::job_resume(api::JobResumeArgs args) {
  co_return jobs_.resume(*CO_TRY(jobs_.find(args.id)));
}

Task<Result<>> JobHandlers::job_cancel(api::JobCancelArgs args) {
  co_return jobs_.cancel(*CO_TRY(jobs_.find(args.id)), true);
}

Task<Result<>> JobHandlers::job_complete(api::JobCompleteArgs args) {
  co_return jobs_.complete(*CO_TRY(jobs_.find(args.id)));
}

Task<Result<>> JobHandlers::job_dismiss(api::JobDismissArgs args) {
  co_return co_await jobs_.dismiss(*CO_TRY(jobs_.find(args.id)));
}

Task<Result<>> JobHandlers::job_finalize(api::JobFinalizeArgs args) {
  co_return co_await jobs_.finalize(*CO_TRY(jobs_.find(args.id)));
}

Task<Result<std::vector<api::JobInfo>>> JobHandlers::query_jobs() {
  std::vector<api::JobInfo> list;
  for (const jobs::Job* job : jobs_.jobs()) list.push_back(job_info(*job));
  co_return list;
}

Task<Result<std::vector<api::BlockJobInfo>>> BlockJobHandlers::query_block_jobs() {
  std::vector<api::BlockJobInfo> list;
  for (const jobs::Job* job : jobs_.jobs()) {
    if (is_block_job(job->type())) list.push_back(block_job_info(*job));
  }
  co_return list;
}

Task<Result<>> BlockJobHandlers::block_commit(api::BlockCommitArgs args) {
  jobs::CommitRequest request{
      .job_id = std::move(args.job_id),
      .device = std::move(args.device),
      .top = std::move(args.top),
      .top_node = std::move(args.top_node),
      .base = std::move(args.base),
      .base_node = std::move(args.base_node),
      .backing_file = std::move(args.backing_file),
      .speed_bytes_per_s = args.speed.value_or(0),
      .on_error = on_error(args.on_error.value_or(api::BlockdevOnError::kReport)),
      .filter_node_name = std::move(args.filter_node_name),
      .auto_finalize = args.auto_finalize.value_or(true),
      .auto_dismiss = args.auto_dismiss.value_or(true)};
  co_return co_await jobs::start_commit(graph_, jobs_, std::move(request));
}

Task<Result<>> BlockJobHandlers::block_job_set_speed(api::BlockJobSetSpeedArgs args) {
  co_return jobs_.set_speed(*CO_TRY(jobs_.find_block_job(args.device)), args.speed);
}

Task<Result<>> BlockJobHandlers::block_job_cancel(api::BlockJobCancelArgs args) {
  jobs::Job& job = *CO_TRY(jobs_.find_block_job(args.device));
  const bool force = args.force.value_or(false);
  if (job.is_pause_wanted() && !force) {
    co_return fail(ErrorKind::kBusy,
                   fmt::format("The block job for device '{}' is currently paused", args.device));
  }
  co_return jobs_.cancel(job, force);
}

Task<Result<>> BlockJobHandlers::block_job_pause(api::BlockJobPauseArgs args) {
  co_return jobs_.pause(*CO_TRY(jobs_.find_block_job(args.device)));
}

Task<Result<>> BlockJobHandlers::block_job_resume(api::BlockJobResumeArgs args) {
  co_return jobs_.resume(*CO_TRY(jobs_.find_block_job(args.device)));
}

Task<Result<>> BlockJobHandlers::block_job_complete(api::BlockJobCompleteArgs args) {
  co_return jobs_.complete(*CO_TRY(jobs_.find_block_job(args.device)));
}

Task<Result<>> BlockJobHandlers::block_job_dismiss(api::BlockJobDismissArgs args) {
  co_return co_await jobs_.dismiss(*CO_TRY(jobs_.find_block_job(args.id)));
}

Task<Result<>> BlockJobHandlers::block_job_finalize(api::BlockJobFinalizeArgs args) {
  co_return co_await jobs_.finalize(*CO_TRY(jobs_.find_block_job(args.id)));
}

}  // namespace firn::daemon
