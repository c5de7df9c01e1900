// Negotiation: the handshake, from the greeting to the transmission phase.
//
// Fixed newstyle alone: oldstyle clients are not served. Source: the NBD protocol document,
// "Handshake", "Option types" and "Option reply types".
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "async/socket.h"
#include "async/task.h"
#include "base/bytes.h"
#include "base/result.h"
#include "exports/nbd/nbd_format.h"
#include "exports/nbd/request.h"

namespace firn::nbd {

// What a client is told of an export.
struct ExportFacts {
  uint64_t serial = 0;  // tells exports apart that have had the same name
  std::string name;
  std::string description;
  uint64_t size_bytes = 0;
  uint16_t transmission_flags = 0;  // without kSendDf, which depends on the client
  InfoBlockSize block_sizes;
  bool writable = false;
  bool allocation_depth = false;
};

// The exports that a client may choose from. Called on the control loop.
class ExportDirectory {
 public:
  struct Entry {
    std::string name;
    std::string description;
  };
  virtual std::vector<Entry> list_exports() const = 0;
  // No value: there is none of that name.
  virtual async::Task<std::optional<ExportFacts>> describe_export(std::string name) = 0;

 protected:
  ~ExportDirectory() = default;
};

// What a client may ask before it is disconnected. An honest one stays far below.
struct NegotiationLimits {
  uint32_t option_bytes = 64 << 10;  // longer options are answered with ERR_TOO_BIG
  uint64_t total_bytes = 1 << 20;    // of all options
  unsigned options = 1024;
};

struct Negotiated {
  ExportFacts facts;
  Agreement agreement;
};

// Haggles with the client until it has chosen an export; the last reply has been sent then. No
// value: it left, aborted, broke the protocol or passed a limit, and is to be disconnected;
// `stream` may have been closed meanwhile. Reads nothing that belongs to the transmission phase.
async::Task<std::optional<Negotiated>> negotiate(async::Stream& stream, ExportDirectory& exports,
                                                 NegotiationLimits limits = {});

// The data of INFO and GO. Errors: what is wrong with it, for ERR_INVALID.
struct InfoRequest {
  std::string name;
  bool wants_name = false;
  bool wants_description = false;
  bool wants_block_size = false;
};
base::Result<InfoRequest> parse_info_request(base::ConstByteSpan data);

// The data of LIST_META_CONTEXT and SET_META_CONTEXT. Errors as above.
struct MetaContextRequest {
  std::string name;
  std::vector<std::string> queries;
};
base::Result<MetaContextRequest> parse_meta_context_request(base::ConstByteSpan data);

struct ContextSelection {
  bool base_allocation = false;
  bool allocation_depth = false;
};
// Which contexts the queries select. `list`: no query, or a namespace alone ("base:"), means all of
// them.
ContextSelection select_contexts(const std::vector<std::string>& queries, bool has_depth,
                                 bool list);

}  // namespace firn::nbd
