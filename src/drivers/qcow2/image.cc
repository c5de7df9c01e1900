#include "drivers/qcow2/image.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/log.h"
#include "drivers/qcow2/backing_path.h"
#include "drivers/qcow2/repair.h"

namespace firn::qcow2 {

using base::ErrorKind;
using base::fail;

namespace {
// Dirty slices and freed clusters beyond these wait for no flush.
constexpr size_t kMaxDirtySlices = 2048;
constexpr uint64_t kMaxFreedBytes = 1u << 30;
constexpr uint64_t kDefaultCleanInterval_s = 600;
// Discards outrun a file system that takes back a hole at a time. Beyond this they wait for it, so
// that a seal never has much to give back.
constexpr uint64_t kMaxDiscardedBytes = 16u << 20;
constexpr uint64_t kMinDiscardedClusters = 8;
constexpr uint64_t kMaxDiscardedClusters = 1024;

Task<Result<Header>> read_header(ImageFile& file) {
  constexpr size_t kFirst = 512;
  std::vector<std::byte> bytes(kFirst);
  CO_TRY_CONTEXT(co_await file.read(0, bytes.data(), kFirst), "Could not read qcow2 header");
  const uint64_t cluster_bytes = CO_TRY(header_cluster_bytes(bytes));
  bytes.resize(cluster_bytes);
  CO_TRY_CONTEXT(co_await file.read(0, bytes.data(), cluster_bytes), "Could not read qcow2 header");
  co_return parse_header(bytes);
}

}  // namespace

Task<Result<std::unique_ptr<Image>>> Image::open(block::Node& node, const Options& options) {
  ImageFile file(node.children().file);
  Header header = CO_TRY(co_await read_header(file));
  const CacheSizes sizes =
      CO_TRY(cache_sizes(options, header.size_bytes, header.cluster_bits,
                         (header.incompatible & format::incompatible::kExtendedL2) != 0));
  std::unique_ptr<Image> image(new Image(node, std::move(header), options, sizes));
  image->refcounts_.note_file_end();
  CO_TRY(co_await image->l2_.open(image->header_.l1_offset, image->header_.l1_entries));
  CO_TRY(co_await image->snapshots_.open());
  if (!node.read_only()) CO_TRY(co_await image->prepare_writing());
  co_return image;
}

Image::Image(block::Node& node, Header header, const Options& options, CacheSizes sizes)
    : node_(node),
      header_(std::move(header)),
      shown_size_bytes_(header_.size_bytes),
      geometry_(header_.geometry()),
      options_(options),
      file_(node.children().file),
      refcounts_(geometry_, file_, sizes.refcount_bytes),
      freed_(geometry_, refcounts_, ops_),
      l2_(geometry_, file_, refcounts_, freed_, sizes.l2_bytes),
      commits_(file_, header_, refcounts_, l2_, freed_),
      compressed_(geometry_, file_, header_.compression_type),
      snapshots_({.geometry = geometry_,
                  .file = file_,
                  .header = header_,
                  .refcounts = refcounts_,
                  .freed = freed_,
                  .l2 = l2_,
                  .commits = commits_,
                  .ops = ops_,
                  .allocations = allocations_}),
      loop_(&async::Loop::current()) {
  clean_timer_.image = this;
  clean_timer_.fire = &Image::clean_caches;
  commits_.set_discard({.of_requests = options_.pass_discard_request.value_or(node.options().unmap),
                        .of_snapshots = options_.pass_discard_snapshot.value_or(true),
                        .of_others = options_.pass_discard_other.value_or(false)});
}

Image::~Image() { disarm_cleaning(); }

// Everything that has to be true of the file before the first write.
Task<Result<>> Image::prepare_writing() {
  if (header_.is_corrupt()) {
    co_return fail(
        base::Error(ErrorKind::kCorrupt, "qcow2: Image is corrupt; cannot be opened read/write")
            .with_hint("repair it with qemu-img check -r all, or open it read-only"));
  }
  CO_TRY(co_await refcounts_.open(header_.refcount_table_offset, header_.refcount_table_clusters));
  if (header_.is_dirty()) CO_TRY(co_await repair_refcounts(*this));
  if (header_.autoclear != 0 || header_.is_dirty()) {
    // What these bits vouch for is not kept up to date by what follows.
    if ((header_.autoclear & format::autoclear::kBitmaps) != 0) {
      base::log_warning(fmt::format(
          "the dirty bitmaps in '{}' are no longer valid: the image is opened for writing, "
          "which does not keep them up to date",
          filename()));
    }
    const Header before = header_;
    header_.autoclear = 0;
    header_.incompatible &= ~format::incompatible::kDirty;
    if (Result<> written = co_await commits_.write_header(); !written) {
      header_ = before;
      co_return written;
    }
  }
  writable_ = true;
  co_return Result<>{};
}

block::Limits Image::limits() const {
  block::Limits limits;
  limits.optimal_alignment =
      static_cast<uint32_t>(std::max<uint64_t>(geometry_.subcluster_bytes(), 4096));
  limits.discard_alignment = static_cast<uint32_t>(zero_unit());
  return limits;
}

base::Error Image::corrupt(uint64_t guest, std::string_view what) const {
  return base::Error(ErrorKind::kCorrupt,
                     fmt::format("qcow2: image '{}' is corrupt: {} (guest offset {:#x})",
                                 filename(), what, guest))
      .with_hint("check it with qemu-img check");
}

Result<> Image::check_host(uint64_t guest, uint64_t host, uint64_t length) const {
  const auto overlaps = [&](uint64_t begin, uint64_t bytes) {
    return host < begin + bytes && begin < host + length;
  };
  if (host + length > refcounts_.fresh_from()) [[unlikely]] {
    return std::unexpected(
        corrupt(guest, fmt::format("data at {:#x}, beyond the file's end", host)));
  }
  if (host < geometry_.cluster_bytes() ||
      overlaps(header_.l1_offset, uint64_t{header_.l1_entries} * 8) ||
      overlaps(header_.refcount_table_offset,
               uint64_t{header_.refcount_table_clusters} << geometry_.cluster_bits)) [[unlikely]] {
    return std::unexpected(corrupt(guest, fmt::format("data at {:#x}, within metadata", host)));
  }
  return {};
}

bool Image::has_many_dirty_slices() const {
  return l2_.cache().dirty_count() + refcounts_.cache().dirty_count() > kMaxDirtySlices;
}

// What an old request keeps from becoming free does not count twice.
bool Image::is_under_pressure() const {
  return has_many_dirty_slices() ||
         freed_.cluster_count() > freed_clusters_left_ + (kMaxFreedBytes >> geometry_.cluster_bits);
}

bool Image::discards_pile_up() const {
  if (!commits_.discard().of_requests) return false;
  const uint64_t limit = std::clamp(kMaxDiscardedBytes >> geometry_.cluster_bits,
                                    kMinDiscardedClusters, kMaxDiscardedClusters);
  return freed_.cluster_count() > freed_clusters_left_ + limit;
}

// Memory holds more that is dirty, or more that waits to be free, than it should: this request pays
// for a commit, and waits until what that made free is. Its own success does not depend on it.
Task<Result<>> Image::commit_under_pressure() {
  (void)co_await commits_.commit();
  if (is_under_pressure() || discards_pile_up()) co_await commits_.wait_for_release();
  freed_clusters_left_ = freed_.cluster_count();
  co_return Result<>{};
}

Task<Result<>> Image::set_read_only(bool read_only) {
  if (read_only == !writable_) co_return Result<>{};
  const async::Mutex::Guard guard = co_await snapshots_.lock();
  if (!read_only) co_return co_await prepare_writing();
  CO_TRY(co_await commits_.commit_all());
  writable_ = false;
  co_return Result<>{};
}

bool Image::has_lost_data() const {
  return commits_.sync_has_failed() || node_.children().file.child()->driver().has_lost_data();
}

void Image::accept_loss() {
  commits_.accept_loss();
  node_.children().file.child()->driver().accept_loss();
}

Result<> Image::move_to(async::Loop& loop) {
  if (snapshots_.is_running()) {
    return base::fail(ErrorKind::kBusy, "an internal snapshot is being taken or given up");
  }
  if (commits_.is_releasing()) {
    return base::fail(ErrorKind::kBusy, "storage of freed clusters is being given back");
  }
  disarm_cleaning();
  loop_ = &loop;
  return {};
}

Task<Result<>> Image::close() {
  const async::Mutex::Guard guard = co_await snapshots_.lock();
  co_await snapshots_.join();
  disarm_cleaning();
  Result<> result;
  if (writable_) result = co_await commits_.commit_all();
  writable_ = false;
  co_return result;
}

std::string Image::filename() const {
  const block::Node* file = node_.children().file.child();
  return file != nullptr ? file->driver().filename() : std::string();
}

std::string Image::backing_path() const {
  return resolve_backing_path(filename(), header_.backing_file);
}

Task<Result<block::ImageFacts>> Image::facts() {
  block::ImageFacts facts;
  facts.filename = filename();
  facts.format = "qcow2";
  facts.virtual_size_bytes = header_.size_bytes;
  const block::ImageFacts file = CO_TRY(co_await node_.children().file.child()->driver().facts());
  facts.actual_size_bytes = file.actual_size_bytes;
  facts.cluster_size_bytes = static_cast<uint32_t>(geometry_.cluster_bytes());
  facts.dirty = header_.is_dirty();
  facts.backing_filename = header_.backing_file;
  facts.backing_filename_full = backing_path();
  facts.backing_format = header_.backing_format;
  facts.snapshots = snapshots();
  const bool v3 = header_.version >= 3;
  auto& specific = facts.format_specific;
  specific.emplace_back("compat", std::string(v3 ? "1.1" : "0.10"));
  specific.emplace_back(
      "compression-type",
      std::string(header_.compression_type == format::kCompressionZstd ? "zstd" : "zlib"));
  if (v3) {
    specific.emplace_back("lazy-refcounts",
                          (header_.compatible & format::compatible::kLazyRefcounts) != 0);
  }
  specific.emplace_back("refcount-bits", static_cast<int64_t>(geometry_.refcount_bits()));
  if (v3) {
    specific.emplace_back("corrupt", header_.is_corrupt());
    specific.emplace_back("extended-l2", geometry_.extended_l2);
  }
  co_return facts;
}

Result<> Image::check_writable() const {
  if (writable_) return {};
  return fail(ErrorKind::kReadOnly, "the image is open for reading only");
}

Task<Result<>> Image::set_backing_name(std::string filename, std::string format) {
  CO_TRY(check_writable());
  const async::Mutex::Guard guard = co_await commits_.lock();
  const Header before = header_;
  header_.backing_file = std::move(filename);
  header_.backing_format = std::move(format);
  Result<> written = co_await write_backing_name(before);
  if (!written) header_ = before;
  co_return written;
}

// After a power cut at any moment the header has the old name or the new one, and no mixture: the
// new one is written and durable beside the old one before the header's first sector, which disks
// write whole, leads to it. Clusters too small for two names, and extensions beyond the first
// sector that change with the format's name, are written as they come.
Task<Result<>> Image::write_backing_name(const Header& before) {
  constexpr uint64_t kSector = 512;
  constexpr uint64_t kPlaces[] = {4096, 4096 + 1024};
  const uint64_t cluster = geometry_.cluster_bytes();
  static_assert(kPlaces[1] - kPlaces[0] > format::kMaxBackingNameBytes);
  if (header_.backing_file.empty() || cluster < 2 * kPlaces[0] ||
      header_.backing_file.size() > format::kMaxBackingNameBytes) {
    co_return co_await commits_.write_header();
  }
  // Whether what follows the first sector stays as the disk has it.
  std::vector<std::byte> on_disk(cluster);
  CO_TRY(co_await file_.read(0, on_disk.data(), cluster));
  const auto follows = [&](uint64_t end) -> Result<bool> {
    if (end <= kSector) return true;
    const std::vector<std::byte> now = TRY(serialize_header(header_));
    return std::equal(now.begin() + kSector, now.begin() + static_cast<ptrdiff_t>(end),
                      on_disk.begin() + kSector);
  };
  if (!CO_TRY(follows(extensions_end(header_)))) header_.has_feature_names = false;
  const uint64_t end = extensions_end(header_);
  const bool old_in_the_way = !before.backing_file.empty() &&
                              before.backing_file_offset < kPlaces[0] &&
                              before.backing_file_offset + before.backing_file.size() > kPlaces[0];
  if (end > kPlaces[0] || old_in_the_way || !CO_TRY(follows(end))) {
    header_.has_feature_names = true;
    co_return co_await commits_.write_header();
  }
  const uint64_t place = before.backing_file_offset == kPlaces[0] ? kPlaces[1] : kPlaces[0];
  std::vector<std::byte> name(format::kMaxBackingNameBytes + 1);
  std::memcpy(name.data(), header_.backing_file.data(), header_.backing_file.size());
  CO_TRY(co_await file_.write(place, name.data(), name.size()));
  CO_TRY(co_await file_.flush());
  header_.backing_file_offset = place;
  const std::vector<std::byte> bytes = CO_TRY(serialize_header(header_));
  CO_TRY(co_await file_.write(0, bytes.data(), kSector));
  co_return co_await file_.flush();
}

void Image::clean_caches(async::Timer& timer) {
  Image& image = *static_cast<CleanTimer&>(timer).image;
  image.l2_.cache().drop_unused();
  image.refcounts_.cache().drop_unused();
  image.compressed_.forget();
  // Once more if something is left; else the next table that is read arms it.
  if (image.l2_.cache().slice_count() + image.refcounts_.cache().slice_count() != 0) {
    image.arm_cleaning();
  }
}

void Image::arm_cleaning() {
  const uint64_t seconds = options_.cache_clean_interval_s.value_or(kDefaultCleanInterval_s);
  if (seconds == 0 || clean_timer_.armed) return;
  clean_timer_.deadline = loop_->now() + std::chrono::seconds(seconds);
  loop_->arm(clean_timer_);
}

void Image::disarm_cleaning() {
  if (clean_timer_.armed) loop_->disarm(clean_timer_);
}

}  // namespace firn::qcow2
