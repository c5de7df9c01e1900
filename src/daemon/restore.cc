#include "daemon/restore.h"

#include <fmt/format.h>

#include <boost/json/object.hpp>
#include <chrono>
#include <map>
#include <set>
#include <utility>

#include "api/codec.h"
#include "base/json.h"
#include "base/log.h"
#include "block/permissions.h"
#include "block/write_access.h"
#include "daemon/node_record.h"
#include "state/view.h"

namespace firn::daemon {

namespace kind = state::kind;
using async::Task;
using base::Error;
using base::ErrorKind;
using base::fail;
using base::Result;

namespace {

// On the node's home loop. ----------------------------------------------------------------------

// As the seal of a snapshot: what the daemon before us wrote, the kernel may still hold.
Task<Result<>> seal_here(block::Node& node) {
  CO_TRY(co_await node.flush());
  CO_TRY(co_await node.driver().set_read_only(true));
  node.set_read_only_mark(true);
  co_return block::update_permissions(node);
}

Task<void> mark_unsealed(block::Node& node) {
  node.seal_failed = true;
  node.seal_error = "it could not be sealed before the daemon ended";
  node.seal_is_final = true;
  for (block::Edge* edge : node.parents()) {
    if (edge->role() == block::EdgeRole::kBacking) edge->parent()->unsealed_below = &node;
  }
  co_return;
}

// The header may be from before or from after the change that a crash cut short.
Task<Result<>> set_header(block::Node& overlay, std::string name, std::string format) {
  const block::ImageFacts facts = CO_TRY(co_await overlay.driver().facts());
  if (facts.backing_filename == name && facts.backing_format == format) co_return Result<>();
  auto access = CO_TRY(co_await block::WriteAccess::take(overlay));
  auto result = co_await overlay.driver().set_backing_name(std::move(name), std::move(format));
  auto back = co_await access.give_back();
  access.keep();
  if (result) result = std::move(back);
  co_return result;
}

// On the control loop. --------------------------------------------------------------------------

class GraphRestorer {
 public:
  GraphRestorer(block::Graph& graph, state::Store& store, const state::Contents& contents)
      : graph_(graph), store_(store), contents_(contents) {}

  Task<Result<>> run() {
    CO_TRY(co_await check_files());
    for (const state::Intent& intent : contents_.intents) {
      base::log_warning(fmt::format("a change was cut short and is carried out now: {}",
                                    state::describe(intent.change)));
    }
    CO_TRY(co_await store_.begin());
    for (const state::Thing& thing : contents_.things) {
      if (thing.kind == kind::kObject) CO_TRY(graph_.add_io_loop(thing.id));
    }
    find_io_threads();
    for (const state::NodeRecord& node : contents_.nodes) CO_TRY(co_await open(node, 0));
    CO_TRY(co_await finish_intents());
    for (const state::Thing& thing : contents_.things) {
      if (thing.kind != kind::kDevice) continue;
      CO_TRY_CONTEXT(co_await graph_.add_device(thing.id, thing.node),
                     fmt::format("device '{}'", thing.id));
    }
    co_return Result<>();
  }

 private:
  // All that is wrong is told at once; nothing has been opened yet.
  Task<Result<>> check_files() {
    std::string wrong;
    co_await async::Loop::current().on_worker([&] {
      const bool same_boot = contents_.boot_id == state::posix_files().boot_id();
      for (const state::NodeRecord& node : contents_.nodes) {
        if (node.path.empty()) continue;
        const std::string one = state::check_file(state::posix_files(), node, same_boot);
        if (one.empty()) continue;
        if (!wrong.empty()) wrong += "; ";
        wrong += fmt::format("'{}' (node '{}'): {}", node.path, node.name, one);
      }
    });
    if (wrong.empty()) co_return Result<>();
    co_return fail(
        Error(ErrorKind::kOpenFileFailed,
              fmt::format("images are not as state file '{}' knows them: {}", store_.path(), wrong))
            .with_hint(fmt::format("bring them back as they were; or, if they are right as they "
                                   "are, run: firn state accept {}",
                                   store_.path())));
  }

  // A chain lives on one loop. An export may have moved it there after its nodes were recorded:
  // then the overlays that came later know.
  void find_io_threads() {
    for (const state::NodeRecord& node : contents_.nodes) {
      if (!node.io_thread.empty()) io_threads_.emplace(node.name, node.io_thread);
    }
    for (bool changed = true; changed;) {
      changed = false;
      for (const state::NodeRecord& node : contents_.nodes) {
        for (const std::string& child : {node.file, node.backing}) {
          if (!child.empty()) changed = share_io_thread(node.name, child) || changed;
        }
      }
    }
  }

  bool share_io_thread(const std::string& a, const std::string& b) {
    const auto of_a = io_threads_.find(a);
    const auto of_b = io_threads_.find(b);
    if ((of_a == io_threads_.end()) == (of_b == io_threads_.end())) return false;
    of_a == io_threads_.end() ? io_threads_.emplace(a, of_b->second)
                              : io_threads_.emplace(b, of_a->second);
    return true;
  }

