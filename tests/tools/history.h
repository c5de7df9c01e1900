// What a run of the prefix checker did, in one order that all its threads share.
//
// An order is a number drawn from one counter: before a request goes out, after its reply came. So
// if order a < order b, then what a stands for ended before what b stands for began.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "base/result.h"

namespace firn::tests {

// One write of one block. Its sequence number is its place in its writer's list.
struct Write {
  uint64_t block = 0;
  uint64_t sent = 0;     // order, drawn before the request went out
  uint64_t acked = 0;    // order, drawn after the reply came; 0 if none came
  uint64_t sent_ns = 0;  // on the steady clock, from the start of the run
  uint64_t acked_ns = 0;
};

// A snapshot's command, from just before it was sent to just after its reply.
struct Window {
  uint64_t sent = 0;
  uint64_t replied = 0;
  uint64_t sent_ns = 0;
  uint64_t replied_ns = 0;
  bool ordered = true;  // rule 3 holds (prefix_rule.h)
  // The power went: a block whose last writes were not flushed may be a mixture of them.
  bool may_be_torn = false;
};

struct History {
  uint64_t run_id = 0;
  uint64_t region_offset_bytes = 0;  // of block 0 on the disk
  uint64_t block_count = 0;
  // By writer. A block belongs to one writer, and has at most one write in flight.
  std::vector<std::deque<Write>> writers;
  std::vector<Window> snapshots;
  // The latest order at which a flush went out that was acknowledged later; 0 if none was. What was
  // acknowledged before it survives a crash.
  uint64_t flush_sent = 0;

  // A binary file for this machine alone. Errors name the path.
  base::Result<> save(const std::string& path) const;
  static base::Result<History> load(const std::string& path);

  // The window that stands for the end of the run: all that was acknowledged must be there.
  Window end_window() const;

  // The window that stands for a crash of the daemon, or for a power cut: all that was flushed must
  // be there, and of the rest anything may be.
  Window crash_window() const;
  Window cut_window() const;
};

}  // namespace firn::tests
