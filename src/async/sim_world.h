// SimWorld: a whole world in one thread: processes with their loops, disks that lose power, a
// network; all of it decided by one seed.
//
// Every loop of every process takes turns on the calling thread. Nothing happens by itself: a turn,
// a timer, a file operation's effect and its completion, a worker's job, a piece of a byte stream
// that arrives, each is an event at a moment of virtual time, which the seed draws. The clock jumps
// from event to event, so hours of waiting cost nothing, and a run by the same seed and the same
// program is the same run, event by event (trace_hash() says so).
//
//   SimWorld world(seed);
//   base::Result<> ran = world.run(test(world));   // an error: deadlock, or out of steps
//
// `test` runs on the loop of the observer, a process outside of the machine under test: it starts
// processes, cuts their power, and starts others.
//
// A process that is killed, or that loses power. A suspended coroutine can't be destroyed, since
// an operation in flight may hold its frame. So a dead process goes on running as a ghost, cut off
// from the world: its file operations and names fail with ESHUTDOWN and touch no disk, its locks
// are gone, its connections are reset and new ones refused, while timers, posts and workers go on.
// Its tasks meet those errors, end, and are joined as ever; its memory comes back, and
// LeakSanitizer stays useful. A ghost that does not end is a deadlock and is reported: code
// that can't end when its disk is gone has a bug. What a ghost reports to an oracle must be
// ignored: look at alive() before an answer counts as acknowledged.
#pragma once

#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "async/loop.h"
#include "async/runtime.h"
#include "async/sim_event.h"
#include "async/sim_random.h"
#include "async/socket.h"
#include "base/result.h"

namespace firn::async {

class SimDisk;
class SimFileSystem;
class SimLoop;
class SimNetwork;
class SimWorld;
struct SimDiskOptions;

struct SimOptions {
  SimDelay turn;     // from the moment that a loop has something to do to its turn
  SimDelay post;     // until a post arrives at another loop
  SimDelay timer;    // how late a timer is
  SimDelay io;       // a read, a write
  SimDelay sync;     // fsync
  SimDelay worker;   // a job for a worker thread; names and directories
  SimDelay network;  // a piece of a stream on its way
  double inline_io_probability = 0.06;   // a read or write that completes at once
  double split_write_probability = 0.2;  // a write that reaches its file in two parts
  double turn_over_probability = 0.1;    // an answer of turn_is_over()
  double disconnect_probability = 0;     // of a connection, for each piece that arrives
  uint64_t most_steps = 50'000'000;      // of one run()
  Duration most_time = std::chrono::hours(24);

  // Delays of a machine with a fast disk.
  static SimOptions usual();
  // Another world for each seed: slow and fast disks, long and short turns, and so on.
  static SimOptions varied(uint64_t seed);
};

// What an event was, in traces.
enum class SimTrace : uint8_t {
  kTurn,
  kTimer,
  kWorker,
  kFileStart,
  kFileEffect,
  kFileDone,
  kName,
  kPowerCut,
  kKill,
  kConnect,
  kDeliver,
};

// A process: loops, open files, connections. As a Runtime it is what a daemon's main() would get.
class SimProcess final : public Runtime {
 public:
  ~SimProcess() override;  // nothing of it may run any more

  const std::string& name() const { return name_; }
  SimWorld& world() { return world_; }
  SimDisk& disk() { return disk_; }

  base::Result<Loop*> add_loop(std::string name) override;
  void remove_loop(Loop* loop) override;
  Loop& control_loop() override;
  // Runs the whole world until stop() is called. A deadlock aborts, since there is nobody to tell:
  // tests that expect one use SimWorld::run.
  void run() override;
  void stop() override { stopped_ = true; }

  // Runs `main` on the control loop; once per process.
  void start(Task<void> main);
  // True once `main` has ended.
  bool ended() const { return ended_; }
  // Waits for that, on any loop of the world.
  Task<void> wait_ended();

  // SIGKILL: the process is a ghost from here on. What it wrote stays in the page cache of its
  // disk's machine; of operations in flight, some happen.
  void kill();
  bool alive() const { return alive_; }

