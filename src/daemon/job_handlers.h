// The handlers of the commands that watch, steer and start jobs. As those of handlers.h.
#pragma once

#include <vector>

#include "api/commands.h"
#include "block/graph.h"
#include "jobs/job_list.h"

namespace firn::daemon {

class JobHandlers final : public api::JobCommands {
 public:
  explicit JobHandlers(jobs::JobList& jobs) : jobs_(jobs) {}

  async::Task<base::Result<>> job_pause(api::JobPauseArgs args) override;
  async::Task<base::Result<>> job_resume(api::JobResumeArgs args) override;
  async::Task<base::Result<>> job_cancel(api::JobCancelArgs args) override;
  async::Task<base::Result<>> job_complete(api::JobCompleteArgs args) override;
  async::Task<base::Result<>> job_dismiss(api::JobDismissArgs args) override;
  async::Task<base::Result<>> job_finalize(api::JobFinalizeArgs args) override;
  async::Task<base::Result<std::vector<api::JobInfo>>> query_jobs() override;

 private:
  jobs::JobList& jobs_;
};

class BlockJobHandlers final : public api::BlockJobCommands {
 public:
  BlockJobHandlers(block::Graph& graph, jobs::JobList& jobs) : graph_(graph), jobs_(jobs) {}

  async::Task<base::Result<std::vector<api::BlockJobInfo>>> query_block_jobs() override;
  async::Task<base::Result<>> block_commit(api::BlockCommitArgs args) override;
  async::Task<base::Result<>> block_job_set_speed(api::BlockJobSetSpeedArgs args) override;
  async::Task<base::Result<>> block_job_cancel(api::BlockJobCancelArgs args) override;
  async::Task<base::Result<>> block_job_pause(api::BlockJobPauseArgs args) override;
  async::Task<base::Result<>> block_job_resume(api::BlockJobResumeArgs args) override;
  async::Task<base::Result<>> block_job_complete(api::BlockJobCompleteArgs args) override;
  async::Task<base::Result<>> block_job_dismiss(api::BlockJobDismissArgs args) override;
  async::Task<base::Result<>> block_job_finalize(api::BlockJobFinalizeArgs args) override;

 private:
  block::Graph& graph_;
  jobs::JobList& jobs_;
};

class BlockCreateHandlers final : public api::BlockCreateCommands {
 public:
  BlockCreateHandlers(block::Graph& graph, jobs::JobList& jobs) : graph_(graph), jobs_(jobs) {}

  async::Task<base::Result<>> blockdev_create(api::BlockdevCreateArgs args) override;

 private:
  block::Graph& graph_;
  jobs::JobList& jobs_;
};

}  // namespace firn::daemon
