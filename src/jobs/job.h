// Job: long work on the graph that somebody started by a command and watches: commit, create.
// Work: what one kind of job does.
//
// The life cycle, its states, verbs, texts and events are QEMU's (job.c and blockjob.c of 7.2;
// docs/jobs.md has the table). In short:
//
//   created -> running <-> paused        what Work::run does
//              ready   <-> standby       it could end; the user says when (commit of a head)
//   waiting -> pending                   run is done; with auto-finalize=false, the user says when
//   aborting                             an error, or cancelled
//   concluded -> null                    with auto-dismiss=false, the user takes note first
//
// All of this belongs to the control loop. Work::run is a coroutine there; for I/O it hops to the
// home loops of its nodes (async::call_on) in pieces of some 100 us to 10 ms, and passes
// pause_point() between them. It holds no claim of the graph while it copies: it marks its nodes
// with Node::block and takes claims for the moments in which it changes a chain.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "async/loop.h"
#include "async/sync.h"
#include "async/task.h"
#include "base/result.h"

namespace firn::jobs {

using async::Task;
using base::Result;

// QAPI's names, in its order: to_string gives them.
enum class JobType { kCommit, kStream, kMirror, kBackup, kCreate };
enum class JobStatus {
  kUndefined,
  kCreated,
  kRunning,
  kPaused,
  kReady,
  kStandby,
  kWaiting,
  kPending,
  kAborting,
  kConcluded,
  kNull
};
enum class JobVerb { kCancel, kPause, kResume, kSetSpeed, kComplete, kFinalize, kDismiss };

// What a job does about an error of I/O (BlockdevOnError), and what it did (BlockErrorAction).
enum class OnError { kReport, kIgnore, kEnospc, kStop, kAuto };
enum class ErrorAction { kIgnore, kReport, kStop };
enum class Operation { kRead, kWrite };
enum class IoStatus { kOk, kFailed, kNoSpace };

std::string_view to_string(JobType type);      // "commit"
std::string_view to_string(JobStatus status);  // "running"
std::string_view to_string(JobVerb verb);      // "set-speed"

// Jobs of these kinds are "block jobs" to QMP: query-block-jobs, block-job-* and BLOCK_JOB_* know
// them. The others are seen by query-jobs and job-* only.
constexpr bool is_block_job(JobType type) { return type != JobType::kCreate; }
// True if a job in `status` takes `verb`.
bool accepts(JobStatus status, JobVerb verb);

class Job;
class JobList;

// One object per job. Its calls come one at a time, in this order: run (not if the job was
// cancelled before its start); then, if it succeeded, prepare and commit; or else abort; and clean
// in any case. Destroyed after clean, or without any call if the job was dropped.
class Work {
 public:
  virtual ~Work() = default;

  // The long part. May be cut short: once job.is_cancelled(), it returns soon, with whatever. An
  // error becomes the job's. May end with success though cancel_requested() (see cancel).
  virtual Task<Result<>> run(Job& job) = 0;
  // When the job is finalized: the part that may fail still. By an error abort() is called next.
  virtual Task<Result<>> prepare() { co_return Result<>(); }
  // What must not fail: from here on the work has been done.
  virtual Task<void> commit() { co_return; }
  // After an error of run or prepare, or a cancellation: takes back what can be taken back.
  virtual Task<void> abort() { co_return; }
  // Last call: gives up marks and roots. The job is still listed.
  virtual Task<void> clean() { co_return; }

  // True if the user may end it by job-complete when it is ready. run() then sees
  // job.should_complete().
  virtual bool can_complete() const { return false; }
  // A cancellation is asked for. Gives false if the job ends by itself and in success, leaving
  // things as they are (a ready mirror); true if it is to be aborted, as `force` asks.
  virtual bool cancel(const Job& /*job*/, bool /*force*/) { return true; }
};

struct JobSettings {
  std::string id;
  JobType type = JobType::kCommit;
  int64_t speed_bytes_per_s = 0;  // 0: as fast as it goes
  bool auto_finalize = true;
  bool auto_dismiss = true;
};

struct JobProgress {
  uint64_t current = 0;  // bytes, or whatever the work counts
  uint64_t total = 0;    // as far as is known
};

class Job final {
 public:
  ~Job();
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;

