// CommitWork: what the job of commit.h does from its start to its end.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "block/layers.h"
#include "block/write_access.h"
#include "jobs/commit_copy.h"
#include "jobs/job.h"

namespace firn::jobs {

struct CommitPlan {
  block::Node* top = nullptr;
  block::Node* base = nullptr;
  bool active = false;       // `top` is the head
  std::string backing_file;  // empty: the base's file name
  OnError on_error = OnError::kReport;
};

// Control loop.
class CommitWork final : public Work {
 public:
  CommitWork(block::Graph& graph, std::string job_id, CommitPlan plan);
  ~CommitWork() override;

  // Before the job is started, by who holds a claim on the chain: whether the layers may be
  // committed; marks them, opens the base for writing and takes both ends. Errors leave nothing.
  Task<Result<>> acquire(const block::Graph::Claim& claim);

  Task<Result<>> run(Job& job) override;
  Task<Result<>> prepare() override;
  Task<void> clean() override;
  bool can_complete() const override { return plan_.active; }
  bool cancel(const Job& job, bool force) override { return force || !job.is_ready(); }

 private:
  using Claim = block::Graph::Claim;
  using Step = CommitCopy::Step;

  async::Loop& home() const { return plan_.base->home(); }
  Result<> check_layers() const;
  Result<> check_head_users() const;
  Task<Result<>> open_base();
  Task<Result<>> take_ends(const Claim& claim);
  Task<void> mark();
  Task<Result<>> give_up(const Claim& claim);
  Task<Result<>> close_base();

  Task<Result<>> grow_base();
  Task<Result<>> copy_layers(Job& job);
  Task<Result<>> copy_head(Job& job);
  Task<Result<>> mark_all(Job& job);
  Task<Result<>> copy_until_done(Job& job);
  Task<Result<>> handle(Job& job, const Step& step);
  uint64_t budget(const Job& job) const;

  Task<void> start_tracking();
  Task<void> stop_tracking();
  Task<uint64_t> dirty_bytes();

  Task<Result<>> merge_layers(const Claim& claim);
  Task<Result<>> zero_tail();
  Task<Result<>> make_base_head(const Claim& claim);
  Task<Result<>> catch_up();
  Task<Result<>> hold_users();
  Task<Result<>> copy_the_rest();
  Task<void> let_users_go();
  Task<void> pivot(block::LayerDrop& drop);
  Task<Result<>> flush_base();
  Task<Result<>> end_drop(block::LayerDrop& drop, uint64_t intent);

  block::Graph& graph_;
  const std::string reason_;
  CommitPlan plan_;
  std::vector<block::Node*> layers_;  // those that are open still
  block::Root reader_;
  block::Root writer_;
  CommitCopy copy_;
  block::WriteAccess access_;
  std::unique_ptr<block::DirtyTracker> tracker_;  // home loop
  std::vector<block::Root*> held_;                // home loop; their gates are closed by us
  bool acquired_ = false;
  bool switching_ = false;  // the user has said so
  bool dropped_ = false;    // the layers have left the chain
};

}  // namespace firn::jobs
