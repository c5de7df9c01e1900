#include "tests/tools/run.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <limits>
#include <memory>
#include <random>
#include <thread>

#include "tests/tools/nbd_connection.h"
#include "tests/tools/qmp_client.h"
#include "tests/tools/stamp.h"

namespace firn::tests {
namespace {

using base::Error;
using base::ErrorKind;
using base::fail;
using base::Result;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

// Below this many blocks at a region's start lie a quarter of its writes, so that blocks are
// overwritten often.
constexpr uint64_t kHotBlocks = 256;
constexpr milliseconds kReplyTimeout{60'000};
constexpr milliseconds kDrainTimeout{60'000};

// What all threads of a run share.
struct Shared {
  uint64_t draw_order() { return order.fetch_add(1) + 1; }
  uint64_t now_ns() const { return static_cast<uint64_t>((steady_clock::now() - start).count()); }

  std::atomic<uint64_t> order{0};
  std::atomic<bool> stop{false};
  const steady_clock::time_point start = steady_clock::now();
};

// One connection, which keeps `depth` writes in flight to blocks of its own.
class Writer {
 public:
  Writer(Shared& shared, NbdConnection connection, const RunOptions& options, uint64_t run_id,
         uint32_t index, uint64_t block_count, uint64_t first_block_on_disk)
      : shared_(shared),
        connection_(std::move(connection)),
        region_offset_bytes_(options.region_offset_bytes),
        flush_every_(options.flush_every),
        run_id_(run_id),
        index_(index),
        first_block_(index * block_count),
        first_block_on_disk_(first_block_on_disk),
        random_(options.seed * 1000 + index),
        busy_(block_count),
        slots_(options.depth) {
    for (Slot& slot : slots_) {
      slot.writer = this;
      slot.buffer.resize(kBlockBytes);
      free_.push_back(&slot);
    }
  }

  // The body of the writer's thread.
  void run() {
    while (!shared_.stop && !error_) {
      while (!free_.empty() && !error_) send();
      poll(milliseconds(100));
    }
    auto deadline = steady_clock::now() + kDrainTimeout;
    while (!error_ && nbd_aio_in_flight(connection_.handle()) > 0) {
      if (steady_clock::now() > deadline) {
        set_error(Error(ErrorKind::kTimedOut, "requests are still without a reply"));
      }
      poll(milliseconds(100));
    }
    if (!error_) {
      if (auto flushed = connection_.flush(); !flushed) set_error(flushed.error());
    }
    if (!error_) connection_.shut_down();
  }

  std::deque<Write> take_writes() { return std::move(writes_); }
  uint64_t flush_sent() const { return flush_sent_; }
  const std::optional<Error>& error() const { return error_; }

 private:
  struct Slot {
    Writer* writer = nullptr;
    Write* write = nullptr;
    std::vector<std::byte> buffer;
  };

  void set_error(Error error) {
    if (!error_) error_ = std::move(error).with_context(fmt::format("connection {}", index_));
    shared_.stop = true;
  }

  void poll(milliseconds timeout) {
    if (error_) return;
    if (nbd_poll(connection_.handle(), static_cast<int>(timeout.count())) < 0) {
      set_error(nbd_error("poll"));
    }
  }

  uint64_t pick_block() {
    for (;;) {
      uint64_t range = random_() % 4 == 0 ? std::min(kHotBlocks, busy_.size()) : busy_.size();
      uint64_t block = random_() % range;
      if (!busy_[block]) return block;
    }
  }

  uint64_t offset_of(uint64_t block) const {
    return region_offset_bytes_ + (block - first_block_ + first_block_on_disk_) * kBlockBytes;
  }

  void send() {
    if (flush_every_ != 0 && writes_.size() % flush_every_ == flush_every_ - 1 &&
        flush_in_flight_ == 0 && nbd_can_flush(connection_.handle()) == 1) {
      flush_in_flight_ = shared_.draw_order();
      if (nbd_aio_flush(connection_.handle(), {.callback = flushed, .user_data = this}, 0) < 0) {
        return set_error(nbd_error("flush"));
      }
    }
    Slot& slot = *free_.back();
    free_.pop_back();
    uint64_t own_block = pick_block();
    busy_[own_block] = true;
    uint64_t block = first_block_ + own_block;
    write_stamp(slot.buffer, {.run_id = run_id_,
                              .block = block,
                              .writer = index_,
                              .sequence = static_cast<uint32_t>(writes_.size())});
    slot.write = &writes_.emplace_back(Write{.block = block});
    slot.write->sent_ns = shared_.now_ns();
    slot.write->sent = shared_.draw_order();
    uint64_t offset_bytes = offset_of(block);
    if (nbd_aio_pwrite(connection_.handle(), slot.buffer.data(), kBlockBytes, offset_bytes,
                       {.callback = written, .user_data = &slot, .free = nullptr}, 0) < 0) {
      set_error(nbd_error(fmt::format("write at {}", offset_bytes)));
    }
  }

  // libnbd calls these from poll(). 1 says: forget the command.
  static int written(void* user_data, int* error) {
    Slot& slot = *static_cast<Slot*>(user_data);
    Writer& writer = *slot.writer;
    if (*error != 0) {
      uint64_t offset_bytes = writer.offset_of(slot.write->block);
      writer.set_error(Error::from_errno(*error, fmt::format("write at {}", offset_bytes)));
      return 1;
    }
    slot.write->acked = writer.shared_.draw_order();
    slot.write->acked_ns = writer.shared_.now_ns();
    writer.busy_[slot.write->block - writer.first_block_] = false;
    writer.free_.push_back(&slot);
    return 1;
  }

  static int flushed(void* user_data, int* error) {
    Writer& writer = *static_cast<Writer*>(user_data);
    if (*error != 0) {
      writer.set_error(Error::from_errno(*error, "flush"));
    } else {
      writer.flush_sent_ = writer.flush_in_flight_;
    }
    writer.flush_in_flight_ = 0;
    return 1;
  }

  Shared& shared_;
  NbdConnection connection_;
  const uint64_t region_offset_bytes_;
  const uint32_t flush_every_;
  const uint64_t run_id_;
  const uint32_t index_;
  const uint64_t first_block_;
  const uint64_t first_block_on_disk_;
  std::mt19937_64 random_;
  std::vector<bool> busy_;
  std::vector<Slot> slots_;
  std::vector<Slot*> free_;
  std::deque<Write> writes_;      // a deque: replies hold pointers into it
  uint64_t flush_in_flight_ = 0;  // order at which it went out; 0: none
  uint64_t flush_sent_ = 0;       // as History's
  std::optional<Error> error_;
};

// Sleeps, but ends when a writer gives up.
Result<> wait(const Shared& shared, QmpClient* qmp, milliseconds duration) {
  auto deadline = steady_clock::now() + duration;
  while (!shared.stop && steady_clock::now() < deadline) {
    milliseconds step(20);
    if (qmp) {
      TRY(qmp->collect_events(step));
    } else {
      std::this_thread::sleep_for(step);
    }
  }
  return {};
}

Result<> take_snapshots(const RunOptions& options, Shared& shared, QmpClient* qmp,
                        RunReport& report) {
  TRY(wait(shared, qmp, options.interval));
  for (const std::string& command : options.snapshot_commands) {
    if (shared.stop) break;
    qmp->take_events();
    Window window;
    window.sent_ns = shared.now_ns();
    window.sent = shared.draw_order();
    std::string reply = TRY(qmp->execute(command, kReplyTimeout));
    window.replied = shared.draw_order();
    window.replied_ns = shared.now_ns();
    report.history.snapshots.push_back(window);
    TRY(wait(shared, qmp, options.interval));
    report.snapshots.push_back({.reply = std::move(reply), .events = qmp->take_events()});
  }
  return {};
}

void measure(RunReport& report) {
  const auto& windows = report.history.snapshots;
  for (const auto& writes : report.history.writers) {
    for (const Write& write : writes) {
      if (write.acked == 0) continue;
      double latency_ms = static_cast<double>(write.acked_ns - write.sent_ns) / 1e6;
      bool inside = false;
      for (size_t i = 0; i < report.snapshots.size(); ++i) {
        if (write.acked_ns < windows[i].sent_ns || write.sent_ns > windows[i].replied_ns) continue;
        inside = true;
        SnapshotOutcome& outcome = report.snapshots[i];
        outcome.worst_write_ms = std::max(outcome.worst_write_ms, latency_ms);
        ++outcome.write_count;
      }
      if (!inside) {
        report.worst_write_ms_outside = std::max(report.worst_write_ms_outside, latency_ms);
      }
    }
  }
}

}  // namespace

namespace {

// What is durable on each disk; a flush says nothing of other disks.
uint64_t flushed_everywhere(const std::vector<std::unique_ptr<Writer>>& writers,
                            size_t connections) {
  uint64_t everywhere = std::numeric_limits<uint64_t>::max();
  for (size_t first = 0; first < writers.size(); first += connections) {
    uint64_t here = 0;
    for (size_t i = 0; i < connections; ++i) {
      here = std::max(here, writers[first + i]->flush_sent());
    }
    everywhere = std::min(everywhere, here);
  }
  return everywhere;
}

}  // namespace

Result<RunReport> run(const RunOptions& options) {
  std::vector<NbdConnection> connections;
  uint64_t disk_bytes = std::numeric_limits<uint64_t>::max();
  for (const std::string& uri : options.uris) {
    for (uint32_t i = 0; i < options.connections; ++i) {
      connections.push_back(TRY(NbdConnection::connect(uri)));
    }
    disk_bytes = std::min(disk_bytes, TRY(connections.back().size_bytes()));
  }
  uint64_t region_bytes = options.region_bytes;
  if (region_bytes == 0 && disk_bytes > options.region_offset_bytes) {
    region_bytes = disk_bytes - options.region_offset_bytes;
  }
  uint64_t blocks_each = region_bytes / kBlockBytes / options.connections;
  if (options.region_offset_bytes + region_bytes > disk_bytes || blocks_each <= options.depth) {
    return fail(ErrorKind::kInvalidArgument,
                fmt::format("a region of {} bytes at {} of a disk of {} bytes is too small for {} "
                            "connections with {} writes in flight each, or ends behind the disk",
                            region_bytes, options.region_offset_bytes, disk_bytes,
                            options.connections, options.depth));
  }
  std::optional<QmpClient> qmp;
  if (!options.qmp_socket_path.empty())
    qmp.emplace(TRY(QmpClient::connect(options.qmp_socket_path)));

  Shared shared;
  RunReport report;
  report.history.run_id = std::random_device{}() | uint64_t{std::random_device{}()} << 32;
  report.history.region_offset_bytes = options.region_offset_bytes;
  report.history.block_count = blocks_each * connections.size();

  std::vector<std::unique_ptr<Writer>> writers;
  for (uint32_t i = 0; i < connections.size(); ++i) {
    writers.push_back(std::make_unique<Writer>(shared, std::move(connections[i]), options,
                                               report.history.run_id, i, blocks_each,
                                               i % options.connections * blocks_each));
  }
  std::vector<std::thread> threads;
  for (auto& writer : writers) threads.emplace_back([&writer] { writer->run(); });
  auto taken = take_snapshots(options, shared, qmp ? &*qmp : nullptr, report);
  report.seconds = static_cast<double>(shared.now_ns()) / 1e9;
  shared.stop = true;
  for (auto& thread : threads) thread.join();

  report.history.flush_sent = flushed_everywhere(writers, options.connections);
  for (auto& writer : writers) {
    if (writer->error() && !report.error) report.error = writer->error();
    report.history.writers.push_back(writer->take_writes());
  }
  if (!taken && !report.error) report.error = taken.error();
  measure(report);
  return report;
}

}  // namespace firn::tests
