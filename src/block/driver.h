// Driver: what gives a node its bytes or its meaning. One class per format or protocol implements
// it (src/drivers/*).
//
// A driver is called by its node's users on the node's home loop only, through the checks of
// block::Root and block::Edge: offsets and lengths are aligned to limits().request_alignment,
// lengths are not zero, and mutating calls come only while the node is writable. Ranges lie within
// size_bytes() rounded up to the alignment; only a format that owns its `file` child writes beyond
// its end, which makes the child grow, and reads beyond it, which gives zeroes (protocol drivers do
// both). Calls overlap freely, but for those that Root or Edge serialize to mend their alignment; a
// driver orders what it must. Memory in an IoVec belongs to the caller and stays valid until the
// call completes.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "async/file.h"
#include "async/iovec.h"
#include "async/loop.h"
#include "async/task.h"
#include "base/result.h"
#include "block/io_stats.h"
#include "block/types.h"

namespace firn::block {

using async::IoVec;
using async::Task;
using base::Result;

class Driver {
 public:
  virtual ~Driver() = default;  // after close(), with no call in flight

  // "qcow2", "raw", "file": as in QAPI's BlockdevDriver.
  virtual std::string_view name() const = 0;
  virtual bool is_protocol() const { return false; }
  // True if the node may have a backing child.
  virtual bool supports_backing() const { return false; }

  virtual uint64_t size_bytes() const = 0;
  virtual Limits limits() const = 0;  // constant from opening to closing

  // True if the node's bytes are those of its `file` child (raw without offset or size): the
  // child's permissions are then exactly what the node's users need.
  virtual bool is_transparent() const { return false; }

  // Fills all of `iov`. flag::kStable goes down with every read from a backing or transparent
  // child.
  virtual Task<Result<>> read(uint64_t offset, const IoVec& iov, Flags flags) = 0;
  // flag::kFua, here and in the next two: durable when it completes, by whatever that takes.
  virtual Task<Result<>> write(uint64_t offset, const IoVec& iov, Flags flags) = 0;
  // Reads as zeroes after. kUnsupported with flag::kNoFallback where that is not cheap.
  virtual Task<Result<>> write_zeroes(uint64_t offset, uint64_t length, Flags flags) = 0;
  // The data is not needed any more. What is read after: zeroes for a head without backing or for
  // qcow2 v3; otherwise not defined. Never data from below the image's own writes that was never at
  // that place.
  virtual Task<Result<>> discard(uint64_t offset, uint64_t length, Flags flags) = 0;
  // All that was complete before the call is durable after, metadata included.
  virtual Task<Result<>> flush() = 0;

  // The run that starts at `offset`, `length` at most.
  virtual Task<Result<Run>> status(uint64_t offset, uint64_t length) = 0;

  // Grows with zeroes (or shows what the backing has not: never stale bytes), or shrinks and gives
  // data up. kUnsupported where the driver can't.
  virtual Task<Result<>> resize(uint64_t size_bytes) = 0;

  // From writable to read-only and back. To read-only: everything is flushed and marked clean
  // first; no mutating call is in flight. An error leaves the node as it was.
  virtual Task<Result<>> set_read_only(bool read_only) = 0;

  // True once something written may be lost for good: a flush failed whose report the kernel does
  // not repeat, so that no later flush proves anything. Flushes fail from then on.
  virtual bool has_lost_data() const { return false; }
  // An operator takes that: flushes tell of what happens from here on.
  virtual void accept_loss() {}

  // What the users above do and share has changed: take the image locks that say so (protocol
  // drivers), or pass on what the format needs of its children (format drivers do nothing;
  // block::Graph does it for them). New locks are taken before old ones are given up. Errors:
  // kBusy, QEMU's text (`Failed to get "write" lock`).
  virtual Result<> set_permissions(Permissions /*used*/, Permissions /*shared*/) { return {}; }

  // The home loop changes: no call is in flight, and both loops keep still. After an error the node
  // stays where it was.
  virtual Result<> move_to(async::Loop& loop) = 0;

  // Last call: writes back, marks clean, gives up locks. After an error the driver is closed all
  // the same.
  virtual Task<Result<>> close() = 0;

  // Soon, even if the store does not answer: what was known before then.
  virtual Task<Result<ImageFacts>> facts() = 0;

  // Protocol drivers of files and devices: what they have given back since they were opened.
  virtual DiscardCounts discard_counts() const { return {}; }

  // Protocol drivers: the file's or device's identity, to see whether two nodes are one file; its
  // size and times are those at opening. Asks nobody.
  // kUnsupported: none.
  virtual Task<Result<async::FileStat>> identity() {
    co_return base::fail(base::ErrorKind::kUnsupported, "this driver has no file");
  }
  // The path or URI that opens it again; absolute. Empty where there is none.
  virtual std::string filename() const = 0;

  // Formats with backing: stores another backing name and format in the header (durable after).
  // Empty: none.
  virtual Task<Result<>> set_backing_name(std::string /*filename*/, std::string /*format*/) {
    co_return base::fail(base::ErrorKind::kUnsupported, "this format has no backing file");
  }

  // Internal snapshots: states of the disk that the image keeps inside itself. -------------------
  // The node is writable for all but the listing. One of these runs at a time: who calls them sees
  // to that (a claim on the chain). Errors leave no snapshot and lose nothing; the texts name
  // neither device nor snapshot.

  virtual bool supports_snapshots() const { return false; }
  // In the order of the image's table. No I/O.
  virtual std::vector<InternalSnapshotFacts> snapshots() const { return {}; }

  // A new one comes in three steps, so that a group can share one instant
  // (block/internal_snapshot.h does all three for one disk).
  // 1. Checks what can be checked. From its success on, mutating requests that come wait inside the
  //    driver and none is in flight. Then follows 2 or snapshot_cancel, soon. Gives for how long it
  //    has held requests back so far, in nanoseconds.
  virtual Task<Result<uint64_t>> snapshot_prepare(InternalSnapshotSpec /*spec*/) {
    co_return base::fail(base::ErrorKind::kUnsupported, "this format has no internal snapshots");
  }
  virtual Task<void> snapshot_cancel() { co_return; }
  // 2. The instant: what is in the disk now is in the snapshot. In memory only; no await. Requests
  //    go on afterwards, as copies where the snapshot has the data. 3 follows.
  virtual void snapshot_take() {}
  // 3. Makes it durable, beside the guest's requests. An error: there is no snapshot, and all that
  //    was written to the disk is there.
  virtual Task<Result<InternalSnapshotFacts>> snapshot_store() {
    co_return base::fail(base::ErrorKind::kUnsupported, "this format has no internal snapshots");
  }

  // By id (InternalSnapshotFacts). Durable after; the guest's requests go on meanwhile. kNotFound.
  virtual Task<Result<>> snapshot_delete(std::string /*id*/) {
    co_return base::fail(base::ErrorKind::kUnsupported, "this format has no internal snapshots");
  }
  // The disk's content and size become those of the snapshot, durably; what was there before is
  // given up, unless other snapshots have it. Precondition: no request is in flight, and none comes
  // before it returns. What is freed becomes free later, behind the guest's requests.
  // After kIo it is not known which of the two the image has: close it and open it again.
  virtual Task<Result<>> snapshot_revert(std::string /*id*/) {
    co_return base::fail(base::ErrorKind::kUnsupported, "this format has no internal snapshots");
  }
};

}  // namespace firn::block
