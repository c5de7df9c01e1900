#include "jobs/commit_copy.h"

#include <algorithm>
#include <memory>

#include "base/canary.h"
#include "base/units.h"
#include "block/layers.h"

namespace firn::jobs {

using block::RunKind;

namespace {
constexpr uint64_t kPieceBytes = 512 * base::kKiB;
constexpr uint64_t kZeroBytes = 64 * base::kMiB;
constexpr size_t kPiecesInFlight = 8;
// Of a step that finds little to copy.
constexpr int kMaxRuns = 64;
constexpr uint64_t kMaxScanBytes = uint64_t{1} << 30;
}  // namespace

void CommitCopy::fail(Step& step, Operation operation, base::Error error) {
  if (step.error) return;
  step.error = std::move(error);
  step.failed = operation;
}

Task<Result<>> CommitCopy::copy_data(uint64_t offset, uint64_t length, Step& step) {
  const auto bytes = std::make_unique_for_overwrite<std::byte[]>(length);
  const block::IoVec iov(bytes.get(), length);
  auto read = co_await reader_.read(offset, iov);
  if (!read) {
    fail(step, Operation::kRead, std::move(read).error());
    co_return Result<>();
  }
  co_return co_await writer_.write(offset, iov, block::flag::kNone);
}

// All of one run, which is data or zeroes.
Task<void> CommitCopy::copy_run(block::Run run, uint64_t offset, Step& step) {
  const uint64_t end = offset + run.length_bytes;
  const uint64_t limit = run.kind == RunKind::kZero ? kZeroBytes : kPieceBytes;
  while (offset < end && !step.error) {
    const uint64_t length = std::min(end - offset, limit);
    Result<> done;
    if (run.kind == RunKind::kData) {
      done = co_await copy_data(offset, length, step);
    } else if (!base::canaries.commit_skips_zeroes) {
      done = co_await writer_.write_zeroes(offset, length, block::flag::kMayUnmap);
    }
    if (!done) fail(step, Operation::kWrite, std::move(done).error());
    offset += length;
  }
}

Task<CommitCopy::Step> CommitCopy::copy_from(uint64_t begin, uint64_t budget) {
  Step step;
  async::TaskScope pieces;
  const uint64_t size = top_.driver().size_bytes();
  uint64_t at = begin;
  for (int runs = 0; at < size && step.copied_bytes < budget && runs < kMaxRuns && !step.error;
       ++runs) {
    auto run = co_await block::status_above(top_, base_, at, std::min(size - at, kMaxScanBytes));
    if (!run) {
      fail(step, Operation::kRead, std::move(run).error());
      break;
    }
    if (run->kind != RunKind::kUnallocated) {
      run->length_bytes =
          std::min(run->length_bytes, run->kind == RunKind::kZero ? kZeroBytes : kPieceBytes);
      if (run->kind == RunKind::kData) step.copied_bytes += run->length_bytes;
      if (pieces.running() >= kPiecesInFlight) co_await pieces.join();
      pieces.spawn(copy_run(*run, at, step));
    }
    at += run->length_bytes;
  }
  co_await pieces.join();
  step.end = at;
  co_return step;
}

// A marked range, run by run; one that nobody holds any more was never in the layers.
Task<void> CommitCopy::copy_range(block::DirtyMap::Range range, Step& step,
                                  block::DirtyTracker& tracker) {
  Step own;
  const uint64_t end = range.offset + range.length;
  for (uint64_t at = range.offset; at < end && !own.error;) {
    auto run = co_await block::status_above(top_, base_, at, end - at);
    if (!run) {
      fail(own, Operation::kRead, std::move(run).error());
      break;
    }
    if (run->kind != RunKind::kUnallocated) co_await copy_run(*run, at, own);
    at += run->length_bytes;
  }
  if (!own.error) co_return;
  tracker.put_back(range);
  fail(step, own.failed, std::move(*own.error));
}

Task<CommitCopy::Step> CommitCopy::copy_dirty(block::DirtyTracker& tracker, uint64_t budget) {
  Step step;
  async::TaskScope pieces;
  while (step.copied_bytes < budget && !step.error) {
    const auto range = tracker.take(kPieceBytes);
    if (!range) break;
    step.copied_bytes += range->length;
    if (pieces.running() >= kPiecesInFlight) co_await pieces.join();
    pieces.spawn(copy_range(*range, step, tracker));
  }
  co_await pieces.join();
  co_return step;
}

Task<CommitCopy::Step> CommitCopy::mark_held(block::DirtyTracker& tracker, uint64_t begin) {
  Step step;
  const uint64_t size = top_.driver().size_bytes();
  uint64_t at = begin;
  for (int runs = 0; at < size && runs < kMaxRuns; ++runs) {
    auto run = co_await block::status_above(top_, base_, at, std::min(size - at, kMaxScanBytes));
    if (!run) {
      fail(step, Operation::kRead, std::move(run).error());
      break;
    }
    if (run->kind != RunKind::kUnallocated) tracker.map().mark(at, run->length_bytes);
    at += run->length_bytes;
  }
  step.end = at;
  co_return step;
}

Task<Result<>> CommitCopy::zero(uint64_t begin, uint64_t end) {
  while (begin < end) {
    const uint64_t length = std::min(end - begin, kZeroBytes);
    CO_TRY(co_await writer_.write_zeroes(begin, length, block::flag::kMayUnmap));
    begin += length;
  }
  co_return Result<>();
}

}  // namespace firn::jobs