  // What it is. ---------------------------------------------------------------------------------

  const std::string& id() const { return settings_.id; }
  JobType type() const { return settings_.type; }
  const JobSettings& settings() const { return settings_; }
  JobStatus status() const { return status_; }
  JobProgress progress() const { return progress_; }
  int64_t speed_bytes_per_s() const { return settings_.speed_bytes_per_s; }
  // Somebody wants it paused, whether it has come to a pause point or not.
  bool is_pause_wanted() const { return user_paused_; }
  // It does something at this moment: it neither waits nor is paused.
  bool is_busy() const { return busy_; }
  bool is_ready() const { return status_ == JobStatus::kReady || status_ == JobStatus::kStandby; }
  IoStatus io_status() const { return io_status_; }
  // Why it failed; set from `aborting` on.
  const std::optional<base::Error>& error() const { return error_; }
  bool is_started() const { return started_; }

  // For its work. -------------------------------------------------------------------------------
  //
  // One coroutine of it waits here at a time; where several copy side by side, one of them counts
  // and waits for all.

  // To be aborted: return soon. Every wait below ends early then.
  bool is_cancelled() const { return force_cancel_; }
  // Cancelled in either way; if not is_cancelled(), then end in success, leaving things as they
  // are.
  bool cancel_requested() const { return cancelled_; }
  // The user wants the ready job to end.
  bool should_complete() const { return should_complete_; }

  // Waits here while the user has paused the job.
  Task<void> pause_point();
  // Waits, and passes a pause point. Ends early when something is asked of the job, or by wake().
  Task<void> sleep_for(async::Duration duration);
  // The same without a limit of time: for a ready job that has nothing to do.
  Task<void> wait();
  // Ends a wait of run()'s, if there is one. Control loop.
  void wake();

  // Progress. `total` follows: current + remaining.
  void set_remaining(uint64_t amount) { progress_.total = progress_.current + amount; }
  void add_remaining(uint64_t amount) { progress_.total += amount; }
  void add_done(uint64_t amount) { progress_.current += amount; }

  // After the transfer of `bytes`: waits as the speed limit asks, and passes a pause point. Without
  // a limit it lets others run now and then.
  Task<void> throttle(uint64_t bytes);

  // The work is in sync and waits for should_complete() or cancel_requested(), going on meanwhile.
  // BLOCK_JOB_READY tells. Once.
  void set_ready();

  // Says BLOCK_JOB_ERROR and what is to be done by `policy`: kReport, give the error up as run's;
  // kIgnore, go on; kStop, the job is paused (for the user to resume): pass pause_point() and try
  // again.
  ErrorAction handle_error(OnError policy, Operation operation, const base::Error& error);

 private:
  friend class JobList;
  Job(JobList& list, JobSettings settings, std::unique_ptr<Work> work);

  bool should_pause() const { return user_paused_ && !force_cancel_; }
  void set_status(JobStatus status);
  void fail(base::Error error);
  void set_speed(int64_t bytes_per_s);
  Task<void> idle();
  Task<void> idle_until(async::TimePoint deadline);

  JobList& list_;
  JobSettings settings_;
  std::unique_ptr<Work> work_;
  uint64_t number_ = 0;  // unlike its id never used again
  JobStatus status_ = JobStatus::kUndefined;
  JobProgress progress_;
  std::optional<base::Error> error_;
  IoStatus io_status_ = IoStatus::kOk;
  bool started_ = false;
  bool ran_ = false;
  bool busy_ = false;
  bool user_paused_ = false;
  bool cancelled_ = false;
  bool force_cancel_ = false;
  bool should_complete_ = false;
  bool finalize_asked_ = false;
  bool finalizing_ = false;  // beyond cancelling: prepare, commit or abort run
  bool dismiss_asked_ = false;
  async::TimePoint next_transfer_{};      // as the speed limit asks
  async::CancelSource* sleep_ = nullptr;  // of the wait with a limit of time that wake() ends
  async::WaitList waiters_;               // for whatever the user may ask
};

}  // namespace firn::jobs
