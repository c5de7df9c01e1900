#include "tests/sim/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "block/fork.h"
#include "block/revert.h"
#include "block/snapshot.h"

namespace firn::sim {

using async::Loop;
using async::Task;
using std::chrono::microseconds;
namespace flag = block::flag;

Task<void> Session::main() {
  world_.phase = Phase::kOpening;
  auto graph = block::Graph::create(process_, world_.registry, state_);
  if (!good(graph, "creating the graph")) co_return;
  co_await serve(**graph);
  if (process_.alive()) world_.phase = Phase::kClosing;
  const auto closed = co_await (*graph)->close();
  if (!good(closed, "closing")) co_return;
  closed_in_order_ = true;
  world_.phase = Phase::kClosed;
}

Task<void> Session::serve(block::Graph& graph) {
  block::NodeSpec spec = world_.spec_of(world_.chain.back(), false);
  spec.node_name = "head";
  const auto node = co_await graph.add_node(std::move(spec));
  if (!good(node, "opening the chain")) co_return;
  const auto device = co_await graph.add_device("vda", "head");
  if (!good(device, "adding the device")) co_return;
  const auto attached = co_await graph.attach(
      root_, **node, block::permission::kConsistentRead | block::permission::kWrite,
      block::permission::kAll);
  if (attached) {
    if (process_.alive()) world_.phase = Phase::kServing;
    async::TaskScope scope;
    scope.spawn(take_snapshots(graph));
    scope.spawn(merges_.run(graph));
    co_await async::call_on(*(*device)->home, run_clients());
    clients_done_ = true;
    co_await scope.join();
    if (process_.alive()) world_.phase = Phase::kClosing;
    co_await graph.detach(root_);
  } else {
    static_cast<void>(good(attached, "attaching"));
  }
  static_cast<void>(good(co_await graph.remove_device("vda"), "removing the device"));
}

// Snapshots. --------------------------------------------------------------------------------------

Task<void> Session::take_snapshots(block::Graph& graph) {
  Loop& loop = Loop::current();
  for (uint32_t i = 0; i < world_.plan.most_snapshots; ++i) {
    co_await loop.sleep_for(microseconds(loop.random() % world_.plan.snapshot_pause_us));
    if (over() || clients_done_) co_return;
    double drawn = static_cast<double>(world_.random().below(1000)) / 1000;
    const auto falls_on = [&drawn](double share) { return (drawn -= share) < 0; };
    const bool good = falls_on(world_.plan.revert_share) ? co_await revert_once(graph)
                      : falls_on(world_.plan.fork_share) ? co_await fork_once(graph)
                                                         : co_await take_one_snapshot(graph);
    if (!good) co_return;
  }
}

// A name of its own, whatever an earlier life left behind.
std::string Session::new_image_path() {
  return fmt::format("/images/{}.qcow2", process_.world().steps());
}

Task<bool> Session::take_one_snapshot(block::Graph& graph) {
  block::SnapshotRequest request;
  request.device = "vda";
  request.overlay_path = new_image_path();
  request.overlay_options = Plan::draw_image(world_.random(), false);
  // Now and then power goes within the command, wherever that is.
  if (world_.random().chance(0.3)) {
    world_.disk.cut_power_at_step(world_.disk.steps() + world_.random().between(1, 150));
  }
  world_.phase = Phase::kPreparing;
  const std::string old_head = world_.chain.back().path;
  const Tick sent = world_.oracle.now();
  const std::string overlay_path = request.overlay_path;
  const auto report = co_await block::take_snapshot(graph, std::move(request));
  // A commit of the head keeps snapshots off.
  if (!report && world_.merge && report.error().kind() == base::ErrorKind::kBusy) {
    world_.phase = Phase::kServing;
    co_return true;
  }
  if (!good(report, "the snapshot")) {
    if (process_.alive()) judge_failed_snapshot(overlay_path);
    co_return false;
  }
  // It may have been merged away already.
  const auto frozen = std::ranges::find(world_.chain, old_head, &Layer::path);
  if (frozen != world_.chain.end() && frozen + 1 != world_.chain.end() && !frozen->in_flux) {
    frozen->command = {sent, world_.oracle.now()};
  }
  world_.phase = Phase::kServing;
  ++world_.counters.snapshots;
  world_.counters.carried_requests += report->in_flight;
  co_return true;
}

// It leaves nothing, unless it failed after the pivot.
void Session::judge_failed_snapshot(const std::string& overlay_path) {
  ++world_.counters.failed_snapshots;
  if (world_.phase == Phase::kPreparing) world_.phase = Phase::kServing;
  if (world_.chain.back().path == overlay_path) return;
  if (world_.disk.find(overlay_path) != nullptr) {
    world_.fail("a snapshot that failed has left " + overlay_path + " behind");
  }
}

// Reverts and forks. ------------------------------------------------------------------------------

namespace {

// On the device's loop: the node-names of a chain, the head first.
Task<std::vector<std::string>> names_of_chain(const block::Node& head) {
  std::vector<std::string> names;
  for (const block::Node* node = &head; node != nullptr; node = node->children().backing.child()) {
    names.push_back(node->name());
  }
  co_return names;
}

}  // namespace

std::optional<size_t> Session::draw_judged_layer() {
  std::vector<size_t> judged;
  for (size_t i = 0; i + 1 < world_.chain.size(); ++i) {
    if (world_.chain[i].content) judged.push_back(i);
  }
  if (judged.empty()) return std::nullopt;
  return judged[world_.random().below(judged.size())];
}

Task<bool> Session::revert_once(block::Graph& graph) {
  const auto target = draw_judged_layer();
  if (!target) co_return true;
  const block::Node* head = *co_await graph.find_head("vda", "");
  const auto names = co_await async::call_on(head->home(), names_of_chain(*head));
  CHECK(names.size() == world_.chain.size());
  block::RevertRequest request;
  request.layer = names[names.size() - 1 - *target];
  request.disk.device = "vda";
  request.disk.overlay_path = new_image_path();
  request.disk.overlay_options = Plan::draw_image(world_.random(), false);
  const std::string overlay_path = request.disk.overlay_path;
  world_.paths[request.layer] = world_.chain[*target].path;
  if (world_.random().chance(0.3)) {
    world_.disk.cut_power_at_step(world_.disk.steps() + world_.random().between(1, 150));
  }
  world_.phase = Phase::kPreparing;
  ++reverts_;
  world_.revert.emplace(
      Revert{.sent = world_.oracle.now(), .content = *world_.chain[*target].content});
  const auto report = co_await block::revert(graph, std::move(request));
  if (!process_.alive()) co_return false;
  ++reverts_;
  if (world_.revert->recorded) world_.end_revert();  // it stands, whatever failed after
  world_.revert.reset();
  if (!good(report, "the revert")) {
    judge_failed_snapshot(overlay_path);
    co_return false;
  }
  world_.phase = Phase::kServing;
  ++world_.counters.reverts;
  co_return true;
}

Task<bool> Session::fork_once(block::Graph& graph) {
  const auto target = draw_judged_layer();
  if (!target) co_return true;
  const block::Node* head = *co_await graph.find_head("vda", "");
  const auto names = co_await async::call_on(head->home(), names_of_chain(*head));
  block::ForkRequest request;
  request.id = fmt::format("fork{}", process_.world().steps());
  request.overlay.node_name = names[names.size() - 1 - *target];
  request.overlay.overlay_path = new_image_path();
  request.overlay.overlay_node_name = request.id + "-head";
  request.overlay.overlay_options = Plan::draw_image(world_.random(), false);
  const std::string path = request.overlay.overlay_path;
  const std::string id = request.id;
  const std::string original = world_.chain[*target].path;
  if (world_.random().chance(0.3)) {
    world_.disk.cut_power_at_step(world_.disk.steps() + world_.random().between(1, 150));
  }
  const auto report = co_await block::fork_device(graph, std::move(request));
  if (!good(report, "the fork")) {
    if (process_.alive() && world_.disk.find(path) != nullptr) {
      world_.fail("a fork that failed has left " + path + " behind");
    }
    co_return false;
  }
  ++world_.counters.forks;
  world_.phase = Phase::kServing;
  world_.branches.push_back({.path = path, .format = "qcow2", .copy_of = original});
  co_return good(co_await graph.remove_device(id), "removing the fork");
}

// Clients. ----------------------------------------------------------------------------------------

Task<void> Session::run_clients() {
  async::TaskScope scope;
  for (uint32_t i = 0; i < world_.plan.clients; ++i) scope.spawn(run_client(i));
  co_await scope.join();
}

void Session::draw_range(uint64_t& first_sector, uint64_t& sectors) {
  async::SimRandom& random = world_.random();
  const Plan& plan = world_.plan;
  const uint64_t within =
      random.chance(0.8) ? std::min(plan.hot_sectors, plan.disk_sectors) : plan.disk_sectors;
  sectors = random.between(1, std::min(within, plan.most_request_sectors));
  first_sector = random.below(within - sectors + 1);
  if (random.chance(0.3)) {  // as file systems do: pages of 4 KiB
    first_sector = first_sector / 8 * 8;
    sectors = std::min((sectors + 7) / 8 * 8, plan.disk_sectors - first_sector);
  }
}

Task<void> Session::run_client(uint32_t client) {
  Loop& loop = Loop::current();
  async::SimRandom& random = world_.random();
  const Plan& plan = world_.plan;
  for (uint32_t i = 0; i < plan.requests_per_client && !over(); ++i) {
    if (random.chance(0.1)) {
      co_await loop.sleep_for(microseconds(random.below(2000)));
      if (over()) break;
    }
    Request request{.client = client, .fua = random.chance(plan.fua_share)};
    draw_range(request.first_sector, request.sectors);
    double drawn = static_cast<double>(random.below(1000)) / 1000;
    const auto falls_on = [&drawn](double share) { return (drawn -= share) < 0; };
    if (falls_on(plan.read_share)) {
      co_await read(request.first_sector, request.sectors);
    } else if (falls_on(plan.flush_share)) {
      co_await flush();
    } else {
      request.kind = falls_on(plan.zero_share)      ? Request::Kind::kZero
                     : falls_on(plan.discard_share) ? Request::Kind::kDiscard
                                                    : Request::Kind::kWrite;
      co_await change(request);
    }
  }
}

Task<void> Session::change(Request request) {
  const uint64_t offset = request.first_sector * kSectorBytes;
  const uint64_t length = request.sectors * kSectorBytes;
  const block::Flags flags = request.fua ? flag::kFua : flag::kNone;
  const RequestId id = world_.oracle.begin(request);
  base::Result<> result;
  const char* what = "a write";
  if (request.kind == Request::Kind::kWrite) {
    ++world_.counters.writes;
    std::vector<std::byte> buffer(length);
    world_.oracle.fill(id, buffer);
    const async::IoVec iov(buffer.data(), buffer.size());
    result = co_await root_.write(offset, iov, flags);
  } else if (request.kind == Request::Kind::kZero) {
    what = "a zeroing";
    ++world_.counters.zeroings;
    const bool may_unmap = world_.random().chance(0.5);
    result = co_await root_.write_zeroes(offset, length, flags | (may_unmap ? flag::kMayUnmap : 0));
  } else {
    what = "a discard";
    ++world_.counters.discards;
    result = co_await root_.discard(offset, length, flags);
  }
  world_.oracle.end(id, good(result, what));
}

Task<void> Session::read(uint64_t first_sector, uint64_t sectors) {
  ++world_.counters.reads;
  std::vector<std::byte> buffer(sectors * kSectorBytes, std::byte{0xee});
  const async::IoVec iov(buffer.data(), buffer.size());
  const Tick sent = world_.oracle.now();
  const uint64_t reverts_before = reverts_;
  const auto result = co_await root_.read(first_sector * kSectorBytes, iov);
  if (!good(result, "a read")) co_return;
  // After an fsync that failed, Linux may forget what was written: that is not the reader's fault.
  if (world_.plan.faults == Faults::kFailedSyncs && world_.faults_injected != 0) co_return;
  // During a revert it may find either state.
  if (reverts_ % 2 != 0 || reverts_ != reverts_before) co_return;
  if (auto bad = world_.oracle.check_read(first_sector, buffer, sent)) world_.fail(*std::move(bad));
}

Task<void> Session::flush() {
  ++world_.counters.flushes;
  const Tick sent = world_.oracle.now();
  const auto result = co_await root_.flush();
  if (good(result, "a flush")) world_.oracle.flushed(sent);
}

}  // namespace firn::sim
