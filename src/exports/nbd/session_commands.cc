// What a session does for each command.
#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "base/bytes.h"
#include "exports/nbd/nbd_error.h"
#include "exports/nbd/session.h"

namespace firn::nbd {
namespace {

// Shorter reads are sent as data without a look at what they hold: the look costs more than the
// zeroes.
constexpr uint32_t kSparseReadBytes = 64 << 10;
// A hole below this, or one after so many chunks, is sent as data.
constexpr uint64_t kMinHoleBytes = 4096;
constexpr size_t kMaxReadRuns = 32;
// How far a look goes, so that a sequential reader looks once for many reads.
constexpr uint64_t kLookAheadBytes = uint64_t{64} << 20;

constexpr size_t kMaxExtents = 2048;  // of one context in one reply

bool is_zero_run(const block::Root::ChainRun& found) {
  return found.run.kind != block::RunKind::kData;
}

// The extents of one context, as they are found.
class ExtentList {
 public:
  explicit ExtentList(size_t limit) : limit_(limit) {}

  // False once the list is full: this run and what follows it are left out.
  bool add(uint64_t length, uint32_t flags) {
    if (full_) return false;
    if (!extents_.empty() && extents_.back().flags == flags) {
      extents_.back().length += static_cast<uint32_t>(length);
      return true;
    }
    if (extents_.size() == limit_) {
      full_ = true;
      return false;
    }
    extents_.push_back({static_cast<uint32_t>(length), flags});
    return true;
  }
  const std::vector<Extent>& extents() const { return extents_; }

