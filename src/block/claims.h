// Who may change which chains, and who may look: the queue of Graph's commands, and its readers.
//
// A *chain* here is all nodes that are connected, by whatever edges, with the devices and other
// roots on them: whatever one command may have to look at. Two forks of one base are one chain.
// Everything here belongs to the control loop and knows chains by numbers alone.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "async/loop.h"
#include "async/sync.h"
#include "block/root.h"

namespace firn::block {

using ChainId = uint64_t;
using ChainIds = std::set<ChainId>;

// Which chain a node or a root belongs to. Edges within a chain, and from it to another, are
// changed only by whoever holds a claim on it (on both): so the holder may read them here, on the
// control loop.
class ChainMap {
 public:
  ChainId make_chain() { return ++last_; }
  void add(Node& node, ChainId chain);
  void add(Root& root, ChainId chain);
  void remove(const Node& node);
  void remove(const Root& root);
  // 0: it is not here.
  ChainId of(const Node* node) const;
  ChainId of(const Root* root) const;
  const std::vector<Root*>& roots_of(ChainId chain) const;
  ChainIds all() const;
  // Edges of these chains have changed: what is connected becomes one chain, what is not several.
  void regroup(const ChainIds& chains);

 private:
  struct Members {
    std::vector<Node*> nodes;
    std::vector<Root*> roots;
  };
  ChainId last_ = 0;
  std::unordered_map<ChainId, Members> members_;
  std::unordered_map<const Node*, ChainId> nodes_;
  std::unordered_map<const Root*, ChainId> roots_;
};

// What a command claims: the chains of these nodes and devices, as they are when its turn comes.
struct ClaimKeys {
  std::vector<std::string> names;
  const Root* root = nullptr;
  bool all = false;
};

class ClaimQueue;

// The right to change some chains, until it is dropped. Also holds names that its command is about
// to use, so that nobody else takes them meanwhile.
class [[nodiscard]] ChainClaim {
 public:
  ChainClaim() = default;
  ChainClaim(ChainClaim&& other) noexcept
      : queue_(std::exchange(other.queue_, nullptr)), request_(other.request_) {}
  ChainClaim& operator=(ChainClaim&& other) noexcept {
    drop();
    queue_ = std::exchange(other.queue_, nullptr);
    request_ = other.request_;
    return *this;
  }
  ~ChainClaim() { drop(); }
  void drop();

 private:
  friend class ClaimQueue;
  struct Request;
  ChainClaim(ClaimQueue* queue, Request* request) : queue_(queue), request_(request) {}
  ClaimQueue* queue_ = nullptr;
  Request* request_ = nullptr;
};

// First come, first served, per chain; all chains of a claim are taken at once, so that nobody
// holds one while waiting for another. One that waits for several chains keeps them free of those
// who come later, but only for kReserveTime: then they may pass, since what it waits for may be a
// disk that never answers.
class ClaimQueue final {
 public:
  static constexpr auto kReserveTime = std::chrono::seconds(1);

  // `resolve` gives the chains that keys mean at this moment (all: not asked). `on_release` is
  // called with the chains of a claim that ends, before anybody else gets them. A claim also holds
  // a chain of its own, made by `make_chain`, for nodes that it adds.
  struct Hooks {
    std::function<ChainIds(const ClaimKeys&)> resolve;
    std::function<ChainIds()> all;
    std::function<ChainId()> make_chain;
    std::function<void(const ChainIds&)> on_release;
  };
  explicit ClaimQueue(Hooks hooks);
  ~ClaimQueue();  // nobody holds or waits
  ClaimQueue(const ClaimQueue&) = delete;
  ClaimQueue& operator=(const ClaimQueue&) = delete;

  Task<ChainClaim> claim(ClaimKeys keys);

  bool holds(const ChainClaim& claim, ChainId chain) const;
  ChainId own_chain(const ChainClaim& claim) const;
  // False if another claim holds the name. It is free again when `claim` is dropped.
  bool reserve_name(const ChainClaim& claim, const std::string& name);
  // Held by a claim other than `claim` (null: by any).
  bool is_reserved(std::string_view name, const ChainClaim* claim) const;

 private:
  friend class ChainClaim;
  using Request = ChainClaim::Request;
  struct PatienceTimer : async::Timer {
    ClaimQueue* queue = nullptr;
  };
  void grant();
  void hold(Request& request, ChainIds chains);
  void release(Request* request);
  bool covers(const Request& request) const;

  Hooks hooks_;
  std::list<Request> requests_;  // held and waiting, in order of arrival
  PatienceTimer timer_;
};

// Readers beside each other, and short moments without any. Whoever asks for such a moment has it
// before readers that come later.
class ReaderGate final {
 public:
  class [[nodiscard]] Reading {
   public:
    Reading() = default;
    Reading(Reading&& other) noexcept : gate_(std::exchange(other.gate_, nullptr)) {}
    Reading& operator=(Reading&& other) noexcept {
      drop();
      gate_ = std::exchange(other.gate_, nullptr);
      return *this;
    }
    ~Reading() { drop(); }
    void drop() {
      if (gate_ != nullptr) std::exchange(gate_, nullptr)->leave();
    }

   private:
    friend class ReaderGate;
    explicit Reading(ReaderGate* gate) : gate_(gate) {}
    ReaderGate* gate_ = nullptr;
  };
  // Not while holding one.
  Task<Reading> enter();

  // While it lives nobody reads. Not while holding a Reading; nothing that waits for a disk is
  // awaited meanwhile.
  class [[nodiscard]] Exclusion {
   public:
    Exclusion(Exclusion&& other) noexcept
        : gate_(std::exchange(other.gate_, nullptr)), guard_(std::move(other.guard_)) {}
    Exclusion& operator=(Exclusion&&) = delete;
    ~Exclusion();

   private:
    friend class ReaderGate;
    Exclusion(ReaderGate* gate, async::Mutex::Guard guard)
        : gate_(gate), guard_(std::move(guard)) {}
    ReaderGate* gate_;
    async::Mutex::Guard guard_;
  };
  Task<Exclusion> exclude();

 private:
  void leave();
  size_t readers_ = 0;
  size_t exclusions_ = 0;  // held and waited for
  async::Mutex exclusive_;
  async::WaitList enterers_;
  async::WaitList leavers_;
};

}  // namespace firn::block
