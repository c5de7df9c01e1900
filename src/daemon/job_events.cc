#include "daemon/job_events.h"

#include <boost/json/object.hpp>

#include "api/events.h"
#include "daemon/job_info.h"

namespace firn::daemon {
namespace {

// BLOCK_JOB_COMPLETED, _CANCELLED and _READY have these in common.
template <typename Event>
Event progress_event(const jobs::Job& job) {
  Event event;
  event.type = job_type(job.type());
  event.device = job.id();
  event.len = static_cast<int64_t>(job.progress().total);
  event.offset = static_cast<int64_t>(job.progress().current);
  event.speed = job.speed_bytes_per_s();
  return event;
}

}  // namespace

void JobEvents::on_status(const jobs::Job& job) {
  events_.emit(api::encode_event(
      api::JobStatusChangeEvent{.id = job.id(), .status = job_status(job.status())}));
  if (job.status() >= jobs::JobStatus::kAborting && on_change) on_change();
}

void JobEvents::on_settings(const jobs::Job&) {
  if (on_change) on_change();
}

void JobEvents::on_ready(const jobs::Job& job) {
  events_.emit(api::encode_event(progress_event<api::BlockJobReadyEvent>(job)));
}

void JobEvents::on_pending(const jobs::Job& job) {
  events_.emit(
      api::encode_event(api::BlockJobPendingEvent{.type = job_type(job.type()), .id = job.id()}));
}

void JobEvents::on_completed(const jobs::Job& job) {
  auto event = progress_event<api::BlockJobCompletedEvent>(job);
  if (job.error()) event.error = job.error()->text();
  events_.emit(api::encode_event(event));
}

void JobEvents::on_cancelled(const jobs::Job& job) {
  events_.emit(api::encode_event(progress_event<api::BlockJobCancelledEvent>(job)));
}

void JobEvents::on_error(const jobs::Job& job, jobs::Operation operation,
                         jobs::ErrorAction action) {
  api::BlockJobErrorEvent event;
  event.device = job.id();
  event.operation = operation == jobs::Operation::kRead ? api::IoOperationType::kRead
                                                        : api::IoOperationType::kWrite;
  switch (action) {
    case jobs::ErrorAction::kIgnore:
      event.action = api::BlockErrorAction::kIgnore;
      break;
    case jobs::ErrorAction::kReport:
      event.action = api::BlockErrorAction::kReport;
      break;
    case jobs::ErrorAction::kStop:
      event.action = api::BlockErrorAction::kStop;
      break;
  }
  events_.emit(api::encode_event(event));
}

}  // namespace firn::daemon
