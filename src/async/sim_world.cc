#include "async/sim_world.h"

#include <fmt/format.h>

#include <array>
#include <cstdlib>
#include <utility>

#include "async/sim_disk.h"
#include "async/sim_file.h"
#include "async/sim_loop.h"
#include "async/sim_network.h"
#include "base/check.h"
#include "base/log.h"

namespace firn::async {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr std::array<const char*, 11> kTraceNames{
    "turn", "timer",     "worker", "file start", "file effect", "file done",
    "name", "power cut", "kill",   "connect",    "deliver"};

}  // namespace

SimOptions SimOptions::usual() {
  SimOptions options;
  options.turn = {Duration{0}, microseconds(3), microseconds(100), 0.02};
  options.post = {Duration{0}, microseconds(5), microseconds(200), 0.02};
  options.timer = {Duration{0}, microseconds(50), milliseconds(2), 0.02};
  options.io = {microseconds(2), microseconds(100), milliseconds(5), 0.02};
  options.sync = {microseconds(50), milliseconds(1), milliseconds(50), 0.05};
  options.worker = {microseconds(5), microseconds(50), milliseconds(2), 0.02};
  options.network = {microseconds(2), microseconds(30), milliseconds(1), 0.02};
  return options;
}

SimOptions SimOptions::varied(uint64_t seed) {
  SimRandom random(sim_mix(seed));
  SimOptions options = usual();
  for (SimDelay* delay : {&options.turn, &options.post, &options.timer, &options.io, &options.sync,
                          &options.worker, &options.network}) {
    // Never nothing at all: whoever waits in a loop has to get ahead.
    constexpr std::array<int, 6> kQuarters{1, 4, 4, 4, 16, 80};
    const int quarters = kQuarters[random.below(kQuarters.size())];
    delay->least = delay->least * quarters / 4;
    delay->usual = delay->usual * quarters / 4;
    constexpr std::array<double, 4> kSlow{0, 0.01, 0.05, 0.3};
    delay->slow_probability = kSlow[random.below(kSlow.size())];
  }
  constexpr std::array<double, 4> kInline{0, 0.05, 0.3, 0.9};
  options.inline_io_probability = kInline[random.below(kInline.size())];
  constexpr std::array<double, 3> kSplit{0, 0.2, 0.8};
  options.split_write_probability = kSplit[random.below(kSplit.size())];
  constexpr std::array<double, 3> kTurnOver{0.01, 0.1, 0.5};
  options.turn_over_probability = kTurnOver[random.below(kTurnOver.size())];
  return options;
}

// Processes. --------------------------------------------------------------------------------------

SimProcess::SimProcess(SimWorld& world, SimDisk& disk, std::string name)
    : world_(world), disk_(disk), name_(std::move(name)) {
  files_ = std::make_unique<SimFileSystem>(*this);
  credentials.pid = static_cast<pid_t>(1000 + world.next_id());
  loops_.push_back(std::make_unique<SimLoop>(*this, "control"));
}

SimProcess::~SimProcess() { CHECK(open_files_ == 0); }

Loop& SimProcess::control_loop() { return *loops_.front(); }

base::Result<Loop*> SimProcess::add_loop(std::string name) {
  loops_.push_back(std::make_unique<SimLoop>(*this, std::move(name)));
  return loops_.back().get();
}

void SimProcess::remove_loop(Loop* loop) {
  CHECK(loop != loops_.front().get());
  CHECK(std::erase_if(loops_, [loop](const auto& mine) { return mine.get() == loop; }) == 1);
}

void SimProcess::run() {
  stopped_ = false;
  const auto ran = world_.run_until(stopped_);
  if (!ran) {
    base::log_error(ran.error().text());
    std::abort();
  }
}

void SimProcess::start(Task<void> main) {
  CHECK(!started_);
  started_ = true;
  start_on(control_loop(), std::move(main), [this] {
    ended_ = true;
    for (const Waiter& waiter : std::exchange(end_waiters_, {})) {
      waiter.loop->complete(waiter.handle);
    }
  });
}

