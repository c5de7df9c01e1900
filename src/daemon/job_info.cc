#include "daemon/job_info.h"

#include <string>
#include <utility>

namespace firn::daemon {

api::JobType job_type(jobs::JobType type) {
  switch (type) {
    case jobs::JobType::kCommit:
      return api::JobType::kCommit;
    case jobs::JobType::kStream:
      return api::JobType::kStream;
    case jobs::JobType::kMirror:
      return api::JobType::kMirror;
    case jobs::JobType::kBackup:
      return api::JobType::kBackup;
    case jobs::JobType::kCreate:
      return api::JobType::kCreate;
  }
  std::unreachable();
}

api::JobStatus job_status(jobs::JobStatus status) {
  switch (status) {
    case jobs::JobStatus::kUndefined:
      return api::JobStatus::kUndefined;
    case jobs::JobStatus::kCreated:
      return api::JobStatus::kCreated;
    case jobs::JobStatus::kRunning:
      return api::JobStatus::kRunning;
    case jobs::JobStatus::kPaused:
      return api::JobStatus::kPaused;
    case jobs::JobStatus::kReady:
      return api::JobStatus::kReady;
    case jobs::JobStatus::kStandby:
      return api::JobStatus::kStandby;
    case jobs::JobStatus::kWaiting:
      return api::JobStatus::kWaiting;
    case jobs::JobStatus::kPending:
      return api::JobStatus::kPending;
    case jobs::JobStatus::kAborting:
      return api::JobStatus::kAborting;
    case jobs::JobStatus::kConcluded:
      return api::JobStatus::kConcluded;
    case jobs::JobStatus::kNull:
      return api::JobStatus::kNull;
  }
  std::unreachable();
}

jobs::OnError on_error(api::BlockdevOnError policy) {
  switch (policy) {
    case api::BlockdevOnError::kReport:
      return jobs::OnError::kReport;
    case api::BlockdevOnError::kIgnore:
      return jobs::OnError::kIgnore;
    case api::BlockdevOnError::kEnospc:
      return jobs::OnError::kEnospc;
    case api::BlockdevOnError::kStop:
      return jobs::OnError::kStop;
    case api::BlockdevOnError::kAuto:
      return jobs::OnError::kAuto;
  }
  std::unreachable();
}

namespace {

api::BlockDeviceIoStatus io_status(jobs::IoStatus status) {
  switch (status) {
    case jobs::IoStatus::kOk:
      return api::BlockDeviceIoStatus::kOk;
    case jobs::IoStatus::kFailed:
      return api::BlockDeviceIoStatus::kFailed;
    case jobs::IoStatus::kNoSpace:
      return api::BlockDeviceIoStatus::kNospace;
  }
  std::unreachable();
}

}  // namespace

api::JobInfo job_info(const jobs::Job& job) {
  api::JobInfo info;
  info.id = job.id();
  info.type = job_type(job.type());
  info.status = job_status(job.status());
  info.current_progress = static_cast<int64_t>(job.progress().current);
  info.total_progress = static_cast<int64_t>(job.progress().total);
  if (job.error()) info.error = job.error()->text();
  return info;
}

api::BlockJobInfo block_job_info(const jobs::Job& job) {
  api::BlockJobInfo info;
  info.type = std::string(to_string(job.type()));
  info.device = job.id();
  info.len = static_cast<int64_t>(job.progress().total);
  info.offset = static_cast<int64_t>(job.progress().current);
  info.busy = job.is_busy();
  info.paused = job.is_pause_wanted();
  info.speed = job.speed_bytes_per_s();
  info.io_status = io_status(job.io_status());
  info.ready = job.is_ready();
  info.status = job_status(job.status());
  info.auto_finalize = job.settings().auto_finalize;
  info.auto_dismiss = job.settings().auto_dismiss;
  if (job.error()) info.error = job.error()->text();
  return info;
}

}  // namespace firn::daemon
