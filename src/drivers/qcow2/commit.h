// Commits: everything that is dirty in memory goes to disk, in an order that leaves the image right
// after a power cut at any moment.
//
// A commit begins with the freezing: in one turn it takes refcounts, L2 slices, L1 and refcount
// table entries as they are. That is consistent by itself, since an L2 entry enters memory only
// after its data is written, and its cluster's refcount before that. Then, each phase durable
// before the next:
//   A  refcount blocks, and all data written before the freezing
//   B  refcount table entries (a table that moved: the table, then the header)
//   C  L2 slices
//   D  L1 entries
// Phases with nothing to do cost nothing; a commit with nothing to write is one sync. Guests go on
// reading and writing meanwhile. After it, clusters whose last reference it removed become free.
//
// Home loop.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "async/scope.h"
#include "async/sync.h"
#include "drivers/qcow2/freed.h"
#include "drivers/qcow2/header.h"
#include "drivers/qcow2/l2_tables.h"
#include "drivers/qcow2/refcounts.h"

namespace firn::qcow2 {

class Commits {
 public:
  Commits(ImageFile& file, Header& header, Refcounts& refcounts, L2Tables& l2,
          FreedClusters& freed);

  // All that was complete before the call is durable after. Calls that come while a commit runs
  // share the next one.
  // Errors: a table that could not be written stays in memory and is written by a later commit. A
  // sync that failed is for ever: what it lost can't be known, so every later call fails (kIo),
  // until somebody accepts that.
  Task<Result<>> commit();
  bool sync_has_failed() const { return sync_error_.has_value(); }
  // The tables of the commit that failed are dirty still, and the next one writes them again.
  void accept_loss() { sync_error_.reset(); }
  // The same until nothing is dirty, no freed cluster waits any more and nothing runs in the
  // background, even after an error; no request is in flight. The last call before the end.
  Task<Result<>> commit_all();

  // Freed clusters become free behind the commits: giving their storage back may take long, and
  // nobody's flush waits for it.
  bool is_releasing() const { return background_.running() != 0; }
  // Until what is under way at this moment is released.
  Task<void> wait_for_release() {
    if (is_releasing()) co_await pass_ended_.wait();
  }

  // The number of the next commit that begins: it will write what is changed now.
  const uint64_t& next_number() const { return next_; }
  bool is_dirty() const { return refcounts_.is_dirty() || l2_.is_dirty() || !freed_.empty(); }

  // Which free clusters' storage goes back to the file.
  void set_discard(DiscardPolicy discard) { discard_ = discard; }
  DiscardPolicy discard() const { return discard_; }

  // Writes the header as it is now, and waits until it is durable.
  Task<Result<>> write_header();

  // Held while tables move or the header changes outside of a commit (resizing): keeps commits
  // from beginning, and waits for one that runs.
  Task<async::Mutex::Guard> lock() { co_return co_await running_.lock(); }
  // A commit, by the holder of the lock.
  Task<Result<>> commit_locked();

 private:
  struct Frozen {
    Refcounts::Frozen refcounts;
    L2Tables::Frozen l2;
  };
  Task<Result<>> commit_until_clean();
  Task<void> release_freed();
  Task<Result<>> write(Frozen& frozen);
  Task<Result<>> write_refcounts(const Refcounts::Frozen& frozen);
  Task<Result<>> write_refcount_table(const Refcounts::Frozen& frozen);
  Task<Result<>> write_l1(const L2Tables::Frozen& frozen);
  Task<Result<>> sync();

  ImageFile& file_;
  Header& header_;
  Refcounts& refcounts_;
  L2Tables& l2_;
  FreedClusters& freed_;
  DiscardPolicy discard_;
  async::Mutex running_;
  uint64_t next_ = 1;
  uint64_t durable_ = 0;  // all commits up to this one
  std::optional<base::Error> sync_error_;
  async::WaitList pass_ended_;
  async::TaskScope background_;  // one release_freed at most
};

}  // namespace firn::qcow2
