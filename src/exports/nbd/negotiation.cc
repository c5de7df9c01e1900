#include "exports/nbd/negotiation.h"

#include <fmt/format.h>

#include <array>
#include <utility>

#include "base/log.h"

namespace firn::nbd {
namespace {

constexpr std::string_view kBaseAllocation = "base:allocation";
constexpr std::string_view kAllocationDepth = "qemu:allocation-depth";

// Takes an option's data apart.
class DataReader {
 public:
  explicit DataReader(base::ConstByteSpan data) : left_(data) {}

  template <std::unsigned_integral T>
  base::Result<T> number() {
    if (left_.size() < sizeof(T)) return too_short();
    const T value = base::load_be<T>(left_.data());
    left_ = left_.subspan(sizeof(T));
    return value;
  }
  base::Result<std::string> string(std::string_view what) {
    const uint32_t length = TRY(number<uint32_t>());
    if (length > kMaxStringBytes) {
      return base::fail(base::ErrorKind::kInvalidArgument,
                        fmt::format("the {} is longer than {} bytes", what, kMaxStringBytes));
    }
    if (length > left_.size()) return too_short();
    std::string text(reinterpret_cast<const char*>(left_.data()), length);
    left_ = left_.subspan(length);
    return text;
  }
  base::Result<> end() const {
    if (left_.empty()) return {};
    return base::fail(base::ErrorKind::kInvalidArgument,
                      fmt::format("{} bytes follow the end of the option's data", left_.size()));
  }

 private:
  static std::unexpected<base::Error> too_short() {
    return base::fail(base::ErrorKind::kInvalidArgument, "the option's data is too short");
  }
  base::ConstByteSpan left_;
};

std::string_view option_name(uint32_t option) {
  switch (static_cast<Option>(option)) {
    case Option::kExportName:
      return "EXPORT_NAME";
    case Option::kAbort:
      return "ABORT";
    case Option::kList:
      return "LIST";
    case Option::kPeekExport:
      return "PEEK_EXPORT";
    case Option::kStartTls:
      return "STARTTLS";
    case Option::kInfo:
      return "INFO";
    case Option::kGo:
      return "GO";
    case Option::kStructuredReply:
      return "STRUCTURED_REPLY";
    case Option::kListMetaContext:
      return "LIST_META_CONTEXT";
    case Option::kSetMetaContext:
      return "SET_META_CONTEXT";
    case Option::kExtendedHeaders:
      return "EXTENDED_HEADERS";
  }
  return "unknown";
}

// One client's handshake. Whoever can connect can break it, so that breaking it is not worth a
// warning.
class Negotiation final {
 public:
  Negotiation(async::Stream& stream, ExportDirectory& exports, NegotiationLimits limits)
      : stream_(stream), exports_(exports), limits_(limits) {}

  async::Task<std::optional<Negotiated>> run();

 private:
  // What became of an option.
  enum class Step {
    kNext,   // the client goes on haggling
    kLeave,  // it is to be disconnected
    kEnter,  // it has chosen: chosen_ is set
  };

  async::Task<bool> greet();
  async::Task<Step> take_option();
  async::Task<Step> dispatch(uint32_t option);
  async::Task<Step> choose_by_name();
  async::Task<Step> list();
  async::Task<Step> info_or_go(uint32_t option);
  async::Task<Step> structured_reply();
  async::Task<Step> meta_context(uint32_t option);
  async::Task<Step> abort();

  async::Task<bool> receive(std::byte* to, size_t length);
  async::Task<bool> drop(uint64_t length);
  // Replies collect in out_ and leave together.
  void add_reply(uint32_t option, OptionReply type, base::ConstByteSpan data = {});
  void add_text_reply(uint32_t option, OptionReply type, std::string_view text);
  async::Task<bool> send();
  async::Task<Step> finish(uint32_t option);
  async::Task<Step> refuse(uint32_t option, OptionReply type, std::string text);
  async::Task<Step> refuse_unknown(uint32_t option, std::string name);

  uint16_t flags_for_client(const ExportFacts& facts) const;
  void choose(ExportFacts facts, bool knows_block_sizes);

