// One life of the daemon: it opens the disk, serves clients, takes snapshots, and ends in order or
// with its machine.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "async/scope.h"
#include "async/sim_world.h"
#include "block/graph.h"
#include "tests/sim/merges.h"
#include "tests/sim/world.h"

namespace firn::sim {

class Session {
 public:
  Session(World& world, async::SimProcess& process)
      : world_(world),
        process_(process),
        state_(world, process),
        merges_(world, process),
        root_("the clients") {}

  // The daemon's main task. Ends also when power goes.
  async::Task<void> main();

  // It closed all it had, and said so, while its machine lived.
  bool closed_in_order() const { return closed_in_order_; }

 private:
  async::Task<void> serve(block::Graph& graph);
  async::Task<void> take_snapshots(block::Graph& graph);
  async::Task<bool> take_one_snapshot(block::Graph& graph);
  // Where there is no layer that was judged before, they do nothing.
  async::Task<bool> revert_once(block::Graph& graph);
  async::Task<bool> fork_once(block::Graph& graph);
  std::optional<size_t> draw_judged_layer();
  std::string new_image_path();
  void judge_failed_snapshot(const std::string& overlay_path);

  // On the device's loop.
  async::Task<void> run_clients();
  async::Task<void> run_client(uint32_t client);
  async::Task<void> change(Request request);
  async::Task<void> read(uint64_t first_sector, uint64_t sectors);
  async::Task<void> flush();
  void draw_range(uint64_t& first_sector, uint64_t& sectors);

  // No more to do: the machine is gone, or the test has failed.
  bool over() const { return !process_.alive() || world_.failure; }
  // An error of a machine that lives, and that nothing was done to, is a failure of the test.
  template <typename T>
  bool good(const base::Result<T>& result, const char* what) {
    if (result) return process_.alive();
    if (process_.alive() && world_.faults_injected == 0)
      world_.fail(std::string(what) + ": " + result.error().text());
    return false;
  }

  World& world_;
  async::SimProcess& process_;
  SimStateStore state_;
  Merges merges_;
  block::Root root_;
  uint64_t reverts_ = 0;  // begun and ended
  bool clients_done_ = false;
  bool closed_in_order_ = false;
};

}  // namespace firn::sim