 private:
  size_t limit_;
  bool full_ = false;
  std::vector<Extent> extents_;
};

}  // namespace

async::Task<void> Session::serve(Exchange& exchange) {
  switch (exchange.request.command) {
    case Command::kRead:
      return wants_sparse(exchange.request) ? serve_sparse_read(exchange) : serve_read(exchange);
    case Command::kWrite:
      return serve_write(exchange);
    case Command::kFlush:
      return serve_flush(exchange);
    case Command::kTrim:
      return serve_trim(exchange);
    case Command::kCache:
      return serve_cache(exchange);
    case Command::kWriteZeroes:
      return serve_write_zeroes(exchange);
    case Command::kBlockStatus:
      return serve_block_status(exchange);
    case Command::kDisconnect:
      break;
  }
  CHECK(false);  // check_request() lets no other through
}

block::Flags Session::write_flags(const Exchange& exchange) const {
  const bool durable = writethrough_ || (exchange.request.flags & command_flag::kFua) != 0;
  return durable ? block::flag::kFua : block::flag::kNone;
}

bool Session::wants_sparse(const RequestHeader& request) const {
  if (!agreement_.structured_replies || (request.flags & command_flag::kDf) != 0) return false;
  if (request.length < kSparseReadBytes) return false;
  return request.offset < known_data_begin_ || request.offset + request.length > known_data_end_;
}

async::Task<void> Session::serve_read(Exchange& exchange) {
  const RequestHeader& request = exchange.request;
  const async::IoVec iov(exchange.data.data(), request.length);
  const base::Result<> result = co_await root_.read(request.offset, iov);
  if (!result) {
    reply_done(exchange, result);
    co_return;
  }
  if (!agreement_.structured_replies) {
    exchange.simple_with_data();
  } else if (request.length == 0) {
    exchange.none_chunk();
  } else {
    exchange.data_chunk(0, request.length, true);
  }
  reply(exchange);
}

// Data where there is data, holes where there are zeroes. Nothing is put into the reply before all
// of it has been read, so that an error comes alone.
async::Task<void> Session::serve_sparse_read(Exchange& exchange) {
  struct DataRun {
    bool data;
    uint32_t offset;
    uint32_t length;
  };
  const RequestHeader request = exchange.request;
  std::array<DataRun, kMaxReadRuns> runs;
  size_t count = 0;
  uint32_t done = 0;
  while (done < request.length) {
    const uint32_t left = request.length - done;
    const uint64_t at = request.offset + done;
    DataRun run{.data = true, .offset = done, .length = left};
    const uint64_t size = std::min(agreement_.size_bytes, root_.size_bytes());
    if (count + 1 < kMaxReadRuns && at + left <= size) {
      const auto found = co_await root_.status(at, std::min(size - at, kLookAheadBytes));
      if (!found) {
        reply_done(exchange, base::fail(found.error()));
        co_return;
      }
      const uint64_t length = found->run.length_bytes;
      run.length = static_cast<uint32_t>(std::min<uint64_t>(left, length));
      run.data = !is_zero_run(*found) || (run.length < kMinHoleBytes && run.length < left);
      if (!is_zero_run(*found)) {
        known_data_begin_ = at;
        known_data_end_ = at + length;
      }
    }
    if (count != 0 && runs[count - 1].data == run.data) {
      runs[count - 1].length += run.length;
    } else {
      runs[count++] = run;
    }
    done += run.length;
  }
  for (const DataRun& run : std::span(runs).first(count)) {
    if (!run.data) continue;
    const async::IoVec iov(exchange.data.data() + run.offset, run.length);
    const base::Result<> result = co_await root_.read(request.offset + run.offset, iov);
    if (!result) {
      reply_done(exchange, result);
      co_return;
    }
  }
  for (size_t i = 0; i < count; ++i) {
    const bool last = i + 1 == count;
    if (runs[i].data) {
      exchange.data_chunk(runs[i].offset, runs[i].length, last);
    } else {
      exchange.hole_chunk(runs[i].offset, runs[i].length, last);
    }
  }
  reply(exchange);
}

async::Task<void> Session::serve_write(Exchange& exchange) {
  const RequestHeader& request = exchange.request;
  const async::IoVec iov(exchange.data.data(), request.length);
  reply_done(exchange, co_await root_.write(request.offset, iov, write_flags(exchange)));
}

async::Task<void> Session::serve_flush(Exchange& exchange) {
  reply_done(exchange, co_await root_.flush());
}

async::Task<void> Session::serve_trim(Exchange& exchange) {
  const RequestHeader& request = exchange.request;
  reply_done(exchange,
             co_await root_.discard(request.offset, request.length, write_flags(exchange)));
}

async::Task<void> Session::serve_write_zeroes(Exchange& exchange) {
  const RequestHeader& request = exchange.request;
  block::Flags flags = write_flags(exchange);
  if ((request.flags & command_flag::kNoHole) == 0) flags |= block::flag::kMayUnmap;
  if ((request.flags & command_flag::kFastZero) != 0) flags |= block::flag::kNoFallback;
  reply_done(exchange, co_await root_.write_zeroes(request.offset, request.length, flags));
}

// Reads the range and forgets it: what lies below keeps it where it has a cache.
async::Task<void> Session::serve_cache(Exchange& exchange) {
  const RequestHeader& request = exchange.request;
  base::Result<> result;
  if (request.length != 0) {
    const uint64_t step = exchange.held_bytes;
    for (uint64_t done = 0; done < request.length && result; done += step) {
      const async::IoVec iov(exchange.data.data(), std::min(step, request.length - done));
      result = co_await root_.read(request.offset + done, iov);
    }
  }
  reply_done(exchange, result);
}

async::Task<void> Session::serve_block_status(Exchange& exchange) {
  const RequestHeader& request = exchange.request;
  const size_t limit = (request.flags & command_flag::kReqOne) != 0 ? 1 : kMaxExtents;
  ExtentList allocation(limit);
  ExtentList depths(limit);
  uint64_t done = 0;
  while (done < request.length) {
    const auto found = co_await root_.status(request.offset + done, request.length - done);
    if (!found) {
      reply_done(exchange, base::fail(found.error()));
      co_return;
    }
    const uint64_t length = found->run.length_bytes;
    const uint32_t flags =
        is_zero_run(*found) ? allocation_flag::kHole | allocation_flag::kZero : 0;
    const uint32_t depth =
        found->run.kind == block::RunKind::kUnallocated ? 0 : static_cast<uint32_t>(found->depth);
    const bool more_allocation = agreement_.base_allocation && allocation.add(length, flags);
    const bool more_depths = agreement_.allocation_depth && depths.add(length, depth);
    if (!more_allocation && !more_depths) break;
    done += length;
    if (loop_.turn_is_over()) co_await loop_.yield();
  }
  if (agreement_.base_allocation) {
    exchange.status_chunk(kBaseAllocationId, allocation.extents(), !agreement_.allocation_depth);
  }
  if (agreement_.allocation_depth) {
    exchange.status_chunk(kAllocationDepthId, depths.extents(), true);
  }
  reply(exchange);
}

}  // namespace firn::nbd
