// MemoryBudget: what all clients of a daemon's monitors may hold of its memory together, so that
// many that each keep their own bounds can't exhaust it.
//
// Counted are requests that are not whole yet or wait to be run, and answers that wait to be read.
// Each share has kFreeBytes that count nothing, so that ordinary clients never meet the budget.
// When it is exceeded, whoever holds most is given up: not the one that happened to ask for more.
//
// Belongs to the control loop, with its shares.
#pragma once

#include <cstddef>
#include <vector>

namespace firn::qmp {

class MemoryBudget final {
 public:
  static constexpr size_t kDefaultBytes = size_t{256} << 20;
  static constexpr size_t kFreeBytes = size_t{64} << 10;

  explicit MemoryBudget(size_t limit_bytes = kDefaultBytes) : limit_bytes_(limit_bytes) {}
  MemoryBudget(const MemoryBudget&) = delete;
  MemoryBudget& operator=(const MemoryBudget&) = delete;
  ~MemoryBudget();  // no share is left

  class Owner {
   public:
    virtual ~Owner() = default;
    // The owner's share is the greatest, and the budget is exceeded: what is held is let go soon,
    // and nothing more taken. The share counts nothing from then on. Called from within set(), of
    // this or of another share, once.
    virtual void on_memory_short() = 0;
  };

  class Share final {
   public:
    // Without a budget, nothing is counted. Both outlive the share.
    Share(MemoryBudget* budget, Owner& owner) : budget_(budget), owner_(owner) {}
    Share(const Share&) = delete;
    Share& operator=(const Share&) = delete;
    ~Share() { set(0); }

    // What is held now, all of it.
    void set(size_t bytes);

   private:
    friend class MemoryBudget;
    MemoryBudget* budget_;
    Owner& owner_;
    size_t counted_bytes_ = 0;  // beyond kFreeBytes
  };

  size_t limit_bytes() const { return limit_bytes_; }
  size_t used_bytes() const { return used_bytes_; }

 private:
  void count(Share& share, size_t bytes);
  void give_up_greatest();

  const size_t limit_bytes_;
  size_t used_bytes_ = 0;
  std::vector<Share*> shares_;  // those that count anything
};

}  // namespace firn::qmp
