// What a disk may hold: a record of all requests, and the rules that tell from it which content of
// a sector is legal at a read, after a power cut, and in a frozen layer.
//
// Every sector that is written carries a stamp: which request wrote it, and where. So any content
// names its origin, and stale, foreign and torn data are told from legal data. Moments are ticks of
// one counter, which counts what the clients do and hear.
//
// A request ends when its reply comes, or when its process dies. It is *settled* at a moment if it
// succeeded and had ended before. A content W of a sector is legal where no settled request W' to
// that sector began after W had ended; which requests count as settled is what the rules differ in:
//   - a read: those that had ended before the read was sent;
//   - after a power cut: those with FUA, and those that ended before a flush was sent that
//   succeeded;
//   - a frozen layer: those that ended before the snapshot's command was sent, or before any
//   request
//     was sent whose content is in the layer (docs/architecture.md, "What point in time a snapshot
//     is"); nothing that was sent after the command's reply may be there.
// A discard leaves zeroes or what was there before, so that it adds a legal content and settles
// nothing.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"

namespace firn::sim {

inline constexpr uint64_t kSectorBytes = 512;

using Tick = uint64_t;
inline constexpr Tick kNever = std::numeric_limits<Tick>::max();

// A request that changes sectors, by its place in the record. 0: the zeroes of a new disk.
using RequestId = uint32_t;

struct Request {
  enum class Kind : uint8_t { kWrite, kZero, kDiscard };
  Kind kind = Kind::kZero;
  uint32_t client = 0;
  bool fua = false;
  bool ok = false;
  bool gone = false;    // a revert took the disk back to before it
  bool either = false;  // sent before a revert's reply: it may have come before or after
  uint64_t first_sector = 0;
  uint64_t sectors = 0;
  Tick sent = 0;
  Tick ended = kNever;
};

// What was found in each sector.
using Content = std::vector<RequestId>;

class Oracle {
 public:
  Oracle(uint64_t seed, uint64_t sectors);

  uint64_t sectors() const { return base_.size(); }
  Tick now() { return ++tick_; }

  // Requests. `fill` writes the stamps of a kWrite into its buffer.
  RequestId begin(Request request);
  void fill(RequestId request, base::ByteSpan buffer) const;
  void end(RequestId request, bool ok);
  // A flush that succeeded: `sent` is now() as it was before.
  void flushed(Tick sent);
  // Power is gone, or the process: whatever has not ended ends now, without success.
  void cut();

  // Judgements. Each gives the first violation, for people, or nothing. --------------------------

  std::optional<std::string> check_read(uint64_t first_sector, base::ConstByteSpan bytes,
                                        Tick sent);

  // The disk as it is found after a cut. Fills `found`.
  std::optional<std::string> check_after_cut(base::ConstByteSpan disk, Content& found);
  // After an orderly end, where everything that succeeded is there.
  std::optional<std::string> check_after_close(base::ConstByteSpan disk, Content& found);

  // A frozen layer, seen through its chain. Fills `found`.
  std::optional<std::string> check_frozen(base::ConstByteSpan disk, Tick command_sent,
                                          Tick command_replied, Content& found);
  // Any content of requests to these very sectors. Fills `found`.
  std::optional<std::string> check_origin(base::ConstByteSpan disk, Content& found) const {
    return read_disk(disk, found);
  }
  // A layer that was judged before: it never changes.
  std::optional<std::string> check_unchanged(base::ConstByteSpan disk, const Content& before) const;

  // The disk went back to `content`, durably, by a command that was sent at `sent` and whose reply
  // came just now. What ended before is gone, what has not ended yet will be there. In between
  // there is one moment, with nothing in flight: what ended meanwhile came before it or after, and
  // one that is found tells that all that ended later are there too.
  void reverted(const Content& content, Tick sent);

  // What was found is what the disk holds from here on, durable; older requests are history.
  void start_over(const Content& found);

  uint64_t request_count() const { return requests_.size() - 1; }

 private:
  // The request that a sector's bytes name. Nothing: torn, foreign, or of another place.
  std::optional<RequestId> read_stamp(uint64_t sector, const std::byte* bytes) const;
  uint64_t stamp_key(RequestId request, uint64_t sector) const;
  std::optional<std::string> read_disk(base::ConstByteSpan disk, Content& found) const;

  // The content `found` is legal in `sector`: it is of a request that was sent before `latest`, and
  // nothing that is settled came after it.
  template <typename Settled>
  bool is_legal(uint64_t sector, RequestId found, Tick latest, Settled settled) const;
  template <typename Settled>
  bool is_overwritten(uint64_t sector, Tick ended, Settled settled) const;
  template <typename Settled>
  std::optional<std::string> check_all(const Content& found, Tick latest, const char* what,
                                       Settled settled) const;
  // This request is in the disk: a revert that it was sent during happened before it ended.
  void note_found(RequestId request);
  bool is_durable(const Request& request) const {
    return request.ok && (request.fua || request.ended < durable_before_);
  }
  std::string describe(RequestId request) const;
  std::string explain(uint64_t sector, RequestId found) const;

  uint64_t seed_;
  Tick tick_ = 0;
  Tick durable_before_ = 0;
  std::vector<Request> requests_;  // the first is the zeroes of a new disk
  RequestId first_open_ = 1;       // requests before it are history
  Content base_;                   // what each sector held when this record began
  std::vector<std::vector<RequestId>> by_sector_;
};

}  // namespace firn::sim
