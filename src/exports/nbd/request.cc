#include "exports/nbd/request.h"

#include "base/bytes.h"

namespace firn::nbd {
namespace {

struct CommandRules {
  bool known = false;
  bool has_range = false;
  bool writes = false;
  bool has_payload_limit = false;
  uint16_t flags = 0;  // beside FUA, which is valid everywhere
};

CommandRules rules_of(Command command) {
  switch (command) {
    case Command::kRead:
      return {
          .known = true, .has_range = true, .has_payload_limit = true, .flags = command_flag::kDf};
    case Command::kWrite:
      return {.known = true, .has_range = true, .writes = true, .has_payload_limit = true};
    case Command::kFlush:
      return {.known = true};
    case Command::kTrim:
      return {.known = true, .has_range = true, .writes = true};
    case Command::kCache:
      return {.known = true, .has_range = true, .has_payload_limit = true};
    case Command::kWriteZeroes:
      return {.known = true,
              .has_range = true,
              .writes = true,
              .flags = command_flag::kNoHole | command_flag::kFastZero};
    case Command::kBlockStatus:
      return {.known = true, .has_range = true, .flags = command_flag::kReqOne};
    case Command::kDisconnect:
      break;
  }
  return {};
}

}  // namespace

Verdict check_request(const RequestHeader& request, const Agreement& agreement) {
  const CommandRules rules = rules_of(request.command);
  if (!rules.known) return {WireError::kInval, "unknown command"};
  uint16_t flags = rules.flags | command_flag::kFua;
  if (!agreement.structured_replies) flags &= static_cast<uint16_t>(~command_flag::kDf);
  if ((request.flags & ~flags) != 0) {
    return {WireError::kInval, "a flag that this command does not have"};
  }
  if (rules.writes && !agreement.writable) return {WireError::kPerm, "the export is read-only"};
  if (request.command == Command::kBlockStatus) {
    if (!agreement.any_context()) {
      return {WireError::kInval, "no metadata context was selected"};
    }
    if (request.length == 0) return {WireError::kInval, "the length is 0"};
  }
  if (!rules.has_range) return {};
  if (rules.has_payload_limit && request.length > kMaxPayloadBytes) {
    return {WireError::kInval, "the length is above the maximum block size, 32 MiB"};
  }
  if (request.offset > agreement.size_bytes ||
      request.length > agreement.size_bytes - request.offset) {
    const bool fills =
        request.command == Command::kWrite || request.command == Command::kWriteZeroes;
    return {fills ? WireError::kNoSpc : WireError::kInval,
            "the request goes beyond the end of the export"};
  }
  if (!base::is_aligned(request.offset | request.length, agreement.minimum_block_bytes)) {
    return {WireError::kInval, "the request is not aligned to the minimum block size"};
  }
  return {};
}

}  // namespace firn::nbd
