// JobEvents: what jobs do, told to the monitors' clients.
#pragma once

#include <functional>

#include "jobs/job_list.h"
#include "qmp/events.h"

namespace firn::daemon {

// Belongs to the control loop.
class JobEvents final : public jobs::JobObserver {
 public:
  explicit JobEvents(qmp::EventHub& events) : events_(events) {}  // which outlives this

  // Called when a job is over, or its speed or pause has changed; null: nobody wants to know.
  std::function<void()> on_change;

  void on_status(const jobs::Job& job) override;
  void on_ready(const jobs::Job& job) override;
  void on_pending(const jobs::Job& job) override;
  void on_completed(const jobs::Job& job) override;
  void on_cancelled(const jobs::Job& job) override;
  void on_settings(const jobs::Job& job) override;
  void on_error(const jobs::Job& job, jobs::Operation operation, jobs::ErrorAction action) override;

 private:
  qmp::EventHub& events_;
};

}  // namespace firn::daemon
