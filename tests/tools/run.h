// Writes at full speed over several NBD connections, takes snapshots by QMP meanwhile, and keeps
// the history.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "tests/tools/history.h"

namespace firn::tests {

struct RunOptions {
  // Of the exports, one for each disk. Blocks are numbered through all disks, disk after disk.
  std::vector<std::string> uris;
  std::string qmp_socket_path;                 // needed where there are snapshots
  std::vector<std::string> snapshot_commands;  // QMP commands, one JSON object each
  std::chrono::milliseconds interval{2000};    // before, between and after the snapshots
  uint64_t region_offset_bytes = 0;            // on each disk; a multiple of kBlockBytes
  uint64_t region_bytes = 0;                   // likewise; 0: up to the smallest disk's end
  uint32_t connections = 4;                    // to each disk
  uint32_t depth = 16;                         // writes in flight on each connection
  uint32_t flush_every = 500;  // each connection flushes once in so many writes; 0: at the end only
  uint64_t seed = 1;
};

struct SnapshotOutcome {
  std::string reply;                // the line of QMP
  std::vector<std::string> events;  // lines that came from the command until the next
  double worst_write_ms = 0;        // of the writes in flight at some moment of the command
  uint64_t write_count = 0;         // how many those were
};

struct RunReport {
  History history;
  std::vector<SnapshotOutcome> snapshots;
  double seconds = 0;
  double worst_write_ms_outside = 0;  // of the writes that no snapshot's command overlaps
  std::optional<base::Error> error;   // what ended the run early
};

// Runs to the end of the last interval and for all replies. An error of a client or of QMP (not of
// a command) ends the run early and is in the report; the Result fails only where nothing began.
base::Result<RunReport> run(const RunOptions& options);

}  // namespace firn::tests