  // What peers of a unix socket see.
  PeerCredentials credentials{.pid = 0, .uid = 0, .gid = 0};
  // Where relative paths begin.
  std::string working_directory = "/";

  size_t open_files() const { return open_files_; }

 private:
  friend class SimWorld;
  friend class SimDisk;
  friend class SimFile;
  friend class SimLoop;
  SimProcess(SimWorld& world, SimDisk& disk, std::string name);
  void die();  // power is gone: kill() without what the disk does then

  SimWorld& world_;
  SimDisk& disk_;
  std::string name_;
  std::unique_ptr<SimFileSystem> files_;
  std::vector<std::unique_ptr<SimLoop>> loops_;  // the control loop first
  struct Waiter {
    SimLoop* loop;
    std::coroutine_handle<> handle;
  };
  std::vector<Waiter> end_waiters_;
  size_t open_files_ = 0;
  bool alive_ = true;
  bool started_ = false;
  bool ended_ = false;
  bool stopped_ = false;
};

class SimWorld {
 public:
  explicit SimWorld(uint64_t seed, SimOptions options = SimOptions::usual());
  ~SimWorld();
  SimWorld(const SimWorld&) = delete;
  SimWorld& operator=(const SimWorld&) = delete;

  uint64_t seed() const { return seed_; }
  const SimOptions& options() const { return options_; }
  SimRandom& random() { return random_; }
  TimePoint now() const { return now_; }

  // The first disk, which the observer uses too, and further ones.
  SimDisk& disk() { return *disks_.front(); }
  SimDisk& add_disk(const SimDiskOptions& options);

  // The process that tests run in. It survives every power cut; its open files do not.
  SimProcess& observer() { return *processes_.front(); }
  // A new process, on a machine whose store is `disk`.
  SimProcess& add_process(std::string name, SimDisk& disk);
  SimProcess& add_process(std::string name) { return add_process(std::move(name), disk()); }

  SimNetwork& network() { return *network_; }

  // Runs `main` on the observer's control loop, and everything else with it, until `main` has
  // ended. An error says how the world got stuck: a deadlock (nothing is scheduled, `main` is not
  // done), too many steps, too much virtual time. The frames that are stuck stay as they are, and
  // with them, on purpose, the memory of this world: they refer to it.
  base::Result<> run(Task<void> main);
  // The next event. False if there is none.
  bool step();

  // Events so far, and a hash over all of them: equal for equal runs.
  uint64_t steps() const { return steps_; }
  uint64_t trace_hash() const { return trace_hash_; }
  // Prints every event to `out` from now on; null ends it.
  void trace_to(FILE* out) { trace_out_ = out; }

  // For the parts of a simulation. --------------------------------------------------------------
  void schedule(SimEvent& event, Duration delay) { schedule_at(event, now_ + delay); }
  void schedule_at(SimEvent& event, TimePoint at) {
    queue_.schedule(event, at < now_ ? now_ : at, static_cast<uint32_t>(random_.next()));
  }
  void cancel(SimEvent& event) { queue_.cancel(event); }
  void note(SimTrace what, uint64_t a = 0, uint64_t b = 0, uint64_t c = 0);
  uint32_t next_id() { return ++last_id_; }
  // What is stuck, for people.
  std::string describe() const;

 private:
  friend class SimDisk;
  friend class SimProcess;
  void processes_lose_power(SimDisk& disk);
  base::Result<> run_until(const bool& done);
  friend class SimNetwork;

  uint64_t seed_;
  SimOptions options_;
  SimRandom random_;
  TimePoint now_{Duration{0}};
  SimEventQueue queue_;
  uint64_t steps_ = 0;
  uint64_t trace_hash_ = 0;
  uint32_t last_id_ = 0;
  bool stuck_ = false;
  FILE* trace_out_ = nullptr;
  std::unique_ptr<SimNetwork> network_;
  std::vector<std::unique_ptr<SimDisk>> disks_;
  std::vector<std::unique_ptr<SimProcess>> processes_;  // the observer first
};

}  // namespace firn::async
