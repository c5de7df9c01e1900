// CommitCopy: brings into a base what the layers above it hold. The commit's hands; when and how
// often is the job's matter (commit_work.h).
//
// What reads as zeroes in the layers is zeroed in the base, also where a layer ends early; what no
// layer has is left alone. All of it runs on the home loop of the nodes.
#pragma once

#include <cstdint>
#include <optional>

#include "async/scope.h"
#include "block/dirty_tracker.h"
#include "block/root.h"
#include "jobs/job.h"

namespace firn::jobs {

class CommitCopy final {
 public:
  // `reader` is attached to `top` and `writer` to `base`; all outlive this.
  CommitCopy(block::Node& top, block::Node& base, block::Root& reader, block::Root& writer)
      : top_(top), base_(base), reader_(reader), writer_(writer) {}

  struct Step {
    uint64_t end = 0;  // where the next step begins
    uint64_t copied_bytes = 0;
    std::optional<base::Error> error;  // the first; the step is to be done again then
    Operation failed = Operation::kRead;
  };
  // From `begin` on, until some `budget` bytes are copied or the top's end has come.
  Task<Step> copy_from(uint64_t begin, uint64_t budget);
  // The ranges that `tracker` has marked, `budget` bytes of them at most. What could not be copied
  // is marked again.
  Task<Step> copy_dirty(block::DirtyTracker& tracker, uint64_t budget);
  // Marks what the layers hold, from `begin` on, for a while.
  Task<Step> mark_held(block::DirtyTracker& tracker, uint64_t begin);
  // Zeroes the base in [begin, end).
  Task<Result<>> zero(uint64_t begin, uint64_t end);

 private:
  Task<void> copy_range(block::DirtyMap::Range range, Step& step, block::DirtyTracker& tracker);
  Task<void> copy_run(block::Run run, uint64_t offset, Step& step);
  Task<Result<>> copy_data(uint64_t offset, uint64_t length, Step& step);
  static void fail(Step& step, Operation operation, base::Error error);

  block::Node& top_;
  block::Node& base_;
  block::Root& reader_;
  block::Root& writer_;
};

}  // namespace firn::jobs
