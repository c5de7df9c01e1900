// Layers that leave a chain: what stood on `top` stands on `base` from then on. The end of a
// commit, when `base` reads, for whoever reads through `top`, the same as `top` does.
//
//   overlay            overlay                  exports            exports
//     |                  |                        |                  |
//    top                 |        or             top                 |
//     |                  |                        |                  |
//    ...      -->        |                       ...      -->        |
//     |                  |                        |                  |
//    base               base                     base               base
//
// The steps, each after the one before; a crash between any two of them leaves a chain that reads
// the same:
//   1. prepare()         what may fail: users, locks, headers open for writing
//   2. the store records change() (StateStore::record_intent), `base` being durable
//   3. rewrite_headers() overlays name base as their backing file, durably
//   4. pivot()           users and overlays move within one turn: no I/O, no waiting
//   5. finish()          requests that still read by the old way end; headers are closed
//   6. close()           the layers are closed, but those that a user added
//   7. the store hears that it is done
// Before 4 undo() goes back.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "block/graph.h"
#include "block/write_access.h"

namespace firn::block {

// The nodes of the chain from `top` to the one above `base`, by their backing edges. Empty: `base`
// is not below `top`. Home loop, or control loop with a claim on the chain.
std::vector<Node*> layers_above(Node& top, const Node& base);

// What reads of `top`, but only down to the layer above `base`, find at `offset`: the run that
// starts there, `length` at most. kUnallocated: none of them has it, `base` is seen. A layer that
// is shorter than those above hides what lies below its end: kZero there. Home loop.
Task<Result<Run>> status_above(Node& top, const Node& base, uint64_t offset, uint64_t length);

class LayerDrop final {
 public:
  struct Plan {
    Node& top;
    Node& base;
    std::string backing_file;  // what overlays store; empty: base's file name
    // Of whoever drops. They don't move; those on a layer are detached when they have no more use
    // (finish: without a request in flight), those on `base` use it no more from the pivot on.
    std::vector<Root*> own = {};
  };
  // `claim` holds the chain, and outlives this.
  LayerDrop(Graph& graph, const Graph::Claim& claim, Plan plan);
  ~LayerDrop();  // finished or undone

  // Whether all of the layers are those of one chain, and nobody uses `base` or a layer below `top`
  // but the chain: who does would see them change. Home loop, with a claim. Errors: kBusy, with who
  // it is.
  static Result<> check_users(const Plan& plan);

  // On the control loop from here on, unless a function says otherwise. --------------------------

  // Errors leave nothing changed: those of check_users, of WriteAccess for an overlay, and of
  // permissions that the moved users need on `base`.
  Task<Result<>> prepare();
  GraphChange change() const;
  // After an error the headers say what they said before, as far as that can be had.
  Task<Result<>> rewrite_headers();
  Task<void> undo();
  Task<void> pivot();
  // Home loop: pivot() for those who are there already and hold the users' gates.
  void pivot_now();
  // An error is that of an overlay's image that could not be made read-only again, or of a layer
  // that could not be closed cleanly: the drop stands.
  Task<Result<>> finish();
  Task<Result<>> close();

  // The nodes that close() closes; they must not be touched after it.
  const std::vector<Node*>& closing() const { return closing_; }

 private:
  struct Overlay {
    Node* node = nullptr;
    WriteAccess access;
    std::string backing_file;  // as its header had it
    std::string backing_format;
    bool rewritten = false;
  };
  Task<Result<>> record_overlays();
  Task<Result<>> prepare_on_home();
  Task<Result<>> open_overlay(Node& node);
  Result<> take_permissions();
  std::vector<Root*> own_at_base() const;
  Task<Result<>> rewrite_on_home();
  Task<void> restore_headers();
  Task<void> undo_on_home();
  Task<void> pivot_on_home();
  Task<void> settle_on_home();
  Task<Result<>> give_back_overlays();
  Task<void> cut_from_base();
  bool is_own(const Edge& edge) const;
  std::string backing_file() const;

  Graph& graph_;
  const Graph::Claim& claim_;
  Plan plan_;
  std::vector<Node*> layers_;
  std::vector<Node*> closing_;
  std::vector<Overlay> overlays_;
  std::vector<Root*> readers_;  // whose requests may read by the old way
  std::string device_;          // one that moves
  bool users_move_ = false;
  std::vector<std::pair<Root*, Permissions>> shared_before_;  // of the own
  Edge stand_in_;  // for the users that are about to come to `base`
};

}  // namespace firn::block
