// ActiveOps: the requests in flight on an image, in order of arrival; and the allocations among
// them, by guest range.
//
// A freed cluster is not used again while a request that began before the freeing is in flight: it
// may hold the cluster's place. And two allocating writes to one cluster go one after the other.
// Everything lives in the requests' frames. Home loop.
#pragma once

#include <cstddef>
#include <cstdint>

#include "async/sync.h"

namespace firn::qcow2 {

class ActiveOps {
 public:
  // One request; made before it looks anything up, destroyed after its last I/O. `changes`: it may
  // change the disk's content.
  class Op {
   public:
    explicit Op(ActiveOps& ops, bool changes = false)
        : ops_(ops), sequence_(ops.next_++), changes_(changes) {
      if (changes_) ++ops.changing_;
      previous_ = ops.last_;
      (previous_ != nullptr ? previous_->next_ : ops.first_) = this;
      ops.last_ = this;
    }
    ~Op() {
      if (changes_) --ops_.changing_;
      (previous_ != nullptr ? previous_->next_ : ops_.first_) = next_;
      (next_ != nullptr ? next_->previous_ : ops_.last_) = previous_;
      if (!ops_.ended_.empty()) [[unlikely]]
        ops_.ended_.wake_all();
    }
    Op(const Op&) = delete;
    Op& operator=(const Op&) = delete;

   private:
    friend class ActiveOps;
    ActiveOps& ops_;
    uint64_t sequence_;
    const bool changes_;
    Op* previous_ = nullptr;
    Op* next_ = nullptr;
  };

  // Ops that begin from now on have at least this number.
  uint64_t next_sequence() const { return next_; }
  // All ops with lower numbers are over.
  uint64_t oldest_sequence() const { return first_ != nullptr ? first_->sequence_ : next_; }
  bool empty() const { return first_ == nullptr; }
  // Ops that may change the disk.
  size_t changing() const { return changing_; }
  // Woken when an op ends.
  async::WaitList& ended() { return ended_; }

 private:
  friend class Op;
  async::WaitList ended_;
  Op* first_ = nullptr;
  Op* last_ = nullptr;
  uint64_t next_ = 1;
  size_t changing_ = 0;
};

// Guest ranges whose mapping is being changed by a write in flight.
class Allocations {
 public:
  class Guard {
   public:
    // No guard overlaps [begin, end): see `conflict`.
    Guard(Allocations& all, uint64_t begin, uint64_t end) : all_(all), begin_(begin), end_(end) {
      next_ = all.first_;
      if (next_ != nullptr) next_->previous_ = this;
      all.first_ = this;
    }
    ~Guard() {
      (previous_ != nullptr ? previous_->next_ : all_.first_) = next_;
      if (next_ != nullptr) next_->previous_ = previous_;
      waiters_.wake_all();
    }
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;

    // The range turned out shorter; whoever waits looks again.
    void shrink(uint64_t end) {
      end_ = end;
      waiters_.wake_all();
    }
    async::WaitList& waiters() { return waiters_; }

   private:
    friend class Allocations;
    Allocations& all_;
    uint64_t begin_;
    uint64_t end_;
    Guard* previous_ = nullptr;
    Guard* next_ = nullptr;
    async::WaitList waiters_;
  };

  // One that overlaps, or null. Wait on it (conflict->waiters().wait()) and look everything up
  // anew.
  Guard* conflict(uint64_t begin, uint64_t end) const {
    for (Guard* guard = first_; guard != nullptr; guard = guard->next_) {
      if (guard->begin_ < end && begin < guard->end_) return guard;
    }
    return nullptr;
  }
  bool empty() const { return first_ == nullptr; }

 private:
  Guard* first_ = nullptr;
};

}  // namespace firn::qcow2
