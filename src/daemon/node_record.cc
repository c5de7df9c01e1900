#include "daemon/node_record.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/object.hpp>
#include <utility>

#include "api/codec.h"
#include "base/json.h"
#include "daemon/blockdev_options.h"

namespace firn::daemon {

namespace json = boost::json;
using async::Task;
using base::ErrorKind;
using base::fail;
using base::Result;

namespace {

state::Seal seal_of(const block::Node& node) {
  if (node.seal_failed) return state::Seal::kUnsealed;
  const bool is_backing = std::ranges::any_of(node.parents(), [](const block::Edge* edge) {
    return edge->role() == block::EdgeRole::kBacking;
  });
  return is_backing && node.read_only() ? state::Seal::kSealed : state::Seal::kNone;
}

// On the home loop, whose name the caller looked up.
void collect(const block::Node& node, const std::set<std::string, std::less<>>& known,
             const std::string& io_thread, std::vector<state::NodeRecord>& records) {
  const bool seen =
      known.contains(node.name()) ||
      std::ranges::find(records, node.name(), &state::NodeRecord::name) != records.end();
  if (seen) return;
  const block::Node* file = node.children().file.child();
  const block::Node* backing = node.children().backing.child();
  for (const block::Node* child : {file, backing}) {
    if (child != nullptr) collect(*child, known, io_thread, records);
  }
  state::NodeRecord record;
  record.name = node.name();
  record.driver = node.driver().name();
  if (!node.definition().empty()) record.own = node.definition();
  record.options = state::print_options(node.options());
  record.read_only = node.read_only();
  if (file != nullptr) record.file = file->name();
  if (backing != nullptr) record.backing = backing->name();
  record.io_thread = io_thread;
  // Not of what has no file: null-co names itself json:{...}.
  if (node.driver().is_protocol() && node.driver().filename().starts_with('/')) {
    record.path = node.driver().filename();
  }
  record.seal = seal_of(node);
  records.push_back(std::move(record));
}

Task<std::vector<state::NodeRecord>> collect_here(const block::Node& node,
                                                  std::set<std::string, std::less<>> known,
                                                  std::string io_thread) {
  std::vector<state::NodeRecord> records;
  collect(node, known, io_thread, records);
  co_return records;
}

Result<json::object> object_of(std::string_view text) {
  auto value = base::parse_json(text);
  if (!value || !value->is_object()) return fail(ErrorKind::kCorrupt, "its options can't be read");
  return std::move(value->get_object());
}

}  // namespace

Task<std::vector<state::NodeRecord>> node_records(const block::Graph& graph, block::Node& node,
                                                  std::set<std::string, std::less<>> known) {
  auto records = co_await async::call_on(
      node.home(), collect_here(node, std::move(known), graph.io_loop_name(node.home())));
  for (state::NodeRecord& record : records) {
    const block::Node* own = graph.find_node(record.name);
    record.added = own != nullptr && graph.is_added(*own);
    record.made_by_snapshot = record.added && graph.is_made_by_snapshot(*own);
  }
  co_return records;
}

Result<block::NodeSpec> node_spec(const state::NodeRecord& record,
                                  const block::Registry& registry) {
  const block::DriverEntry* entry = registry.find(record.driver);
  if (entry == nullptr) {
    return fail(ErrorKind::kInvalidBlockFormat, fmt::format("Unknown driver '{}'", record.driver));
  }
  json::object options = TRY(object_of(record.own));
  for (auto& member : TRY(object_of(record.options))) {
    options.insert_or_assign(member.key(), std::move(member.value()));
  }
  options["driver"] = record.driver;
  options["node-name"] = record.name;
  options["read-only"] = record.read_only;
  if (!record.path.empty()) options["filename"] = record.path;
  if (!record.file.empty()) options["file"] = record.file;
  if (!record.backing.empty()) {
    options["backing"] = record.backing;
  } else if (entry->supports_backing) {
    options["backing"] = nullptr;
  }
  const auto decoded =
      TRY(api::decode_as<api::BlockdevOptions>(std::move(options), api::InputMode::kJson));
  block::NodeSpec spec = TRY(node_spec(decoded));
  spec.definition = record.own;
  spec.has_made_up_name = record.name.starts_with('#');
  return spec;
}

}  // namespace firn::daemon
