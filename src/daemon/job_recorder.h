// JobRecorder: keeps in the state what running jobs have to be started anew from, and starts them
// after a restart, by the commands that started them first.
//
// A job begins from the start then: what it had copied is copied again. One that can't be started
// any more, since a crash came between its end and the note of that, is told in the log and
// forgotten. Belongs to the control loop. Without a store it does nothing.
#pragma once

#include <boost/json/fwd.hpp>
#include <map>
#include <string>
#include <string_view>

#include "async/scope.h"
#include "async/sync.h"
#include "async/task.h"
#include "base/json.h"
#include "base/result.h"
#include "daemon/recorder.h"
#include "jobs/job_list.h"
#include "qmp/commands.h"
#include "state/contents.h"

namespace firn::daemon {

class JobRecorder final {
 public:
  // Both outlive this.
  JobRecorder(Recorder& recorder, jobs::JobList& jobs) : recorder_(recorder), jobs_(jobs) {}

  // Starts the jobs of `contents`, paused where they were. Called once, when all else is there.
  async::Task<base::Result<>> restore(const state::Contents& contents, qmp::Commands& commands);

  // After a command that succeeded and before its answer: records the job that it has started, if
  // it is of a kind that can be started anew, and how the others are set. `arguments` are as the
  // schema has them.
  async::Task<base::Result<>> note(std::string_view command, const base::JsonValue& arguments);

  // A job has ended, or is set otherwise: recorded soon.
  void on_change();

  // After the jobs' end.
  async::Task<void> close() { return tasks_.join(); }

 private:
  async::Task<base::Result<>> sync();
  async::Task<void> sync_in_background();
  async::Task<base::Result<>> start_anew(const state::Thing& thing, qmp::Commands& commands);

  Recorder& recorder_;
  jobs::JobList& jobs_;
  std::map<std::string, base::JsonValue> starts_;  // of jobs that run, by id: how they began
  std::map<std::string, std::string> recorded_;    // what the store has, by id
  async::Mutex turn_;  // whoever has it writes; the next finds it written
  async::TaskScope tasks_;
  bool syncing_ = false;
  bool changed_ = false;  // meanwhile
};

}  // namespace firn::daemon
