// Image: reading and the map.

#include <algorithm>

#include "async/scope.h"
#include "drivers/qcow2/image.h"

namespace firn::qcow2 {

using base::ErrorKind;

namespace {
// Parts of one request that are read beside each other.
constexpr size_t kPartsInFlight = 32;
}  // namespace

// What `guest` maps to, if that is known without reading.
std::optional<Piece> Image::find_piece(uint64_t guest, uint64_t length) {
  if (TableCache::Slice* slice = l2_.find(guest)) {
    return piece_at(geometry_, slice->data.get(), guest, length);
  }
  if (!l2_.is_unmapped(guest)) return std::nullopt;
  const uint64_t table_end = (guest | (geometry_.l2_coverage() - 1)) + 1;
  return Piece{.kind = PieceKind::kUnallocated, .length = std::min(length, table_end - guest)};
}

Task<Result<Piece>> Image::load_piece(uint64_t guest, uint64_t length) {
  if (const std::optional<Piece> piece = find_piece(guest, length)) co_return *piece;
  const TableCache::Ref slice = CO_TRY(co_await l2_.load(guest));
  arm_cleaning();
  co_return piece_at(geometry_, slice->data.get(), guest, length);
}

Task<Result<>> Image::read(uint64_t offset, const IoVec& iov, Flags flags) {
  const ActiveOps::Op op(ops_);
  const std::optional<Piece> piece = find_piece(offset, iov.size_bytes());
  if (!piece || piece->length != iov.size_bytes()) {
    co_return co_await read_pieces(offset, iov, flags);
  }
  switch (piece->kind) {
    case PieceKind::kData:
      if (Result<> valid = check_host(offset, piece->host, piece->length); !valid) [[unlikely]] {
        co_return valid;
      }
      co_return co_await file_.read(piece->host, iov);
    case PieceKind::kZero:
    case PieceKind::kZeroHost:
      iov.fill_zero(0, iov.size_bytes());
      co_return Result<>{};
    case PieceKind::kUnallocated:
    case PieceKind::kUnallocatedHost:
      co_return co_await node_.children().backing.read_below(offset, iov, flags);
    case PieceKind::kCompressed:
    case PieceKind::kInvalid:
      co_return co_await read_piece(*piece, offset, iov, flags);
  }
  co_return Result<>{};
}

// All of `iov` from one piece.
Task<Result<>> Image::read_piece(const Piece& piece, uint64_t offset, const IoVec& iov,
                                 Flags flags) {
  switch (piece.kind) {
    case PieceKind::kData:
      CO_TRY(check_host(offset, piece.host, piece.length));
      co_return co_await file_.read(piece.host, iov);
    case PieceKind::kZero:
    case PieceKind::kZeroHost:
      iov.fill_zero(0, iov.size_bytes());
      co_return Result<>{};
    case PieceKind::kUnallocated:
    case PieceKind::kUnallocatedHost:
      co_return co_await node_.children().backing.read_below(offset, iov, flags);
    case PieceKind::kCompressed: {
      const CompressedRange range = compressed_range(geometry_, piece.descriptor);
      CO_TRY(check_host(offset, range.offset, 1));
      co_return co_await compressed_.read(piece.descriptor, geometry_.in_cluster(offset), iov);
    }
    case PieceKind::kInvalid:
      break;
  }
  co_return std::unexpected(corrupt(offset, "invalid L2 entry"));
}

Task<void> Image::read_part(Piece piece, uint64_t offset, IoVec iov, Flags flags,
                            Result<>& result) {
  Result<> done = co_await read_piece(piece, offset, iov, flags);
  if (!done && result) result = std::move(done);
}

Task<Result<>> Image::read_pieces(uint64_t offset, const IoVec& iov, Flags flags) {
  Result<> result;
  async::TaskScope scope;
  const uint64_t length = iov.size_bytes();
  for (uint64_t done = 0; done < length && result;) {
    Result<Piece> piece = co_await load_piece(offset + done, length - done);
    if (!piece) {
      result = std::unexpected(piece.error());
      break;
    }
    if (piece->length == length) {
      // One piece, found late: no need for a task of its own.
      co_return co_await read_piece(*piece, offset, iov, flags);
    }
    if (piece->reads_zero()) {
      iov.fill_zero(done, piece->length);
    } else {
      if (scope.running() >= kPartsInFlight) co_await scope.join();
      scope.spawn(read_part(*piece, offset + done, iov.slice(done, piece->length), flags, result));
    }
    done += piece->length;
    if (loop_->turn_is_over()) co_await loop_->yield();
  }
  co_await scope.join();
  co_return result;
}

Task<Result<block::Run>> Image::status(uint64_t offset, uint64_t length) {
  const ActiveOps::Op op(ops_);
  block::Run run{.length_bytes = 0};
  while (run.length_bytes < length) {
    const uint64_t at = offset + run.length_bytes;
    const Piece piece = CO_TRY(co_await load_piece(at, length - run.length_bytes));
    if (piece.kind == PieceKind::kInvalid) {
      co_return std::unexpected(corrupt(at, "invalid L2 entry"));
    }
    block::Run next{.kind = block::RunKind::kData, .length_bytes = piece.length};
    if (piece.reads_zero()) next.kind = block::RunKind::kZero;
    if (piece.reads_below()) next.kind = block::RunKind::kUnallocated;
    if (piece.kind == PieceKind::kData) next.host_offset = piece.host;
    next.compressed = piece.kind == PieceKind::kCompressed;
    if (run.length_bytes == 0) {
      run = next;
    } else {
      const bool follows =
          next.kind == run.kind && next.compressed == run.compressed &&
          (!run.host_offset || next.host_offset == *run.host_offset + run.length_bytes);
      if (!follows) break;
      run.length_bytes += next.length_bytes;
    }
    if (loop_->turn_is_over()) co_await loop_->yield();
  }
  co_return run;
}

}  // namespace firn::qcow2
