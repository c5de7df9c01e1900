// Jobs in the schema's words.
#pragma once

#include "api/types.h"
#include "jobs/job.h"

namespace firn::daemon {

api::JobType job_type(jobs::JobType type);
api::JobStatus job_status(jobs::JobStatus status);
jobs::OnError on_error(api::BlockdevOnError policy);

api::JobInfo job_info(const jobs::Job& job);
api::BlockJobInfo block_job_info(const jobs::Job& job);

}  // namespace firn::daemon
