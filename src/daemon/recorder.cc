#include "daemon/recorder.h"

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <filesystem>
#include <utility>

#include "daemon/node_record.h"

namespace firn::daemon {

namespace json = boost::json;
namespace kind = state::kind;
using async::Task;
using base::JsonValue;
using base::Result;

namespace {

std::string_view text_of(const json::object& object, std::string_view name) {
  const JsonValue* value = object.if_contains(name);
  if (value == nullptr || !value->is_string()) return {};
  return {value->get_string().data(), value->get_string().size()};
}

}  // namespace

void Recorder::attach(block::Graph& graph, Exports& exports) {
  graph_ = &graph;
  exports_ = &exports;
}

void Recorder::begin(const state::Contents& contents) {
  for (const state::NodeRecord& node : contents.nodes) nodes_.insert(node.name);
  for (const state::Thing& thing : contents.things) {
    if (thing.kind == kind::kDevice) devices_.insert(thing.id);
    if (thing.kind == kind::kExport) exports_known_.insert(thing.id);
  }
  begun_ = true;
  recording_ = true;
  exports_are_there_ = exports_known_.empty();
}

Task<Result<>> Recorder::close(bool in_order) {
  recording_ = false;
  if (store_ == nullptr) co_return Result<>();
  co_return co_await store_->close(in_order);
}

// Changes ---------------------------------------------------------------------------------------

Task<Result<uint64_t>> Recorder::record_intent(block::GraphChange change) {
  if (!begun_) co_return uint64_t{0};
  CO_TRY(co_await record_nodes_of(change));
  const uint64_t number = CO_TRY(co_await store_->record_intent(change));
  open_.emplace(number, std::move(change));
  co_return number;
}

Task<Result<>> Recorder::record_done(uint64_t intent, std::vector<std::string> unsealed) {
  const auto at = open_.find(intent);
  if (at == open_.end()) co_return Result<>();
  const block::GraphChange change = std::move(at->second);
  open_.erase(at);
  // Before the wait, and after an error too: the store makes up for it.
  for (const auto& node : change.added) nodes_.insert({node.name, node.file_name});
  for (const auto& device : change.devices) devices_.insert(device.id);
  for (const std::string& name : change.removed) nodes_.erase(name);
  co_return co_await store_->record_done(intent, std::move(unsealed));
}

Task<Result<>> Recorder::record_sealed(std::string node) {
  if (!begun_) co_return Result<>();
  co_return co_await store_->record_sealed(std::move(node));
}

Task<Result<>> Recorder::forget_intent(uint64_t intent) {
  if (open_.erase(intent) == 0) co_return Result<>();
  co_return co_await store_->forget_intent(intent);
}

// A node may be snapshotted before the command that added it has been recorded.
Task<Result<>> Recorder::record_nodes_of(const block::GraphChange& change) {
  std::vector<std::string> names;
  for (const auto& node : change.added) names.push_back(node.backing_node);
  for (const auto& users : change.moved) names.push_back(users.from);
  for (const auto& backing : change.backings) {
    names.push_back(backing.overlay);
    names.push_back(backing.backing_node);
  }
  for (const std::string& name : names) {
    block::Node* node = nodes_.contains(name) ? nullptr : graph_->find_node(name);
    if (node != nullptr) CO_TRY(co_await record_tree(*node));
  }
  co_return Result<>();
}

// What there is --------------------------------------------------------------------------------

Task<Result<>> Recorder::sync() {
  if (!is_on()) co_return Result<>();
  CO_TRY(co_await sync_nodes());
  CO_TRY(co_await sync_devices());
  if (!exports_are_there_) co_return Result<>();
  co_return co_await sync_exports();
}

Task<Result<>> Recorder::sync_nodes() {
  Names coming;
  for (const auto& [number, change] : open_) {
    for (const auto& node : change.added) coming.insert({node.name, node.file_name});
  }
  std::vector<std::string> fresh;
  std::vector<std::string> all;
  for (const block::Node* node : graph_->nodes()) {
    all.push_back(node->name());
    if (!nodes_.contains(node->name()) && !coming.contains(node->name())) {
      fresh.push_back(node->name());
    }
  }
  const Names present(all.begin(), all.end());
  if (std::erase_if(nodes_, [&](const auto& name) { return !present.contains(name); }) != 0) {
    state::Store::Update update;
    update.keep_nodes(std::move(all));
    CO_TRY(co_await store_->write(std::move(update)));
  }
  // Parents come after their children in the graph, and their records cover what is below.
  for (const std::string& name : fresh) {
    if (!nodes_.contains(name)) CO_TRY(co_await record_node(name));
  }
  co_return Result<>();
}

Task<Result<>> Recorder::record_node(std::string name) {
  const auto claim = co_await graph_->claim({name});
  block::Node* node = graph_->find_node(name);
  if (node == nullptr || !graph_->holds(claim, node)) co_return Result<>();  // another by now
  if (nodes_.contains(name)) co_return Result<>();
  co_return co_await record_tree(*node);
}

Task<Result<>> Recorder::record_tree(block::Node& node) {
  auto records = co_await node_records(*graph_, node, nodes_);
  state::Store::Update update;
  std::vector<std::string> sealed;
  for (const state::NodeRecord& record : records) {
    nodes_.insert(record.name);
    if (record.seal == state::Seal::kSealed) sealed.push_back(record.name);
  }
  update.put_nodes(std::move(records));
  for (std::string& name : sealed) update.note_sealed(std::move(name));
  co_return co_await store_->write(std::move(update));
}

Task<Result<>> Recorder::sync_devices() {
  std::vector<std::string> fresh;
  Names present;
  for (const block::Device* device : graph_->devices()) {
    present.insert(device->id);
    if (!devices_.contains(device->id)) fresh.push_back(device->id);
  }
  state::Store::Update update;
  std::erase_if(devices_, [&](const std::string& id) {
    if (present.contains(id)) return false;
    update.remove(kind::kDevice, id);
    return true;
  });
  CO_TRY(co_await store_->write(std::move(update)));
  for (std::string& id : fresh) CO_TRY(co_await record_device(std::move(id)));
  co_return Result<>();
}

// The claim is held until the store has it in its queue: a pivot comes behind.
Task<Result<>> Recorder::record_device(std::string id) {
  const auto claim = co_await graph_->claim({id});
  if (graph_->find_device(id) == nullptr || devices_.contains(id)) co_return Result<>();
  const block::Node* head = CO_TRY(co_await graph_->find_head(id, ""));
  if (!graph_->holds(claim, head)) co_return Result<>();
  devices_.insert(id);
  co_return co_await put({.kind = std::string(kind::kDevice),
                          .id = id,
                          .definition = base::print_json(json::object{{"id", id}}),
                          .node = head->name()});
}

Task<Result<>> Recorder::sync_exports() {
  const std::vector<std::string> ids = exports_->ids();
  const Names present(ids.begin(), ids.end());
  state::Store::Update update;
  std::erase_if(exports_known_, [&](const std::string& id) {
    if (present.contains(id)) return false;
    update.remove(kind::kExport, id);
    return true;
  });
  CO_TRY(co_await store_->write(std::move(update)));
  for (const std::string& id : ids) {
    if (!exports_known_.contains(id)) CO_TRY(co_await record_export(id));
  }
  co_return Result<>();
}

Task<Result<>> Recorder::record_export(std::string id) {
  const auto claim = co_await graph_->claim({exports_->node_name(id)});
  if (exports_known_.contains(id)) co_return Result<>();
  std::string head = co_await exports_->head_name(id);
  if (head.empty()) co_return Result<>();  // it has gone meanwhile
  exports_known_.insert(id);
  co_return co_await put({.kind = std::string(kind::kExport),
                          .id = id,
                          .definition = exports_->definition(id),
                          .node = std::move(head)});
}

// What only arguments tell ---------------------------------------------------------------------

Task<Result<>> Recorder::put(state::Thing thing) {
  if (!is_on()) co_return Result<>();
  state::Store::Update update;
  update.put(std::move(thing));
  co_return co_await store_->write(std::move(update));
}

Task<Result<>> Recorder::remove(std::string_view of, std::string id) {
  if (!is_on()) co_return Result<>();
  state::Store::Update update;
  update.remove(of, std::move(id));
  co_return co_await store_->write(std::move(update));
}

Task<Result<>> Recorder::note(std::string_view command, JsonValue arguments, bool succeeded) {
  if (!is_on()) co_return Result<>();
  // They change nodes that are recorded already.
  if (command == "blockdev-reopen" || command == "change-backing-file") nodes_.clear();
  if (succeeded && arguments.is_object()) {
    make_paths_absolute(arguments);
    state::Store::Update update;
    CO_TRY(note_arguments(command, arguments.get_object(), update));
    CO_TRY(co_await store_->write(std::move(update)));
  }
  co_return co_await sync();
}

Result<> Recorder::note_arguments(std::string_view command, const json::object& arguments,
                                  state::Store::Update& update) const {
  const auto put = [&](std::string_view of, std::string_view id) {
    update.put({.kind = std::string(of),
                .id = std::string(id),
                .definition = base::print_json(arguments),
                .node = {}});
  };
  if (command == "chardev-add" || command == "chardev-change") {
    const std::string_view id = text_of(arguments, "id");
    if (is_bound_to_process(arguments)) {
      update.remove(kind::kChardev, std::string(id));
    } else {
      put(kind::kChardev, id);
    }
  } else if (command == "chardev-remove") {
    update.remove(kind::kChardev, std::string(text_of(arguments, "id")));
  } else if (command == "object-add") {
    put(kind::kObject, text_of(arguments, "id"));
  } else if (command == "object-del") {
    update.remove(kind::kObject, std::string(text_of(arguments, "id")));
  } else if (command == "nbd-server-start") {
    if (!is_bound_to_process(arguments)) put(kind::kServer, "nbd-server-start");
  } else if (command == "nbd-server-stop") {
    update.remove(kind::kServer, "nbd-server-start").remove(kind::kServer, "--nbd-server");
  }
  return {};
}

namespace {

void make_absolute(json::string& path) {
  if (path.empty()) return;
  std::error_code error;
  const auto absolute =
      std::filesystem::absolute(std::string_view(path.data(), path.size()), error);
  if (!error) path = absolute.string();
}

bool names_path(std::string_view member) {
  return member == "path" || member == "out" || member == "in" || member == "device";
}

}  // namespace

void make_paths_absolute(JsonValue& arguments) {
  if (json::array* list = arguments.if_array()) {
    for (JsonValue& element : *list) make_paths_absolute(element);
  }
  json::object* object = arguments.if_object();
  if (object == nullptr) return;
  // An abstract socket's name is no path.
  const JsonValue* abstract = object->if_contains("abstract");
  if (abstract != nullptr && abstract->is_bool() && abstract->get_bool()) return;
  for (auto& member : *object) {
    json::string* text = member.value().if_string();
    if (text == nullptr) {
      make_paths_absolute(member.value());
    } else if (names_path(member.key())) {
      make_absolute(*text);
    }
  }
}

bool is_bound_to_process(const JsonValue& arguments) {
  const json::object* object = arguments.if_object();
  if (object == nullptr) return false;
  const std::string_view type = text_of(*object, "type");
  if (type == "fd" || type == "stdio") return true;
  return std::ranges::any_of(
      *object, [](const auto& member) { return is_bound_to_process(member.value()); });
}

}  // namespace firn::daemon
