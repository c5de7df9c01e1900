#include "jobs/job_list.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "async/sim_loop.h"
#include "async/sim_world.h"

namespace firn::jobs {
namespace {

using async::Loop;
using base::ErrorKind;
using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::IsEmpty;

// Everything that is heard of jobs, in one list of words.
class Diary final : public JobObserver {
 public:
  void on_status(const Job& job) override { note(job, to_string(job.status())); }
  void on_ready(const Job& job) override { note(job, "READY"); }
  void on_pending(const Job& job) override { note(job, "PENDING"); }
  void on_completed(const Job& job) override {
    note(job, job.error() ? "FAILED " + job.error()->text() : "COMPLETED");
  }
  void on_cancelled(const Job& job) override { note(job, "CANCELLED"); }
  void on_error(const Job& job, Operation operation, ErrorAction action) override {
    note(job, std::string(operation == Operation::kRead ? "read" : "write") +
                  (action == ErrorAction::kStop     ? " stop"
                   : action == ErrorAction::kIgnore ? " ignore"
                                                    : " report"));
  }
  void note(const Job& job, std::string_view word) {
    words_.push_back(job.id() + " " + std::string(word));
  }
  void add(std::string word) { words_.push_back(std::move(word)); }
  std::vector<std::string> take() { return std::exchange(words_, {}); }

 private:
  std::vector<std::string> words_;
};

// What the work of a test does; its calls are noted.
struct Script {
  uint64_t steps = 3;
  uint64_t step_bytes = 1000;
  milliseconds step_time{10};
  std::vector<base::Error> errors;  // of the first steps, each once
  OnError on_error = OnError::kReport;
  bool becomes_ready = false;
  std::optional<base::Error> prepare_error;
  milliseconds prepare_time{0};
};

class ScriptedWork final : public Work {
 public:
  ScriptedWork(Diary& diary, Script script) : diary_(diary), script_(std::move(script)) {}
  ~ScriptedWork() override { diary_.add("destroyed"); }

  Task<Result<>> run(Job& job) override {
    job.set_remaining(script_.steps * script_.step_bytes);
    for (uint64_t step = 0; step < script_.steps && !job.is_cancelled();) {
      co_await job.sleep_for(script_.step_time);
      if (!script_.errors.empty()) {
        const base::Error error = script_.errors.front();
        script_.errors.erase(script_.errors.begin());
        switch (job.handle_error(script_.on_error, Operation::kWrite, error)) {
          case ErrorAction::kReport:
            co_return base::fail(error);
          case ErrorAction::kStop:
            co_await job.pause_point();
            continue;
          case ErrorAction::kIgnore:
            break;
        }
      }
      ++step;
      job.add_done(script_.step_bytes);
      co_await job.throttle(script_.step_bytes);
    }
    if (script_.becomes_ready && !job.is_cancelled()) {
      job.set_ready();
      while (!job.should_complete() && !job.cancel_requested()) co_await job.wait();
    }
    co_return Result<>();
  }
  Task<Result<>> prepare() override {
    diary_.add("prepare");
    co_await Loop::current().sleep_for(script_.prepare_time);
    if (script_.prepare_error) co_return base::fail(*script_.prepare_error);
    co_return Result<>();
  }
  Task<void> commit() override {
    diary_.add("commit");
    co_return;
  }
  Task<void> abort() override {
    diary_.add("abort");
    co_return;
  }
  Task<void> clean() override {
    diary_.add("clean");
    co_return;
  }
  bool can_complete() const override { return script_.becomes_ready; }
  bool cancel(const Job& job, bool force) override { return force || !job.is_ready(); }

 private:
  Diary& diary_;
  Script script_;
};

// A test is a task in simulation, with a list that is closed at its end.
struct Lab {
  Diary diary;
  JobList list{diary};