  async::Stream& stream_;
  ExportDirectory& exports_;
  const NegotiationLimits limits_;
  bool fixed_ = false;
  bool no_zeroes_ = false;
  bool structured_ = false;
  ContextSelection contexts_;
  std::string contexts_export_;  // the export for which they were selected
  std::vector<std::byte> data_;  // of the option
  std::vector<std::byte> out_;
  unsigned option_count_ = 0;
  uint64_t total_bytes_ = 0;
  std::optional<Negotiated> chosen_;
};

async::Task<std::optional<Negotiated>> Negotiation::run() {
  if (!co_await greet()) co_return std::nullopt;
  while (true) {
    switch (co_await take_option()) {
      case Step::kNext:
        break;
      case Step::kLeave:
        co_return std::nullopt;
      case Step::kEnter:
        co_return std::move(chosen_);
    }
  }
}

async::Task<bool> Negotiation::greet() {
  const auto greeting =
      bytes_of(ServerGreeting{handshake_flag::kFixedNewstyle | handshake_flag::kNoZeroes});
  out_.assign(greeting.begin(), greeting.end());
  if (!co_await send()) co_return false;
  std::array<std::byte, 4> answer{};
  if (!co_await receive(answer.data(), answer.size())) co_return false;
  const auto flags = base::load_be<uint32_t>(answer.data());
  if ((flags & ~client_flag::kKnown) != 0) {
    base::log_line(base::LogLevel::kDebug, fmt::format("nbd: {} set unknown client flags 0x{:x}",
                                                       stream_.peer_name(), flags));
    co_return false;
  }
  fixed_ = (flags & client_flag::kFixedNewstyle) != 0;
  no_zeroes_ = (flags & client_flag::kNoZeroes) != 0;
  co_return true;
}

async::Task<Negotiation::Step> Negotiation::take_option() {
  std::array<std::byte, OptionHeader::kBytes> head{};
  if (!co_await receive(head.data(), head.size())) co_return Step::kLeave;
  const OptionHeader header = OptionHeader::load(head.data());
  if (header.magic != kOptionMagic) {
    base::log_line(base::LogLevel::kDebug,
                   fmt::format("nbd: {} sent an option without its magic", stream_.peer_name()));
    co_return Step::kLeave;
  }
  total_bytes_ += header.length;
  if (++option_count_ > limits_.options || total_bytes_ > limits_.total_bytes) {
    base::log_line(base::LogLevel::kDebug,
                   fmt::format("nbd: {} negotiates without an end", stream_.peer_name()));
    co_return Step::kLeave;
  }
  if (header.length > limits_.option_bytes) {
    if (!co_await drop(header.length)) co_return Step::kLeave;
    if (header.option == static_cast<uint32_t>(Option::kExportName)) co_return Step::kLeave;
    co_return co_await refuse(
        header.option, OptionReply::kErrTooBig,
        fmt::format("an option may have {} bytes of data", limits_.option_bytes));
  }
  data_.resize(header.length);
  if (!co_await receive(data_.data(), data_.size())) co_return Step::kLeave;
  co_return co_await dispatch(header.option);
}

async::Task<Negotiation::Step> Negotiation::dispatch(uint32_t option) {
  // Without fixed newstyle there is no reply to anything but EXPORT_NAME.
  if (!fixed_ && option != static_cast<uint32_t>(Option::kExportName)) co_return Step::kLeave;
  switch (static_cast<Option>(option)) {
    case Option::kExportName:
      co_return co_await choose_by_name();
    case Option::kAbort:
      co_return co_await abort();
    case Option::kList:
      co_return co_await list();
    case Option::kInfo:
    case Option::kGo:
      co_return co_await info_or_go(option);
    case Option::kStructuredReply:
      co_return co_await structured_reply();
    case Option::kListMetaContext:
    case Option::kSetMetaContext:
      co_return co_await meta_context(option);
    case Option::kStartTls:
      co_return co_await refuse(option, OptionReply::kErrPolicy, "TLS not configured");
    case Option::kPeekExport:
    case Option::kExtendedHeaders:
      break;
  }
  co_return co_await refuse(option, OptionReply::kErrUnsupported,
                            fmt::format("Unsupported option {} ({})", option, option_name(option)));
}

// The options ---------------------------------------------------------------------------------

async::Task<Negotiation::Step> Negotiation::choose_by_name() {
  if (data_.size() > kMaxStringBytes) co_return Step::kLeave;
  std::string name(reinterpret_cast<const char*>(data_.data()), data_.size());
  std::optional<ExportFacts> facts = co_await exports_.describe_export(std::move(name));
  if (!facts) co_return Step::kLeave;  // there is no way to say why
  const auto reply = bytes_of(ExportNameReply{facts->size_bytes, flags_for_client(*facts)});
  out_.assign(reply.begin(), reply.end());
  if (!no_zeroes_) out_.resize(out_.size() + kExportNameZeroBytes);
  choose(std::move(*facts), false);
  co_return co_await send() ? Step::kEnter : Step::kLeave;
}

async::Task<Negotiation::Step> Negotiation::abort() {
  add_reply(static_cast<uint32_t>(Option::kAbort), OptionReply::kAck);
  co_await send();
  co_return Step::kLeave;
}

async::Task<Negotiation::Step> Negotiation::list() {
  constexpr auto kOption = static_cast<uint32_t>(Option::kList);
  if (!data_.empty()) {
    co_return co_await refuse(kOption, OptionReply::kErrInvalid, "option LIST takes no data");
  }
  std::vector<std::byte> entry_bytes;
  for (const ExportDirectory::Entry& entry : exports_.list_exports()) {
    entry_bytes.resize(4);
    base::store_be(entry_bytes.data(), static_cast<uint32_t>(entry.name.size()));
    for (const std::string* text : {&entry.name, &entry.description}) {
      const auto* bytes = reinterpret_cast<const std::byte*>(text->data());
      entry_bytes.insert(entry_bytes.end(), bytes, bytes + text->size());
    }
    add_reply(kOption, OptionReply::kServer, entry_bytes);
  }
  co_return co_await finish(kOption);
}

async::Task<Negotiation::Step> Negotiation::info_or_go(uint32_t option) {
  base::Result<InfoRequest> request = parse_info_request(data_);
  if (!request) {
    co_return co_await refuse(option, OptionReply::kErrInvalid, request.error().text());
  }
  std::optional<ExportFacts> facts = co_await exports_.describe_export(request->name);
  if (!facts) co_return co_await refuse_unknown(option, std::move(request->name));

  const auto add_info_text = [this, option](InfoType type, std::string_view text) {
    std::vector<std::byte> data(2);
    base::store_be(data.data(), static_cast<uint16_t>(type));
    const auto* bytes = reinterpret_cast<const std::byte*>(text.data());
    data.insert(data.end(), bytes, bytes + text.size());
    add_reply(option, OptionReply::kInfo, data);
  };
  if (request->wants_name) add_info_text(InfoType::kName, facts->name);
  if (request->wants_description && !facts->description.empty()) {
    add_info_text(InfoType::kDescription, facts->description);
  }
  // A client that did not ask may not know about minimum sizes: it is held to none.
  InfoBlockSize sizes = facts->block_sizes;
  if (!request->wants_block_size) sizes.minimum = 1;
  add_reply(option, OptionReply::kInfo, bytes_of(sizes));
  add_reply(option, OptionReply::kInfo,
            bytes_of(InfoExport{facts->size_bytes, flags_for_client(*facts)}));
  const Step step = co_await finish(option);
  if (option == static_cast<uint32_t>(Option::kInfo) || step == Step::kLeave) co_return step;
  choose(std::move(*facts), request->wants_block_size);
  co_return Step::kEnter;
}

async::Task<Negotiation::Step> Negotiation::structured_reply() {
  constexpr auto kOption = static_cast<uint32_t>(Option::kStructuredReply);
  if (!data_.empty()) {
    co_return co_await refuse(kOption, OptionReply::kErrInvalid,
                              "option STRUCTURED_REPLY takes no data");
  }
  if (structured_) {
    co_return co_await refuse(kOption, OptionReply::kErrInvalid,
                              "structured reply already negotiated");
  }
  structured_ = true;
  co_return co_await finish(kOption);
}

async::Task<Negotiation::Step> Negotiation::meta_context(uint32_t option) {
  const bool list = option == static_cast<uint32_t>(Option::kListMetaContext);
  if (!list) contexts_ = {};  // whatever comes replaces what was selected
  if (!structured_) {
    co_return co_await refuse(
        option, OptionReply::kErrInvalid,
        fmt::format("option {} needs structured replies, which are not negotiated",
                    option_name(option)));
  }
  base::Result<MetaContextRequest> request = parse_meta_context_request(data_);
  if (!request) {
    co_return co_await refuse(option, OptionReply::kErrInvalid, request.error().text());
  }
  const std::optional<ExportFacts> facts = co_await exports_.describe_export(request->name);
  if (!facts) co_return co_await refuse_unknown(option, std::move(request->name));

  const ContextSelection selected =
      select_contexts(request->queries, facts->allocation_depth, list);
  const auto add_context = [&](uint32_t id, std::string_view name) {
    std::vector<std::byte> data(4);
    base::store_be(data.data(), list ? 0 : id);
    const auto* bytes = reinterpret_cast<const std::byte*>(name.data());
    data.insert(data.end(), bytes, bytes + name.size());
    add_reply(option, OptionReply::kMetaContext, data);
  };
  if (selected.base_allocation) add_context(kBaseAllocationId, kBaseAllocation);
  if (selected.allocation_depth) add_context(kAllocationDepthId, kAllocationDepth);
  if (!list) {
    contexts_ = selected;
    contexts_export_ = request->name;
  }
  co_return co_await finish(option);
}

// Choosing --------------------------------------------------------------------------------------

uint16_t Negotiation::flags_for_client(const ExportFacts& facts) const {
  return facts.transmission_flags | (structured_ ? transmission_flag::kSendDf : uint16_t{0});
}

void Negotiation::choose(ExportFacts facts, bool knows_block_sizes) {
  Agreement agreement;
  agreement.size_bytes = facts.size_bytes;
  agreement.writable = facts.writable;
  agreement.structured_replies = structured_;
  // Contexts hold for the export that they were selected for, and for no other.
  if (structured_ && contexts_export_ == facts.name) {
    agreement.base_allocation = contexts_.base_allocation;
    agreement.allocation_depth = contexts_.allocation_depth && facts.allocation_depth;
  }
  if (knows_block_sizes) agreement.minimum_block_bytes = facts.block_sizes.minimum;
  chosen_ = Negotiated{.facts = std::move(facts), .agreement = agreement};
}

// Bytes -----------------------------------------------------------------------------------------

async::Task<bool> Negotiation::receive(std::byte* to, size_t length) {
  while (length != 0) {
    const async::IoVec iov(to, length);
    const base::Result<uint64_t> got = co_await stream_.receive(iov);
    if (!got || *got == 0) co_return false;
    to += *got;
    length -= *got;
  }
  co_return true;
}

async::Task<bool> Negotiation::drop(uint64_t length) {
  std::array<std::byte, 4096> scratch;
  while (length != 0) {
    const size_t step = std::min<uint64_t>(length, scratch.size());
    if (!co_await receive(scratch.data(), step)) co_return false;
    length -= step;
  }
  co_return true;
}

void Negotiation::add_reply(uint32_t option, OptionReply type, base::ConstByteSpan data) {
  const auto head = bytes_of(OptionReplyHeader{option, type, static_cast<uint32_t>(data.size())});
  out_.insert(out_.end(), head.begin(), head.end());
  out_.insert(out_.end(), data.begin(), data.end());
}

void Negotiation::add_text_reply(uint32_t option, OptionReply type, std::string_view text) {
  text = text.substr(0, kMaxStringBytes);
  add_reply(option, type, std::as_bytes(std::span(text)));
}

async::Task<bool> Negotiation::send() {
  const async::IoVec iov(base::ConstByteSpan{out_});
  const base::Result<> sent = co_await stream_.send(iov);
  out_.clear();
  co_return sent.has_value();
}

async::Task<Negotiation::Step> Negotiation::finish(uint32_t option) {
  add_reply(option, OptionReply::kAck);
  co_return co_await send() ? Step::kNext : Step::kLeave;
}

async::Task<Negotiation::Step> Negotiation::refuse(uint32_t option, OptionReply type,
                                                   std::string text) {
  add_text_reply(option, type, text);
  co_return co_await send() ? Step::kNext : Step::kLeave;
}

async::Task<Negotiation::Step> Negotiation::refuse_unknown(uint32_t option, std::string name) {
  co_return co_await refuse(option, OptionReply::kErrUnknown,
                            fmt::format("export '{}' not present", name));
}

}  // namespace

async::Task<std::optional<Negotiated>> negotiate(async::Stream& stream, ExportDirectory& exports,
                                                 NegotiationLimits limits) {
  Negotiation negotiation(stream, exports, limits);
  co_return co_await negotiation.run();
}

base::Result<InfoRequest> parse_info_request(base::ConstByteSpan data) {
  DataReader reader(data);
  InfoRequest request;
  request.name = TRY(reader.string("export name"));
  const uint16_t count = TRY(reader.number<uint16_t>());
  for (unsigned i = 0; i < count; ++i) {
    switch (static_cast<InfoType>(TRY(reader.number<uint16_t>()))) {
      case InfoType::kName:
        request.wants_name = true;
        break;
      case InfoType::kDescription:
        request.wants_description = true;
        break;
      case InfoType::kBlockSize:
        request.wants_block_size = true;
        break;
      case InfoType::kExport:
        break;  // always sent; unknown ones are left out
    }
  }
  TRY(reader.end());
  return request;
}

base::Result<MetaContextRequest> parse_meta_context_request(base::ConstByteSpan data) {
  DataReader reader(data);
  MetaContextRequest request;
  request.name = TRY(reader.string("export name"));
  const uint32_t count = TRY(reader.number<uint32_t>());
  for (uint32_t i = 0; i < count; ++i) {
    request.queries.push_back(TRY(reader.string("query")));
  }
  TRY(reader.end());
  return request;
}

ContextSelection select_contexts(const std::vector<std::string>& queries, bool has_depth,
                                 bool list) {
  ContextSelection selected;
  if (list && queries.empty()) return {.base_allocation = true, .allocation_depth = has_depth};
  for (const std::string& query : queries) {
    if (query == kBaseAllocation || (list && query == "base:")) selected.base_allocation = true;
    if (query == kAllocationDepth || (list && query == "qemu:")) {
      selected.allocation_depth = has_depth;
    }
  }
  return selected;
}

}  // namespace firn::nbd