Task<void> SimProcess::wait_ended() {
  struct Awaiter {
    SimProcess& process;
    bool await_ready() const noexcept { return process.ended_; }
    void await_suspend(std::coroutine_handle<> handle) const {
      process.end_waiters_.push_back({static_cast<SimLoop*>(&Loop::current()), handle});
    }
    void await_resume() const noexcept {}
  };
  co_await Awaiter{*this};
}

void SimProcess::kill() {
  if (!alive_) return;
  world_.note(SimTrace::kKill, static_cast<uint64_t>(credentials.pid));
  disk_.process_died(*this);
  die();
}

void SimProcess::die() {
  alive_ = false;
  world_.network().process_died(*this);
}

// The world. --------------------------------------------------------------------------------------

SimWorld::SimWorld(uint64_t seed, SimOptions options)
    : seed_(seed),
      options_(options),
      random_(sim_mix(seed ^ 0x6669726e)),
      network_(std::make_unique<SimNetwork>(*this)) {
  add_disk({});
  add_process("observer");
}

SimWorld::~SimWorld() {
  if (!stuck_) return;
  for (auto& process : processes_) static_cast<void>(process.release());
  for (auto& disk : disks_) static_cast<void>(disk.release());
  static_cast<void>(network_.release());
}

SimDisk& SimWorld::add_disk(const SimDiskOptions& options) {
  disks_.push_back(std::make_unique<SimDisk>(*this, options));
  return *disks_.back();
}

SimProcess& SimWorld::add_process(std::string name, SimDisk& disk) {
  processes_.push_back(std::unique_ptr<SimProcess>(new SimProcess(*this, disk, std::move(name))));
  return *processes_.back();
}

void SimWorld::processes_lose_power(SimDisk& disk) {
  for (size_t i = 1; i < processes_.size(); ++i) {
    if (&processes_[i]->disk_ == &disk && processes_[i]->alive_) processes_[i]->die();
  }
}

base::Result<> SimWorld::run(Task<void> main) {
  const auto done = std::make_shared<bool>(false);
  start_on(observer().control_loop(), std::move(main), [done] { *done = true; });
  return run_until(*done);
}

base::Result<> SimWorld::run_until(const bool& done) {
  const uint64_t last_step = steps_ + options_.most_steps;
  const TimePoint last_moment = now_ + options_.most_time;
  stuck_ = true;
  while (!done) {
    const char* what = nullptr;
    if (steps_ >= last_step) {
      what = "too many steps";
    } else if (now_ > last_moment) {
      what = "too much virtual time";
    } else if (!step()) {
      what = "deadlock: nothing is scheduled, and the main task has not ended";
    }
    if (what != nullptr) {
      return base::fail(base::ErrorKind::kTimedOut, fmt::format("{} ({})", what, describe()));
    }
  }
  stuck_ = false;
  return {};
}

bool SimWorld::step() {
  if (queue_.empty()) return false;
  now_ = queue_.next_at();
  ++steps_;
  SimEvent& event = queue_.pop();
  event.run(event);
  return true;
}

void SimWorld::note(SimTrace what, uint64_t a, uint64_t b, uint64_t c) {
  uint64_t hash = trace_hash_;
  for (const uint64_t part : {static_cast<uint64_t>(now_.time_since_epoch().count()),
                              static_cast<uint64_t>(what), a, b, c}) {
    hash = sim_mix(hash ^ part);
  }
  trace_hash_ = hash;
  if (trace_out_ != nullptr) {
    fmt::print(trace_out_, "{:>12} us {:<12} {:#x} {:#x} {:#x}\n",
               std::chrono::duration_cast<microseconds>(now_.time_since_epoch()).count(),
               kTraceNames[static_cast<size_t>(what)], a, b, c);
  }
}

std::string SimWorld::describe() const {
  std::string text =
      fmt::format("seed {}, step {}, {} us", seed_, steps_,
                  std::chrono::duration_cast<microseconds>(now_.time_since_epoch()).count());
  for (const auto& process : processes_) {
    if (process->ended_) continue;
    for (const auto& loop : process->loops_) {
      text += process->alive_ ? "; " : "; ghost ";
      text += loop->describe();
    }
  }
  return text;
}

}  // namespace firn::async
