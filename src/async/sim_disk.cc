#include "async/sim_disk.h"

#include <algorithm>
#include <cerrno>
#include <set>

#include "async/sim_file.h"
#include "async/sim_loop.h"
#include "base/check.h"

namespace firn::async {
namespace {

constexpr uint64_t kRoot = 1;
constexpr int kMostSymlinks = 40;

std::vector<std::string_view> components_of(std::string_view path) {
  std::vector<std::string_view> components;
  while (!path.empty()) {
    const size_t end = std::min(path.find('/'), path.size());
    if (end > 0 && path.substr(0, end) != ".") components.push_back(path.substr(0, end));
    path.remove_prefix(std::min(end + 1, path.size()));
  }
  return components;
}

void drop_last_component(std::string& canonical) {
  canonical.resize(canonical.rfind('/') == std::string::npos ? 0 : canonical.rfind('/'));
}

}  // namespace

SimDisk::SimDisk(SimWorld& world, const SimDiskOptions& options)
    : world_(world), options_(options), device_(0x10000 + world.next_id()) {
  CHECK(options_.sector_bytes == 512 || options_.sector_bytes == kSimPageBytes);
  SimInode& root = make_inode(FileKind::kDirectory);
  root.links = 1;
  root.parent = kRoot;
}

SimDisk::~SimDisk() { CHECK(in_flight_ == nullptr); }

SimInode& SimDisk::make_inode(FileKind kind) {
  auto made = std::make_shared<SimInode>();
  made->number = ++last_inode_;
  made->kind = kind;
  made->content = SimContent(options_.sector_bytes);
  made->modified_ns = made->changed_ns = wall_clock_ns();
  return *(inodes_[made->number] = std::move(made));
}

int64_t SimDisk::wall_clock_ns() const {
  constexpr int64_t kStartNs = 1'767'225'600'000'000'000;  // 2026-01-01 00:00:00 UTC
  return kStartNs + world_.now().time_since_epoch().count();
}

SimFaultVerdict SimDisk::ask_faults(const SimFileAccess& access) const {
  return faults_ ? faults_(access) : SimFaultVerdict{};
}

std::expected<SimDisk::Place, int> SimDisk::resolve(const std::string& base_directory,
                                                    std::string_view path, bool follow_last,
                                                    int depth) const {
  if (path.empty()) return std::unexpected(ENOENT);
  if (depth > kMostSymlinks) return std::unexpected(ELOOP);
  Place place;
  place.inode = &inode(kRoot);
  if (path.front() != '/') {
    auto from = resolve("/", base_directory, true, depth);
    if (!from) return from;
    if (from->inode == nullptr) return std::unexpected(ENOENT);
    place = *std::move(from);
  }
  const bool must_be_directory = path.back() == '/';
  const std::vector<std::string_view> components = components_of(path);
  for (size_t i = 0; i < components.size(); ++i) {
    const bool last = i + 1 == components.size();
    if (place.inode == nullptr) return std::unexpected(ENOENT);
    if (place.inode->kind != FileKind::kDirectory) return std::unexpected(ENOTDIR);
    if (components[i] == "..") {
      place.inode = &inode(place.inode->parent);
      place.directory = nullptr;
      drop_last_component(place.canonical);
      continue;
    }
    place.directory = place.inode;
    place.name = components[i];
    const auto found = place.directory->names.find(place.name);
    place.inode = found == place.directory->names.end() ? nullptr : &inode(found->second);
    if (place.inode != nullptr && place.inode->kind == FileKind::kOther &&
        (!last || follow_last || must_be_directory)) {
      auto to = resolve(place.canonical.empty() ? "/" : place.canonical, place.inode->target, true,
                        depth + 1);
      if (!to) return to;
      place = *std::move(to);
      continue;
    }
    place.canonical += '/';
    place.canonical += components[i];
  }
  if (must_be_directory && place.inode != nullptr && place.inode->kind != FileKind::kDirectory) {
    return std::unexpected(ENOTDIR);
  }
  return place;
}

const SimInode* SimDisk::find(std::string_view path) const {
  const auto place = resolve("/", path, true);
  return place ? place->inode : nullptr;
}

bool SimDisk::is_durable(std::string_view path) const {
  const SimInode* found = find(path);
  return found != nullptr && !found->content.has_unsynced_changes();
}

void SimDisk::make_block_device(std::string_view path, uint64_t size_bytes) {
  auto place = resolve("/", path, true);
  CHECK(place && place->directory != nullptr && place->inode == nullptr);
  SimInode& made = make_inode(FileKind::kBlockDevice);
  made.device_size = size_bytes;
  made.content.truncate(size_bytes);
  made.content.sync();
  change_name(++last_name_operation_, *place->directory, place->name, made.number);
  sync_names(*place->directory);
}

void SimDisk::make_symlink(std::string_view path, std::string target) {
  auto place = resolve("/", path, false);
  CHECK(place && place->directory != nullptr && place->inode == nullptr);
  SimInode& made = make_inode(FileKind::kOther);
  made.target = std::move(target);
  change_name(++last_name_operation_, *place->directory, place->name, made.number);
  sync_names(*place->directory);
}

FileStat SimDisk::stat_of(const SimInode& inode) const {
  FileStat stat;
  stat.kind = inode.kind;
  stat.size_bytes = inode.content.size_bytes();
  stat.allocated_bytes = inode.content.allocated_bytes();
  stat.device = device_;
  stat.inode = inode.number;
  if (inode.kind == FileKind::kBlockDevice) stat.rdev = (device_ << 16) | inode.number;
  stat.modified_ns = inode.modified_ns;
  stat.changed_ns = inode.changed_ns;
  return stat;
}

void SimDisk::count_allocation(SimInode& inode) {
  allocated_bytes_ += static_cast<uint64_t>(inode.content.take_allocation_change());
}

void SimDisk::release_if_unused(SimInode& inode) {
  if (inode.links != 0 || inode.open_files != 0 || inode.released) return;
  inode.released = true;
  allocated_bytes_ -= inode.content.allocated_bytes();
}

// Names. ------------------------------------------------------------------------------------------

void SimDisk::change_name(uint64_t operation, SimInode& directory, const std::string& name,
                          uint64_t inode_number) {
  const auto found = directory.names.find(name);
  SimInode* before = found == directory.names.end() ? nullptr : &inode(found->second);
  if (inode_number == 0) {
    directory.names.erase(name);
  } else {
    directory.names[name] = inode_number;
    SimInode& after = inode(inode_number);
    ++after.links;
    if (after.kind == FileKind::kDirectory) after.parent = directory.number;
  }
  if (before != nullptr) {
    --before->links;
    release_if_unused(*before);
  }
  directory.modified_ns = directory.changed_ns = wall_clock_ns();
  name_log_.push_back({operation, ++last_name_change_, directory.number, name, inode_number});
}

void SimDisk::apply_name(const NameChange& change) {
  // What is newer stays: a sync of one directory may have let it overtake this one.
  SimInode::DurableName& durable = inode(change.directory).durable_names[change.name];
  if (durable.change < change.change) durable = {change.inode, change.change};
}

void SimDisk::sync_names(SimInode& directory) {
  std::set<uint64_t> operations;
  for (const NameChange& change : name_log_) {
    if (change.directory == directory.number) operations.insert(change.operation);
  }
  std::erase_if(name_log_, [&](const NameChange& change) {
    if (!operations.contains(change.operation)) return false;
    apply_name(change);
    return true;
  });
}

void SimDisk::lose_names() {
  SimRandom& random = world_.random();
  const bool prefix = random.chance(0.75);
  const uint64_t kept = random.below(name_log_.size() + 1);
  const double probability = random.chance(0.5) ? 0.5 : 0.1;
  uint64_t operation = 0;
  bool keep = false;
  for (size_t i = 0; i < name_log_.size(); ++i) {
    if (name_log_[i].operation != operation) {
      operation = name_log_[i].operation;
      keep = prefix ? i < kept : random.chance(probability);
    }
    if (keep) apply_name(name_log_[i]);
  }
  name_log_.clear();
  for (auto& [number, directory] : inodes_) directory->links = 0;
  inode(kRoot).links = 1;
  for (auto& [number, directory] : inodes_) {
    directory->names.clear();
    for (const auto& [name, durable] : directory->durable_names) {
      if (durable.inode == 0) continue;
      directory->names[name] = durable.inode;
      SimInode& named = inode(durable.inode);
      ++named.links;
      if (named.kind == FileKind::kDirectory) named.parent = number;
    }
  }
}

// The end of power and of processes. --------------------------------------------------------------

void SimDisk::forget_unreachable() {
  std::set<uint64_t> reached{kRoot};
  std::vector<uint64_t> open{kRoot};
  while (!open.empty()) {
    const SimInode& at = inode(open.back());
    open.pop_back();
    for (const auto& [name, number] : at.names) {
      if (reached.insert(number).second) open.push_back(number);
    }
  }
  std::erase_if(inodes_, [&](const auto& entry) { return !reached.contains(entry.first); });
}

void SimDisk::leave_parts_of(SimFileOp& flight) {
  // The operation itself ends with an error, later; none of its own effects come any more.
  SimFile& file = *flight.file;
  if (flight.stage == SimFileOp::Stage::kDone || flight.injected_error != 0 || file.stale()) return;
  if (flight.op->kind == FileOp::Kind::kRead || world_.random().chance(0.25)) return;
  SimSectors sectors = flight.sectors;
  if (sectors.coin_seed == 0 && world_.random().chance(0.5)) {
    sectors = {.coin_seed = world_.random().next() | 1, .side = false};
  }
  file.effect(*flight.op, sectors, 0);
}

void SimDisk::cut_power() {
  world_.note(SimTrace::kPowerCut, device_);
  for (SimFileOp* flight = in_flight_; flight != nullptr; flight = flight->next) {
    leave_parts_of(*flight);
  }
  ++epoch_;
  world_.processes_lose_power(*this);
  for (auto& [number, inode] : inodes_) {
    inode->content.lose_power(world_.random());
    inode->locks.clear();
    inode->open_files = 0;
    inode->sync_failures = 0;
    inode->sync_error = 0;
    inode->released = false;
  }
  lose_names();
  forget_unreachable();
  allocated_bytes_ = 0;
  for (auto& [number, inode] : inodes_) {
    inode->content.take_allocation_change();
    allocated_bytes_ += inode->content.allocated_bytes();
  }
}

void SimDisk::process_died(SimProcess& process) {
  for (SimFileOp* flight = in_flight_; flight != nullptr; flight = flight->next) {
    if (&flight->file->process_ == &process) leave_parts_of(*flight);
  }
  for (auto& [number, inode] : inodes_) {
    std::erase_if(inode->locks,
                  [&](const SimInode::Lock& lock) { return &lock.owner->process_ == &process; });
  }
}

}  // namespace firn::async
