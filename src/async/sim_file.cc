#include "async/sim_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "async/sim_loop.h"
#include "async/sim_world.h"
#include "base/bytes.h"
#include "base/check.h"

namespace firn::async {
namespace {

SimFileAccess::Kind access_kind(FileOp::Kind kind) {
  switch (kind) {
    case FileOp::Kind::kRead:
      return SimFileAccess::Kind::kRead;
    case FileOp::Kind::kWrite:
      return SimFileAccess::Kind::kWrite;
    case FileOp::Kind::kSync:
    case FileOp::Kind::kDataSync:
      return SimFileAccess::Kind::kSync;
    case FileOp::Kind::kZero:
      return SimFileAccess::Kind::kZero;
    case FileOp::Kind::kZeroAndUnmap:
      return SimFileAccess::Kind::kZeroAndUnmap;
    case FileOp::Kind::kDiscard:
      return SimFileAccess::Kind::kDiscard;
    case FileOp::Kind::kAllocate:
      return SimFileAccess::Kind::kAllocate;
    case FileOp::Kind::kTruncate:
      return SimFileAccess::Kind::kTruncate;
  }
  return SimFileAccess::Kind::kRead;
}

bool is_sync(FileOp::Kind kind) {
  return kind == FileOp::Kind::kSync || kind == FileOp::Kind::kDataSync;
}

bool has_iov(FileOp::Kind kind) {
  return kind == FileOp::Kind::kRead || kind == FileOp::Kind::kWrite;
}

uint64_t length_of(const FileOp& op) { return has_iov(op.kind) ? op.iov->size_bytes() : op.length; }

}  // namespace

SimFile::SimFile(SimProcess& process, std::shared_ptr<SimInode> inode, std::string path,
                 bool writable, bool direct)
    : File(std::move(path), writable),
      process_(process),
      disk_(process.disk()),
      inode_(std::move(inode)),
      epoch_(disk_.epoch_),
      sync_failures_seen_(inode_->sync_failures) {
  if (direct) direct_alignment_ = disk_.options_.direct_alignment;
  ++inode_->open_files;
  ++process_.open_files_;
}

SimFile::~SimFile() {
  CHECK(in_flight_ == 0);
  --process_.open_files_;
  if (epoch_ != disk_.epoch_) return;
  std::erase_if(inode_->locks, [this](const SimInode::Lock& lock) { return lock.owner == this; });
  --inode_->open_files;
  disk_.release_if_unused(*inode_);
}

bool SimFile::stale() const { return !process_.alive_ || epoch_ != disk_.epoch_; }

base::Error SimFile::shut_down() const {
  return base::Error::from_errno(ESHUTDOWN, fmt::format("Could not use '{}'", path()));
}

int64_t SimFile::check(const FileOp& op) const {
  if (inode_->kind == FileKind::kDirectory) return -EISDIR;
  if (op.kind != FileOp::Kind::kRead && !is_sync(op.kind) && !writable()) return -EBADF;
  if (op.kind == FileOp::Kind::kTruncate && inode_->kind == FileKind::kBlockDevice) return -EINVAL;
  if ((op.kind == FileOp::Kind::kZero || op.kind == FileOp::Kind::kZeroAndUnmap ||
       op.kind == FileOp::Kind::kDiscard) &&
      !disk_.options_.can_zero) {
    return -EOPNOTSUPP;
  }
  const uint64_t length = length_of(op);
  if (!has_iov(op.kind) && !is_sync(op.kind) && op.kind != FileOp::Kind::kTruncate && length == 0) {
    return -EINVAL;  // fallocate refuses it
  }
  if (op.offset + length < op.offset || op.offset + length > INT64_MAX) return -EFBIG;
  if (direct_alignment_ > 1 && has_iov(op.kind)) {
    if (op.offset % direct_alignment_ != 0) return -EINVAL;
    for (const iovec& piece : op.iov->pieces()) {
      if (reinterpret_cast<uintptr_t>(piece.iov_base) % direct_alignment_ != 0 ||
          piece.iov_len % direct_alignment_ != 0) {
        return -EINVAL;
      }
    }
  }
  if (inode_->kind == FileKind::kBlockDevice && op.kind != FileOp::Kind::kRead &&
      op.offset + length > inode_->device_size) {
    return -ENOSPC;
  }
  return 0;
}

// Bytes of storage that `op` would take.
uint64_t SimFile::growth(const FileOp& op) const {
  const bool allocates = op.kind == FileOp::Kind::kWrite || op.kind == FileOp::Kind::kAllocate ||
                         op.kind == FileOp::Kind::kZero;
  if (!allocates || inode_->kind == FileKind::kBlockDevice) return 0;
  return inode_->content.missing_pages(op.offset, length_of(op)) * kSimPageBytes;
}

int64_t SimFile::read_effect(const FileOp& op, SimSectors sectors) {
  const uint64_t size = inode_->content.size_bytes();
  if (op.offset >= size) return 0;
  const uint64_t length = std::min(op.iov->size_bytes(), size - op.offset);
  inode_->content.read(op.offset, length, *op.iov, sectors);
  return static_cast<int64_t>(length);
}

// What a device returns for a discarded sector is anything.
void SimFile::discard_on_device(uint64_t offset, uint64_t length) {
  const uint32_t sector = disk_.options_.sector_bytes;
  std::vector<std::byte> garbage(sector, std::byte{0xdb});
  const uint64_t end = base::round_down(offset + length, sector);
  for (uint64_t at = base::round_up(offset, sector); at < end; at += sector) {
    switch (disk_.world_.random().below(3)) {
      case 0:
        inode_->content.zero(at, sector, true);
        break;
      case 1:
        inode_->content.write(at, IoVec(garbage.data(), garbage.size()));
        break;
      default:
        break;
    }
  }
}

int64_t SimFile::change_effect(const FileOp& op, SimSectors sectors) {
  if (disk_.allocated_bytes_ + growth(op) > disk_.options_.capacity_bytes) return -ENOSPC;
  SimContent& content = inode_->content;
  switch (op.kind) {
    case FileOp::Kind::kWrite:
      content.write(op.offset, *op.iov, sectors);
      break;
    case FileOp::Kind::kZero:
    case FileOp::Kind::kZeroAndUnmap:
      content.zero(op.offset, op.length, op.kind == FileOp::Kind::kZeroAndUnmap);
      break;
    case FileOp::Kind::kDiscard:
      if (inode_->kind == FileKind::kBlockDevice) {
        discard_on_device(op.offset, op.length);
      } else {
        content.zero(op.offset, op.length, true);
      }
      break;
    case FileOp::Kind::kAllocate:
      content.allocate(op.offset, op.length);
      break;
    case FileOp::Kind::kTruncate:
      content.truncate(op.length);
      break;
    default:
      break;
  }
  inode_->modified_ns = inode_->changed_ns = disk_.wall_clock_ns();
  disk_.count_allocation(*inode_);
  return has_iov(op.kind) ? static_cast<int64_t>(op.iov->size_bytes()) : 0;
}

int64_t SimFile::sync_effect(int injected_error) {
  if (injected_error != 0) {
    inode_->content.fail_sync(disk_.world_.random());
    disk_.count_allocation(*inode_);
    ++inode_->sync_failures;
    inode_->sync_error = injected_error;
  } else {
    inode_->content.sync();
  }
  if (sync_failures_seen_ == inode_->sync_failures) return 0;
  sync_failures_seen_ = inode_->sync_failures;
  return -inode_->sync_error;
}

int64_t SimFile::effect(const FileOp& op, SimSectors sectors, int injected_error) {
  if (is_sync(op.kind)) return sync_effect(injected_error);
  if (injected_error != 0) {
    // A write that fails may have reached some of its sectors.
    if (op.kind == FileOp::Kind::kWrite && growth(op) == 0 && disk_.world_.random().chance(0.5)) {
      change_effect(op, {.coin_seed = disk_.world_.random().next() | 1, .side = true});
    }
    return -injected_error;
  }
  return op.kind == FileOp::Kind::kRead ? read_effect(op, sectors) : change_effect(op, sectors);
}

bool SimFile::start(FileOp& op) {
  SimWorld& world = disk_.world_;
  SimRandom& random = world.random();
  world.note(SimTrace::kFileStart, static_cast<uint64_t>(op.kind) << 32 | inode_->number, op.offset,
             length_of(op));
  disk_.count_step();
  if (!stale()) {
    op.result = check(op);
    if (op.result < 0) return true;
  }
  const SimFaultVerdict verdict = disk_.ask_faults(
      {.kind = access_kind(op.kind), .path = path(), .offset = op.offset, .length = length_of(op)});
  const bool sync = is_sync(op.kind);
  if (!sync && verdict.delay == Duration{0} && !stale() &&
      random.chance(world.options().inline_io_probability)) {
    op.result = effect(op, {}, verdict.error);
    return true;
  }

  const Duration takes =
      random.duration(sync ? world.options().sync : world.options().io) + verdict.delay;
  const auto within = [&](Duration from) {
    return from + Duration(static_cast<int64_t>(
                      random.below(static_cast<uint64_t>((takes - from).count()) + 1)));
  };
  std::unique_ptr<SimFileOp> flight;
  if (disk_.free_ops_.empty()) {
    flight = std::make_unique<SimFileOp>();
  } else {
    flight = std::move(disk_.free_ops_.back());
    disk_.free_ops_.pop_back();
  }
  flight->file = this;
  flight->op = &op;
  flight->loop = static_cast<SimLoop*>(&Loop::current());
  flight->injected_error = verdict.error;
  flight->result = 0;
  flight->done_at = world.now() + takes;
  const bool split = has_iov(op.kind) && length_of(op) > disk_.options_.sector_bytes &&
                     verdict.error == 0 && random.chance(world.options().split_write_probability);
  const Duration first = within(Duration{0});
  flight->stage = split ? SimFileOp::Stage::kFirstEffect : SimFileOp::Stage::kLastEffect;
  flight->sectors = {.coin_seed = split ? random.next() | 1 : 0, .side = false};
  flight->effect_at = world.now() + (split ? within(first) : first);
  // Most often at one of the ends, where what may go wrong shows soonest.
  if (!split && random.chance(0.7)) {
    flight->effect_at = random.chance(0.5) ? world.now() : flight->done_at;
  }
  flight->run = [](SimEvent& event) {
    auto& mine = static_cast<SimFileOp&>(event);
    mine.file->advance(mine);
  };
  flight->previous = nullptr;
  flight->next = disk_.in_flight_;
  if (disk_.in_flight_ != nullptr) disk_.in_flight_->previous = flight.get();
  ++in_flight_;
  flight->loop->operation_begins();
  world.schedule_at(*flight, split ? world.now() + first : flight->effect_at);
  disk_.in_flight_ = flight.release();
  return false;
}

void SimFile::advance(SimFileOp& flight) {
  SimWorld& world = disk_.world_;
  if (flight.stage == SimFileOp::Stage::kDone) return finish(flight);
  // Operations end with their process: at once, or when they would have.
  world.note(SimTrace::kFileEffect, inode_->number, flight.op->offset, length_of(*flight.op));
  disk_.count_step();
  if (!stale()) {
    const int64_t result = effect(*flight.op, flight.sectors, flight.injected_error);
    // A read in two parts has filled no more than the shorter of them: the file may have grown.
    const bool second = flight.stage == SimFileOp::Stage::kLastEffect && flight.sectors.side;
    flight.result = second ? std::min(flight.result, result) : result;
  }
  if (flight.stage == SimFileOp::Stage::kFirstEffect && flight.result >= 0) {
    flight.stage = SimFileOp::Stage::kLastEffect;
    flight.sectors.side = true;
    world.schedule_at(flight, flight.effect_at);
    return;
  }
  flight.stage = SimFileOp::Stage::kDone;
  if (flight.done_at <= world.now()) return finish(flight);
  world.schedule_at(flight, flight.done_at);
}

void SimFile::finish(SimFileOp& flight) {
  FileOp& op = *flight.op;
  op.result = stale() ? -ESHUTDOWN : flight.result;
  disk_.world_.note(SimTrace::kFileDone, inode_->number, op.offset,
                    static_cast<uint64_t>(op.result));
  (flight.previous != nullptr ? flight.previous->next : disk_.in_flight_) = flight.next;
  if (flight.next != nullptr) flight.next->previous = flight.previous;
  --in_flight_;
  flight.loop->operation_ends();
  flight.loop->complete(op.waiter);
  disk_.free_ops_.emplace_back(&flight);
}

Task<base::Result<FileStat>> SimFile::stat() {
  co_return co_await Loop::current().on_worker([this]() -> base::Result<FileStat> {
    disk_.count_step();
    if (stale()) return base::fail(shut_down());
    return disk_.stat_of(*inode_);
  });
}

Task<base::Result<Extent>> SimFile::extent_at(uint64_t offset) {
  co_return co_await Loop::current().on_worker([this, offset]() -> base::Result<Extent> {
    disk_.count_step();
    if (stale()) return base::fail(shut_down());
    if (offset >= inode_->content.size_bytes()) {
      return base::fail(base::ErrorKind::kOutOfRange,
                        fmt::format("Could not map '{}': offset {} is beyond its end at {}", path(),
                                    offset, inode_->content.size_bytes()));
    }
    if (inode_->kind == FileKind::kBlockDevice) {
      return Extent{.data = true, .length_bytes = inode_->device_size - offset};
    }
    const auto [data, length] = inode_->content.extent_at(offset);
    return Extent{.data = data, .length_bytes = length};
  });
}

base::Result<> SimFile::test_lock(uint64_t offset, LockKind kind) {
  if (stale()) return base::fail(shut_down());
  for (const SimInode::Lock& lock : inode_->locks) {
    if (lock.owner == this || lock.offset != offset) continue;
    if (!lock.exclusive && kind == LockKind::kShared) continue;
    return base::fail(base::ErrorKind::kBusy,
                      fmt::format("Byte {} of '{}' is locked by another open file ({})", offset,
                                  path(), lock.exclusive ? "exclusive" : "shared"));
  }
  return {};
}

base::Result<> SimFile::lock_byte(uint64_t offset, LockKind kind) {
  if (kind == LockKind::kExclusive && !writable()) {
    return base::fail(base::Error::from_errno(EBADF, fmt::format("Could not lock '{}'", path())));
  }
  TRY(test_lock(offset, kind));
  TRY(unlock_byte(offset));
  inode_->locks.push_back({this, offset, kind == LockKind::kExclusive});
  return {};
}

base::Result<> SimFile::unlock_byte(uint64_t offset) {
  if (stale()) return base::fail(shut_down());
  std::erase_if(inode_->locks, [&](const SimInode::Lock& lock) {
    return lock.owner == this && lock.offset == offset;
  });
  return {};
}

}  // namespace firn::async
