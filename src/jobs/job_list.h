// JobList: the jobs of a daemon, and the verbs by which their users steer them.
//
//   jobs::Job* job = TRY(list.create({.id = "j", .type = JobType::kCommit}, std::move(work)));
//   ... what may still fail, and the marks on nodes; list.drop(*job) if it does ...
//   list.start(*job);
//
// Belongs to the control loop. A Job lives in it until it is dismissed (null), so a pointer holds
// only until the next await, but for the creator's before start() or drop().
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "async/scope.h"
#include "jobs/job.h"

namespace firn::jobs {

// Who hears of jobs: the daemon, which makes events of it and keeps what a restart needs. Called
// within the step that it tells of; must not call the list.
class JobObserver {
 public:
  virtual ~JobObserver() = default;
  virtual void on_status(const Job& job) = 0;  // JOB_STATUS_CHANGE
  // BLOCK_JOB_*: of block jobs only.
  virtual void on_ready(const Job& job) = 0;
  virtual void on_pending(const Job& job) = 0;
  virtual void on_completed(const Job& job) = 0;  // job.error() if it failed
  virtual void on_cancelled(const Job& job) = 0;
  virtual void on_error(const Job& job, Operation operation, ErrorAction action) = 0;
  // Its speed, or whether it is paused, is another now.
  virtual void on_settings(const Job& /*job*/) {}
};

class JobList final {
 public:
  explicit JobList(JobObserver& observer) : observer_(observer) {}
  ~JobList();  // closed
  JobList(const JobList&) = delete;
  JobList& operator=(const JobList&) = delete;

  // Whether a job may have that id. kInvalidArgument `Invalid job ID '1'`, kExists
  // `Job ID 'j' already in use`; kShutdown after close().
  Result<> check_new_id(std::string_view id) const;
  // A job in the state `created`, for its creator alone to start or drop.
  Result<Job*> create(JobSettings settings, std::unique_ptr<Work> work);
  void start(Job& job);
  // The job came to nothing: its work is destroyed without a call, and it is gone.
  void drop(Job& job);

  // Newest first, as QEMU lists them.
  std::vector<const Job*> jobs() const;
  // kNotFound, `Job not found`.
  Result<Job*> find(std::string_view id);
  // Of block jobs alone. kDeviceNotActive, `Block job 'j' not found`, with data device.
  Result<Job*> find_block_job(std::string_view id);

  // The verbs. Errors: kInvalidArgument, `Job 'j' in state 'paused' cannot accept command verb
  // 'finalize'`, and those that are told. Those that are no tasks don't wait for their effect.
  Result<> pause(Job& job);   // `Job is already paused`
  Result<> resume(Job& job);  // `Can't resume a job that was not paused`
  Result<> set_speed(Job& job, int64_t bytes_per_s);
  Result<> complete(Job& job);  // `The active block job 'j' cannot be completed`
  // Until the job is concluded, in success or not.
  Task<Result<>> finalize(Job& job);
  // Until it is gone and its id is free.
  Task<Result<>> dismiss(Job& job);
  // `force` false: a ready job that can ends in success, leaving things as they are.
  Result<> cancel(Job& job, bool force);

  // Cancels all jobs with force, waits for their end, dismisses them, and takes no more.
  Task<void> close();

 private:
  friend class Job;
  Task<void> drive(Job& job);
  Task<bool> wait_for_finalize(Job& job);
  Task<void> conclude(Job& job, bool succeeded);
  void remove(Job& job);
  const Job* find_number(uint64_t number) const;
  void on_status(const Job& job);
  Result<> apply(const Job& job, JobVerb verb) const;
  void do_cancel(Job& job, bool force);

  JobObserver& observer_;
  std::vector<std::unique_ptr<Job>> jobs_;  // oldest first
  async::TaskScope running_;
  async::WaitList changes_;  // of any job's status
  uint64_t last_number_ = 0;
  bool closed_ = false;
};

}  // namespace firn::jobs