  Job* start(std::string id, Script script = {}, JobSettings settings = {}) {
    settings.id = std::move(id);
    auto job = list.create(std::move(settings), std::make_unique<ScriptedWork>(diary, script));
    EXPECT_TRUE(job.has_value());
    list.start(**job);
    return *job;
  }
};
Task<void> pass(int64_t ms) { (void)co_await Loop::current().sleep_for(milliseconds(ms)); }

Task<void> run_closed(Task<void> (*test)(Lab&)) {
  Lab lab;
  co_await test(lab);
  co_await lab.list.close();
  EXPECT_THAT(lab.list.jobs(), IsEmpty());
}

void simulate(Task<void> (*test)(Lab&)) {
  async::SimWorld world(1);
  auto ran = world.run(run_closed(test));
  ASSERT_TRUE(ran) << ran.error().text();
}

std::string text_of(const Result<>& result) { return result ? "" : result.error().text(); }

Task<void> plain_life(Lab& lab) {
  const Job* job = lab.start("j");
  EXPECT_EQ(job->status(), JobStatus::kRunning);
  co_await pass(15);
  EXPECT_EQ(job->progress().current, 1000u);
  EXPECT_EQ(job->progress().total, 3000u);
  co_await pass(100);
  EXPECT_THAT(lab.diary.take(),
              ElementsAre("j created", "j running", "j waiting", "j pending", "prepare", "commit",
                          "clean", "j COMPLETED", "j concluded", "j null", "destroyed"));
  EXPECT_FALSE(lab.list.find("j"));
}
TEST(JobListTest, RunsToItsEnd) { simulate(plain_life); }

Task<void> users_finalize(Lab& lab) {
  Job* job = lab.start("j", {}, {.auto_finalize = false, .auto_dismiss = false});
  EXPECT_EQ(text_of(co_await lab.list.finalize(*job)),
            "Job 'j' in state 'running' cannot accept command verb 'finalize'");
  co_await pass(100);
  EXPECT_EQ(job->status(), JobStatus::kPending);
  EXPECT_EQ(text_of(lab.list.pause(*job)),
            "Job 'j' in state 'pending' cannot accept command verb 'pause'");
  EXPECT_TRUE(co_await lab.list.finalize(*job));
  EXPECT_EQ(job->status(), JobStatus::kConcluded);
  EXPECT_EQ(text_of(lab.list.cancel(*job, true)),
            "Job 'j' in state 'concluded' cannot accept command verb 'cancel'");
  EXPECT_FALSE(lab.list.check_new_id("j"));
  EXPECT_TRUE(co_await lab.list.dismiss(*job));
  EXPECT_TRUE(lab.list.check_new_id("j"));
  EXPECT_THAT(lab.diary.take(), ElementsAre("j created", "j running", "j waiting", "j pending",
                                            "j PENDING", "prepare", "commit", "clean",
                                            "j COMPLETED", "j concluded", "j null", "destroyed"));
}
TEST(JobListTest, WaitsForFinalizeAndDismiss) { simulate(users_finalize); }

Task<void> pause_and_resume(Lab& lab) {
  Job* job = lab.start("j");
  EXPECT_EQ(text_of(lab.list.resume(*job)), "Can't resume a job that was not paused");
  EXPECT_TRUE(lab.list.pause(*job));
  EXPECT_EQ(text_of(lab.list.pause(*job)), "Job is already paused");
  co_await pass(1);
  EXPECT_EQ(job->status(), JobStatus::kPaused);
  EXPECT_FALSE(job->is_busy());
  co_await pass(10'000);
  EXPECT_EQ(job->progress().current, 0u);
  EXPECT_EQ(text_of(lab.list.complete(*job)),
            "Job 'j' in state 'paused' cannot accept command verb 'complete'");
  EXPECT_TRUE(lab.list.resume(*job));
  co_await pass(100);
  EXPECT_THAT(lab.diary.take(), ElementsAre("j created", "j running", "j paused", "j running",
                                            "j waiting", "j pending", "prepare", "commit", "clean",
                                            "j COMPLETED", "j concluded", "j null", "destroyed"));
}
TEST(JobListTest, PausesAtAPausePoint) { simulate(pause_and_resume); }

Task<void> cancel_running_and_paused(Lab& lab) {
  EXPECT_TRUE(lab.list.cancel(*lab.start("a"), false));
  co_await pass(50);
  EXPECT_THAT(lab.diary.take(),
              ElementsAre("a created", "a running", "a aborting", "abort", "clean", "a CANCELLED",
                          "a concluded", "a null", "destroyed"));
  Job* job = lab.start("b", {}, {.auto_dismiss = false});
  EXPECT_TRUE(lab.list.pause(*job));
  co_await pass(5);
  EXPECT_TRUE(lab.list.cancel(*job, true));
  co_await pass(5);
  EXPECT_THAT(lab.diary.take(),
              ElementsAre("b created", "b running", "b paused", "b running", "b aborting", "abort",
                          "clean", "b CANCELLED", "b concluded"));
  EXPECT_EQ(job->error()->text(), "Operation canceled");
}
TEST(JobListTest, CancelsAtOnce) { simulate(cancel_running_and_paused); }

Task<void> cancel_pending(Lab& lab) {
  Job* job = lab.start("j", {}, {.auto_finalize = false});
  co_await pass(100);
  lab.diary.take();
  EXPECT_TRUE(lab.list.cancel(*job, false));
  co_await pass(5);
  EXPECT_THAT(lab.diary.take(), ElementsAre("j aborting", "abort", "clean", "j CANCELLED",
                                            "j concluded", "j null", "destroyed"));
}
TEST(JobListTest, CancelsWhatIsPending) { simulate(cancel_pending); }

Task<void> ready_and_complete(Lab& lab) {
  Job* job = lab.start("j", {.becomes_ready = true});
  co_await pass(10'000);
  EXPECT_EQ(job->status(), JobStatus::kReady);
  EXPECT_TRUE(lab.list.pause(*job));
  co_await pass(1);
  EXPECT_EQ(job->status(), JobStatus::kStandby);
  EXPECT_TRUE(lab.list.complete(*job));  // noted, for when it is resumed
  co_await pass(1);
  EXPECT_EQ(job->status(), JobStatus::kStandby);
  EXPECT_TRUE(lab.list.resume(*job));
  co_await pass(10);
  EXPECT_THAT(lab.diary.take(),
              ElementsAre("j created", "j running", "j ready", "j READY", "j standby", "j ready",
                          "j waiting", "j pending", "prepare", "commit", "clean", "j COMPLETED",
                          "j concluded", "j null", "destroyed"));
}
TEST(JobListTest, AReadyJobIsCompleted) { simulate(ready_and_complete); }

Task<void> cancel_ready(Lab& lab) {
  Job* job = lab.start("soft", {.becomes_ready = true});
  co_await pass(100);
  lab.diary.take();
  EXPECT_TRUE(lab.list.cancel(*job, false));
  EXPECT_EQ(text_of(lab.list.complete(*job)), "The active block job 'soft' cannot be completed");
  co_await pass(10);
  EXPECT_THAT(lab.diary.take(),
              ElementsAre("soft waiting", "soft pending", "prepare", "commit", "clean",
                          "soft COMPLETED", "soft concluded", "soft null", "destroyed"));
  job = lab.start("hard", {.becomes_ready = true});
  co_await pass(100);
  lab.diary.take();
  EXPECT_TRUE(lab.list.cancel(*job, true));
  co_await pass(10);
  EXPECT_THAT(lab.diary.take(), ElementsAre("hard aborting", "abort", "clean", "hard CANCELLED",
                                            "hard concluded", "hard null", "destroyed"));
}
TEST(JobListTest, ASoftCancelOfAReadyJobIsASuccess) { simulate(cancel_ready); }

Task<void> errors_by_policy(Lab& lab) {
  const base::Error io(ErrorKind::kIo, "Input/output error");
  const base::Error full(ErrorKind::kNoSpace, "No space left on device");
  lab.start("report", {.errors = {io}}, {.auto_dismiss = false});
  co_await pass(100);
  EXPECT_THAT(
      lab.diary.take(),
      ElementsAre("report created", "report running", "report write report", "report aborting",
                  "abort", "clean", "report FAILED Input/output error", "report concluded"));
  lab.start("ignore", {.errors = {io, full}, .on_error = OnError::kIgnore});
  co_await pass(100);
  EXPECT_THAT(lab.diary.take(), testing::Contains("ignore COMPLETED"));

  Job* job = lab.start("stop", {.errors = {io, full}, .on_error = OnError::kStop});
  co_await pass(100);
  EXPECT_EQ(job->status(), JobStatus::kPaused);
  EXPECT_EQ(job->io_status(), IoStatus::kFailed);
  EXPECT_TRUE(lab.list.resume(*job));
  EXPECT_EQ(job->io_status(), IoStatus::kOk);
  co_await pass(100);
  EXPECT_EQ(job->status(), JobStatus::kPaused);
  EXPECT_EQ(job->io_status(), IoStatus::kNoSpace);
  EXPECT_TRUE(lab.list.resume(*job));
  co_await pass(100);
  EXPECT_THAT(lab.diary.take(),
              ElementsAre("stop created", "stop running", "stop write stop", "stop paused",
                          "stop running", "stop write stop", "stop paused", "stop running",
                          "stop waiting", "stop pending", "prepare", "commit", "clean",
                          "stop COMPLETED", "stop concluded", "stop null", "destroyed"));
  for (OnError policy : {OnError::kEnospc, OnError::kAuto}) {
    job = lab.start("full", {.errors = {full, io}, .on_error = policy});
    co_await pass(50);
    EXPECT_EQ(job->status(), JobStatus::kPaused);
    EXPECT_TRUE(lab.list.resume(*job));
    co_await pass(50);
    EXPECT_THAT(lab.diary.take(), testing::IsSupersetOf({"full write stop", "full write report"}));
  }
}
TEST(JobListTest, ErrorsFollowThePolicy) { simulate(errors_by_policy); }

Task<void> failing_prepare(Lab& lab) {
  const base::Error error(ErrorKind::kIo, "no way");
  Job* job = lab.start("j", {.prepare_error = error, .prepare_time = milliseconds(50)});
  co_await pass(60);
  EXPECT_EQ(job->status(), JobStatus::kPending);
  // Too late: what prepare does is not cut short.
  EXPECT_EQ(text_of(lab.list.cancel(*job, true)),
            "Job 'j' in state 'pending' cannot accept command verb 'cancel'");
  co_await pass(100);
  EXPECT_THAT(
      lab.diary.take(),
      ElementsAre("j created", "j running", "j waiting", "j pending", "prepare", "j aborting",
                  "abort", "clean", "j FAILED no way", "j concluded", "j null", "destroyed"));
}
TEST(JobListTest, AnErrorOfPrepareAborts) { simulate(failing_prepare); }

Task<void> speed_limit(Lab& lab) {
  const Script script{.steps = 100, .step_bytes = 10'000, .step_time = milliseconds(0)};
  Job* job = lab.start("j", script, {.speed_bytes_per_s = 100'000});
  co_await pass(5000);
  EXPECT_NEAR(static_cast<double>(job->progress().current), 500'000, 30'000);
  EXPECT_EQ(text_of(lab.list.set_speed(*job, -1)),
            "Parameter 'speed' expects a non-negative value");
  // Paused in the middle of a wait, and not made up for after.
  EXPECT_TRUE(lab.list.pause(*job));
  co_await pass(5000);
  EXPECT_TRUE(lab.list.resume(*job));
  co_await pass(2000);
  EXPECT_NEAR(static_cast<double>(job->progress().current), 700'000, 50'000);
  EXPECT_TRUE(lab.list.set_speed(*job, 1));  // a step takes hours
  co_await pass(100'000);
  EXPECT_LT(job->progress().current, 800'000u);
  EXPECT_TRUE(lab.list.set_speed(*job, 0));  // and is not waited for
  co_await pass(100);
  EXPECT_FALSE(lab.list.find("j"));
}
TEST(JobListTest, KeepsToItsSpeed) { simulate(speed_limit); }

Task<void> names(Lab& lab) {
  lab.start("c", {}, {.type = JobType::kCreate, .auto_finalize = false, .auto_dismiss = false});
  lab.start("d");
  EXPECT_EQ(text_of(lab.list.check_new_id("c")), "Job ID 'c' already in use");
  EXPECT_EQ(text_of(lab.list.check_new_id("1")), "Invalid job ID '1'");
  EXPECT_EQ(text_of(lab.list.check_new_id("")), "Invalid job ID ''");
  EXPECT_EQ(lab.list.find("e").error().text(), "Job not found");
  EXPECT_TRUE(lab.list.find("c"));
  const auto none = lab.list.find_block_job("c");
  EXPECT_EQ(none.error().text(), "Block job 'c' not found");
  EXPECT_EQ(none.error().kind(), ErrorKind::kDeviceNotActive);
  const auto list = lab.list.jobs();
  EXPECT_EQ(list.size(), 2u);
  EXPECT_EQ(list.front()->id(), "d");
  EXPECT_EQ(list.back()->id(), "c");
  co_await pass(100);
  for (const std::string& word : lab.diary.take()) EXPECT_NE(word, "c PENDING");
}
TEST(JobListTest, FindsByName) { simulate(names); }

Task<void> created_only(Lab& lab) {
  auto work = [&] { return std::make_unique<ScriptedWork>(lab.diary, Script{}); };
  Job* dropped = *lab.list.create({.id = "d"}, work());
  lab.list.drop(*dropped);
  EXPECT_THAT(lab.diary.take(), ElementsAre("d created", "d null", "destroyed"));
  Job* job = *lab.list.create({.id = "j"}, work());
  EXPECT_TRUE(lab.list.cancel(*job, true));
  lab.list.start(*job);
  co_await pass(10);
  EXPECT_THAT(lab.diary.take(), ElementsAre("j created", "j aborting", "abort", "clean",
                                            "j concluded", "j null", "destroyed"));
}
TEST(JobListTest, NotEveryJobStarts) { simulate(created_only); }

Task<void> closing(Lab& lab) {
  lab.start("running", {.steps = 1'000'000});
  lab.start("pending", {}, {.auto_finalize = false});
  lab.start("concluded", {}, {.auto_dismiss = false});
  lab.start("paused");
  EXPECT_TRUE(lab.list.pause(**lab.list.find("paused")));
  lab.start("preparing", {.prepare_time = milliseconds(80)});
  co_await pass(80);
  lab.diary.take();
  co_await lab.list.close();
  EXPECT_THAT(lab.diary.take(),
              testing::IsSupersetOf({"running CANCELLED", "pending CANCELLED", "concluded null",
                                     "paused CANCELLED", "preparing COMPLETED"}));
  EXPECT_EQ(lab.list.check_new_id("new").error().kind(), ErrorKind::kShutdown);
}
TEST(JobListTest, CloseEndsThemAll) { simulate(closing); }

TEST(JobTest, VerbsByStatus) {
  // Rows: verbs; columns: undefined, created, running, paused, ready, standby, waiting, pending,
  // aborting, concluded, null. Source: JobVerbTable in job.c of QEMU 7.2.
  const std::pair<JobVerb, std::string> table[] = {
      {JobVerb::kCancel, ".xxxxxxx..."},   {JobVerb::kPause, ".xxxxx....."},
      {JobVerb::kResume, ".xxxxx....."},   {JobVerb::kSetSpeed, ".xxxxx....."},
      {JobVerb::kComplete, "....xx....."}, {JobVerb::kFinalize, ".......x..."},
      {JobVerb::kDismiss, ".........x."},
  };
  for (const auto& [verb, row] : table) {
    for (size_t status = 0; status < row.size(); ++status) {
      EXPECT_EQ(accepts(static_cast<JobStatus>(status), verb), row[status] == 'x')
          << to_string(verb) << " in " << to_string(static_cast<JobStatus>(status));
    }
  }
}

}  // namespace
}  // namespace firn::jobs