  // Children first. A state whose nodes lead in a circle was damaged.
  Task<Result<>> open(const state::NodeRecord& record, int depth) {
    constexpr int kMaxDepth = 10000;
    if (graph_.find_node(record.name) != nullptr) co_return Result<>();
    for (const std::string& name : {record.file, record.backing}) {
      if (name.empty()) continue;
      const state::NodeRecord* child = contents_.find_node(name);
      if (child == nullptr || depth == kMaxDepth) {
        co_return fail(ErrorKind::kCorrupt,
                       fmt::format("state file '{}': node '{}' uses node '{}', which is not there",
                                   store_.path(), record.name, name));
      }
      CO_TRY(co_await open(*child, depth + 1));
    }
    auto opened = co_await open_one(record);
    if (opened) co_return Result<>();
    co_return fail(std::move(opened).error().with_context(fmt::format("node '{}'", record.name)));
  }

  Task<Result<>> open_one(const state::NodeRecord& record) {
    async::Loop* home = &graph_.default_io_loop();
    if (const auto thread = io_threads_.find(record.name); thread != io_threads_.end()) {
      home = graph_.find_io_loop(thread->second);
      if (home == nullptr) {
        co_return fail(ErrorKind::kNotFound,
                       fmt::format("iothread \"{}\" not found", thread->second));
      }
    }
    CO_TRY(co_await while_busy([&] { return restore_node(record, *home); }));
    block::Node* node = graph_.find_node(record.name);
    if (record.seal != state::Seal::kToSeal) co_return Result<>();
    CO_TRY_CONTEXT(co_await async::call_on(node->home(), seal_here(*node)),
                   "could not be sealed after a crash");
    state::Store::Update update;
    update.note_sealed(record.name);
    co_return co_await store_.write(std::move(update));
  }

  Task<Result<>> restore_node(const state::NodeRecord& record, async::Loop& home) {
    block::NodeSpec spec = CO_TRY(node_spec(record, graph_.registry()));
    block::Node* node = CO_TRY(co_await graph_.restore_node(std::move(spec), home, record.added));
    if (record.made_by_snapshot) graph_.mark_made_by_snapshot(*node);
    co_return Result<>();
  }

  Task<Result<>> finish_intents() {
    for (const state::Intent& intent : contents_.intents) {
      for (const auto& backing : intent.change.backings) {
        block::Node* node = graph_.find_node(backing.overlay);
        if (node == nullptr || backing.backing_file.empty()) continue;
        CO_TRY_CONTEXT(co_await async::call_on(node->home(), set_header(*node, backing.backing_file,
                                                                        backing.backing_format)),
                       fmt::format("node '{}': its header could not be given the backing file '{}'",
                                   backing.overlay, backing.backing_file));
      }
    }
    // Of layers that were written to when the crash came, nothing is remembered.
    state::Store::Update update;
    for (const state::NodeRecord& record : contents_.nodes) {
      if (record.seal == state::Seal::kSealed && !has_identity(record)) {
        update.note_sealed(record.name);
      }
      if (record.seal != state::Seal::kUnsealed) continue;
      block::Node* node = graph_.find_node(record.name);
      co_await async::call_on(node->home(), mark_unsealed(*node));
    }
    co_return co_await store_.write(std::move(update));
  }

  bool has_identity(const state::NodeRecord& record) const {
    const state::NodeRecord* node = &record;
    while (node != nullptr && !node->file.empty()) node = contents_.find_node(node->file);
    return node != nullptr && node->identity.has_value();
  }

  block::Graph& graph_;
  state::Store& store_;
  const state::Contents& contents_;
  std::map<std::string, std::string>
      io_threads_;  // by node; those on the default loop are not in it
};

Task<Result<>> add_export(Exports& exports, const base::JsonValue& definition) {
  co_return co_await exports.add(
      CO_TRY(api::decode_as<api::BlockExportOptions>(definition, api::InputMode::kJson)));
}

}  // namespace

Task<Result<>> while_busy(std::function<Task<Result<>>()> attempt) {
  constexpr auto kPatience = std::chrono::seconds(5);
  constexpr auto kPause = std::chrono::milliseconds(20);
  async::Loop& loop = async::Loop::current();
  const async::TimePoint end = loop.now() + kPatience;
  while (true) {
    auto result = co_await attempt();
    if (result || result.error().kind() != ErrorKind::kBusy || loop.now() >= end) co_return result;
    (void)co_await loop.sleep_for(kPause);
  }
}

Task<Result<>> restore_graph(block::Graph& graph, state::Store& store,
                             const state::Contents& contents) {
  GraphRestorer restorer(graph, store, contents);
  co_return co_await restorer.run();
}

Task<Result<>> restore_exports(Exports& exports, const state::Contents& contents) {
  for (const state::Thing& thing : contents.things) {
    if (thing.kind != kind::kExport) continue;
    const std::string shown = fmt::format("export '{}'", thing.id);
    base::JsonValue definition = CO_TRY_CONTEXT(base::parse_json(thing.definition), shown);
    if (definition.is_object()) definition.get_object()["node-name"] = thing.node;
    CO_TRY_CONTEXT(co_await while_busy([&] { return add_export(exports, definition); }), shown);
  }
  co_return Result<>();
}

}  // namespace firn::daemon
