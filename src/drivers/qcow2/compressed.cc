#include "drivers/qcow2/compressed.h"

#include <fmt/format.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>

namespace firn::qcow2 {

using base::ErrorKind;
using base::fail;

namespace {

constexpr uint64_t kCacheBytes = 2u << 20;

Result<> damaged(std::string_view how) {
  return fail(ErrorKind::kCorrupt, fmt::format("a compressed cluster is damaged ({})", how));
}

// A raw deflate stream with a window of 4 KiB.
Result<> inflate_cluster(base::ConstByteSpan source, base::ByteSpan target) {
  z_stream stream = {};
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(source.data()));
  stream.avail_in = static_cast<uInt>(source.size());
  stream.next_out = reinterpret_cast<Bytef*>(target.data());
  stream.avail_out = static_cast<uInt>(target.size());
  if (inflateInit2(&stream, -12) != Z_OK) return damaged("zlib does not start");
  const int status = inflate(&stream, Z_FINISH);
  const bool filled = stream.avail_out == 0;
  inflateEnd(&stream);
  if ((status == Z_STREAM_END || status == Z_BUF_ERROR) && filled) return {};
  return damaged(fmt::format("zlib status {}", status));
}

Result<> unzstd_cluster(base::ConstByteSpan source, base::ByteSpan target) {
  const std::unique_ptr<ZSTD_DCtx, size_t (*)(ZSTD_DCtx*)> context(ZSTD_createDCtx(),
                                                                   ZSTD_freeDCtx);
  if (!context) return damaged("zstd does not start");
  ZSTD_inBuffer in = {source.data(), source.size(), 0};
  ZSTD_outBuffer out = {target.data(), target.size(), 0};
  while (out.pos < out.size) {
    const size_t in_before = in.pos;
    const size_t out_before = out.pos;
    const size_t status = ZSTD_decompressStream(context.get(), &out, &in);
    if (ZSTD_isError(status) != 0) return damaged(ZSTD_getErrorName(status));
    if (in.pos == in_before && out.pos == out_before) return damaged("it ends too early");
  }
  return {};
}

}  // namespace

Result<> decompress(uint8_t compression_type, base::ConstByteSpan source, base::ByteSpan target) {
  switch (compression_type) {
    case format::kCompressionZlib:
      return inflate_cluster(source, target);
    case format::kCompressionZstd:
      return unzstd_cluster(source, target);
    default:
      return fail(ErrorKind::kUnsupported,
                  fmt::format("qcow2: unknown compression type: {}", compression_type));
  }
}

CompressedClusters::CompressedClusters(const Geometry& geometry, ImageFile& file,
                                       uint8_t compression_type)
    : geometry_(geometry),
      file_(file),
      compression_type_(compression_type),
      capacity_(std::max<uint64_t>(1, kCacheBytes >> geometry.cluster_bits)) {}

Task<Result<>> CompressedClusters::read(uint64_t descriptor, uint64_t in_cluster,
                                        const IoVec& iov) {
  auto found = std::ranges::find(entries_, descriptor, &Entry::descriptor);
  if (found == entries_.end()) {
    entries_.emplace_front();
    found = entries_.begin();
    found->descriptor = descriptor;
  } else {
    entries_.splice(entries_.begin(), entries_, found);
  }
  Entry& entry = *found;
  ++entry.users;
  if (entry.users == 1 && entry.loading) {
    Result<> loaded = co_await load(entry);
    if (!loaded) entry.error = loaded.error();
    entry.loading = false;
    entry.loaded.wake_all();
  } else {
    while (entry.loading) co_await entry.loaded.wait();
  }
  Result<> result;
  if (entry.error) {
    result = std::unexpected(*entry.error);
    entry.descriptor = 0;  // the next one tries again
  } else {
    iov.copy_from(0, base::ConstByteSpan(entry.data.get() + in_cluster, iov.size_bytes()));
  }
  --entry.users;
  trim();
  co_return result;
}

Task<Result<>> CompressedClusters::load(Entry& entry) {
  const CompressedRange range = compressed_range(geometry_, entry.descriptor);
  Buffer source = make_buffer(range.length);
  CO_TRY(co_await file_.read(range.offset, source.get(), range.length));
  entry.data = make_buffer(geometry_.cluster_bytes());
  std::byte* const target = entry.data.get();
  co_return co_await async::Loop::current().on_worker([&, target] {
    return decompress(compression_type_, {source.get(), range.length},
                      {target, geometry_.cluster_bytes()});
  });
}

void CompressedClusters::trim() {
  for (auto at = entries_.end(); at != entries_.begin() && entries_.size() > capacity_;) {
    --at;
    if (at->users == 0) at = entries_.erase(at);
  }
  std::erase_if(entries_, [](const Entry& entry) { return entry.users == 0 && entry.error; });
}

void CompressedClusters::forget() {
  std::erase_if(entries_, [](const Entry& entry) { return entry.users == 0; });
}

}  // namespace firn::qcow2
