#include "tests/sim/groups.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <utility>

#include "async/file.h"
#include "async/scope.h"
#include "async/sim_disk.h"
#include "async/sim_world.h"
#include "block/graph.h"
#include "block/permissions.h"
#include "block/transaction.h"
#include "drivers/file/file_driver.h"
#include "drivers/qcow2/driver.h"
#include "drivers/raw/raw_driver.h"
#include "tests/sim/oracle.h"
#include "tests/sim/plan.h"

namespace firn::sim {
namespace {

using async::Loop;
using async::Task;
using base::Result;
using std::chrono::microseconds;
namespace permission = block::permission;

constexpr uint64_t kDiskSectors = 256;
constexpr uint64_t kDiskBytes = kDiskSectors * kSectorBytes;
constexpr uint64_t kRequestSectors = 8;

// What one seed tries.
struct GroupPlan {
  explicit GroupPlan(uint64_t seed) {
    async::SimRandom random(async::sim_mix(seed ^ 0x67726f7570));
    loops = static_cast<uint32_t>(random.between(1, 4));
    disks = static_cast<uint32_t>(random.between(2, random.chance(0.2) ? 16 : 6));
    clients = static_cast<uint32_t>(random.between(1, 6));
    requests = static_cast<uint32_t>(random.between(20, 120));
    groups = static_cast<uint32_t>(random.between(1, 6));
    raw_base = random.chance(0.3);
    power_cut = random.chance(0.5);
  }
  std::string describe() const {
    return fmt::format("{} disks on {} loops, {} clients of {} requests, up to {} groups{}{}",
                       disks, loops, clients, requests, groups, raw_base ? ", raw bases" : "",
                       power_cut ? ", power cut" : "");
  }
  uint32_t loops, disks, clients, requests, groups;
  bool raw_base, power_cut;
};

// In most worlds a pivot reaches another loop long before a client can write to one disk and then
// to the next. In half of these, disks are fast and now and then a loop hears late of what is
// posted to it.
async::SimOptions machine_of(uint64_t seed) {
  async::SimOptions options = async::SimOptions::varied(seed);
  async::SimRandom random(async::sim_mix(seed ^ 0x6c617465));
  if (random.chance(0.5)) {
    options.post = {microseconds(0), microseconds(5), microseconds(2000), 0.2};
    options.io = {microseconds(1), microseconds(3), microseconds(50), 0.01};
    options.inline_io_probability = 0.9;
  }
  return options;
}

// One disk of the machine.
struct Disk {
  Disk(uint32_t number, std::string base_format)
      : index(number), root(fmt::format("the clients of disk {}", number)) {
    chain.push_back({fmt::format("/images/base{}", number), std::move(base_format)});
  }
  std::string device() const { return fmt::format("vd{}", index); }

  uint32_t index;
  block::Root root;
  Loop* home = nullptr;
  std::vector<std::pair<std::string, std::string>> chain;  // path and format, as the state has it
};

// A group that was acknowledged: for each disk, the node whose content is of that moment.
struct FrozenGroup {
  Tick sent = 0;
  Tick replied = 0;
  std::vector<block::Node*> layers;
};

class GroupWorld final : public block::StateStore {
 public:
  GroupWorld(uint64_t seed, bool trace)
      : plan_(seed),
        machine_(seed, machine_of(seed)),
        disk_(machine_.add_disk({.sector_bytes = 512})),
        oracle_(seed, plan_.disks * kDiskSectors) {
    if (trace) machine_.trace_to(stderr);
    file::register_drivers(registry_);
    raw::register_drivers(registry_);
    qcow2::register_drivers(registry_);
    for (uint32_t i = 0; i < plan_.disks; ++i) {
      disks_.push_back(std::make_unique<Disk>(i, plan_.raw_base ? "raw" : "qcow2"));
    }
  }

  Outcome run() {
    const auto ran = machine_.run(live());
    if (!ran) fail(ran.error().text());
    if (failure_) *failure_ += "\n  plan: " + plan_.describe();
    Outcome outcome;
    outcome.failure = std::move(failure_);
    outcome.counters = counters_;
    outcome.trace_hash = machine_.trace_hash();
    outcome.steps = machine_.steps();
    return outcome;
  }

  // The state: all of a group, or nothing.
  Task<Result<uint64_t>> record_intent(block::GraphChange change) override {
    if (!co_await pass_time()) co_return lost();
    intent_ = std::move(change);
    for (size_t i = 0; i < intent_.added.size(); ++i) {
      disk_of(intent_.moved[i].device)
          .chain.emplace_back(intent_.added[i].path, intent_.added[i].format);
    }
    if (!co_await pass_time()) co_return lost();
    co_return uint64_t{1};
  }
  Task<Result<>> record_done(uint64_t, std::vector<std::string>) override {
    if (!co_await pass_time()) co_return lost();
    co_return Result<>();
  }
  Task<Result<>> record_sealed(std::string) override {
    if (!co_await pass_time()) co_return lost();
    co_return Result<>();
  }
  Task<Result<>> forget_intent(uint64_t) override {
    if (!co_await pass_time()) co_return lost();
    for (const auto& moved : intent_.moved) disk_of(moved.device).chain.pop_back();
    co_return Result<>();
  }

 private:
  static std::unexpected<base::Error> lost() {
    return base::fail(base::ErrorKind::kShutdown, "the state's disk is gone");
  }
  Task<bool> pass_time() {
    co_await Loop::current().sleep_for(microseconds(machine_.random().below(2000)));
    co_return daemon_->alive();
  }
  Disk& disk_of(const std::string& device) {
    return **std::ranges::find(disks_, device, [](const auto& disk) { return disk->device(); });
  }
  void fail(std::string text) {
    if (!failure_) failure_ = std::move(text);
  }
  bool over() const { return failure_.has_value() || !daemon_->alive(); }
  template <typename T>
  bool good(const Result<T>& result, const char* what) {
    if (result) return daemon_->alive();
    if (daemon_->alive()) fail(fmt::format("{}: {}", what, result.error().text()));
    return false;
  }

  // The life of the machine. ----------------------------------------------------------------------

  Task<void> live() {
    async::SimProcess& maker = machine_.add_process("maker", disk_);
    daemon_ = &maker;
    maker.start(make_bases());
    co_await maker.wait_ended();
    if (failure_) co_return;
    daemon_ = &machine_.add_process("daemon", disk_);
    if (plan_.power_cut) {
      const uint64_t most = uint64_t{1} << machine_.random().between(7, 14);
      disk_.cut_power_at_step(disk_.steps() + machine_.random().between(1, most));
    }
    daemon_->start(serve());
    co_await daemon_->wait_ended();
    disk_.cut_power_at_step(0);
    const bool cut = !daemon_->alive();
    if (cut) ++counters_.power_cuts[static_cast<size_t>(Phase::kServing)];
    oracle_.cut();
    if (failure_) co_return;
    async::SimProcess& inspector = machine_.add_process("inspector", disk_);
    daemon_ = &inspector;
    inspector.start(inspect(cut));
    co_await inspector.wait_ended();
  }

  Task<void> make_bases() {
    async::FileSystem& files = Loop::current().files();
    static_cast<void>(good(co_await files.make_directory("/images"), "making the folder"));
    for (const auto& disk : disks_) {
      static_cast<void>(good(co_await make_base(disk->chain.front()), "making a base"));
    }
    static_cast<void>(good(co_await files.sync_directory("/images"), "syncing the folder"));
    static_cast<void>(good(co_await files.sync_directory("/"), "syncing the root"));
  }

  Task<Result<>> make_base(std::pair<std::string, std::string> base) {
    {
      auto file = CO_TRY(
          co_await Loop::current().files().open(base.first, {.writable = true, .create = true}));
      if (base.second == "raw") CO_TRY(co_await file->truncate(kDiskBytes));
      CO_TRY(co_await file->sync());
    }
    if (base.second == "raw") co_return Result<>();
    block::NodeSpec spec = CO_TRY(co_await block::file_spec(registry_, base.first, {}));
    auto tree = CO_TRY(co_await block::open_tree(registry_, std::move(spec)));
    block::Edge edge(block::EdgeRole::kRoot, nullptr, "the maker");
    edge.attach(tree.top, permission::kWrite | permission::kResize, permission::kAll);
    block::DriverEntry::CreateRequest request;
    request.size_bytes = kDiskBytes;
    auto created = co_await registry_.find("qcow2")->create(edge, request);
    edge.detach();
    CO_TRY(co_await block::close_tree(std::move(tree)));
    co_return created;
  }

  block::NodeSpec spec_of(const std::pair<std::string, std::string>& layer, bool read_only) const {
    auto options = std::make_unique<file::Options>();
    options->filename = layer.first;
    auto file = std::make_unique<block::NodeSpec>();
    file->driver = "file";
    file->driver_options = std::move(options);
    file->options.read_only = read_only;
    block::NodeSpec spec;
    spec.driver = layer.second;
    spec.options.read_only = read_only;
    spec.file = std::move(file);
    return spec;
  }

  // The daemon. -----------------------------------------------------------------------------------

  Task<void> serve() {
    auto graph = block::Graph::create(*daemon_, registry_, *this);
    if (!good(graph, "creating the graph")) co_return;
    bool open = true;
    for (uint32_t i = 1; i < plan_.loops && open; ++i) {
      open = good((*graph)->add_io_loop(fmt::format("t{}", i)), "adding a loop");
    }
    for (const auto& disk : disks_) open = open && co_await open_disk(**graph, *disk);
    if (open) co_await work(**graph);
    for (const auto& disk : disks_) co_await (*graph)->detach(disk->root);
    static_cast<void>(good(co_await (*graph)->close(), "closing"));
  }

  Task<bool> open_disk(block::Graph& graph, Disk& disk) {
    block::NodeSpec spec = spec_of(disk.chain.front(), false);
    spec.node_name = fmt::format("base{}", disk.index);
    const auto node = co_await graph.add_node(std::move(spec));
    if (!good(node, "opening a disk")) co_return false;
    const uint32_t loop = disk.index % plan_.loops;
    if (loop != 0) {
      Loop* const home = graph.find_io_loop(fmt::format("t{}", loop));
      if (!good(co_await graph.move_to_loop(**node, *home), "moving a disk")) co_return false;
    }
    disk.home = &(*node)->home();
    const auto device = co_await graph.add_device(disk.device(), (*node)->name());
    if (!good(device, "adding a device")) co_return false;
    const auto attached = co_await graph.attach(
        disk.root, **node, permission::kConsistentRead | permission::kWrite, permission::kAll);
    co_return good(attached, "attaching");
  }

  Task<void> work(block::Graph& graph) {
    async::TaskScope scope;
    clients_ = plan_.clients;
    for (uint32_t i = 0; i < plan_.clients; ++i) {
      // A client of its own loop: nothing but a gate keeps it from overtaking a pivot elsewhere.
      scope.spawn(async::call_on(*disks_[i % disks_.size()]->home, run_client(i)));
    }
    scope.spawn(take_groups(graph));
    co_await scope.join();
    if (!over()) co_await judge_groups();
  }

  // Writes to one disk, and when that is done to another.
  Task<void> run_client(uint32_t client) {
    async::SimRandom& random = machine_.random();
    for (uint32_t i = 0; i < plan_.requests && !over(); ++i) {
      Disk& disk = *disks_[random.below(disks_.size())];
      if (random.chance(0.05)) {
        co_await flush_all();
      } else {
        Request request{.kind = Request::Kind::kWrite, .client = client};
        request.first_sector =
            disk.index * kDiskSectors + random.below(kDiskSectors / kRequestSectors) * 8;
        request.sectors = random.between(1, kRequestSectors);
        const RequestId id = oracle_.begin(request);
        const bool ok = co_await async::call_on(*disk.home, write(disk, request, id));
        oracle_.end(id, ok);
        ++counters_.writes;
      }
    }
    --clients_;
  }

  Task<bool> write(Disk& disk, Request request, RequestId id) {
    std::vector<std::byte> buffer(request.sectors * kSectorBytes);
    oracle_.fill(id, buffer);
    const async::IoVec iov(buffer.data(), buffer.size());
    const uint64_t offset = (request.first_sector - disk.index * kDiskSectors) * kSectorBytes;
    co_return good(co_await disk.root.write(offset, iov, block::flag::kNone), "a write");
  }

  Task<void> flush_all() {
    const Tick sent = oracle_.now();
    bool ok = true;
    for (const auto& disk : disks_) {
      ok = ok && good(co_await async::call_on(*disk->home, flush(*disk)), "a flush");
    }
    ++counters_.flushes;
    if (ok) oracle_.flushed(sent);
  }
  static Task<Result<>> flush(Disk& disk) { co_return co_await disk.root.flush(); }

  Task<void> take_groups(block::Graph& graph) {
    async::SimRandom& random = machine_.random();
    for (uint32_t i = 0; i < plan_.groups && clients_ != 0 && !over(); ++i) {
      co_await Loop::current().sleep_for(microseconds(random.below(4000)));
      if (over() || !co_await take_group(graph, i)) co_return;
    }
  }

  Task<bool> take_group(block::Graph& graph, uint32_t number) {
    FrozenGroup group;
    std::vector<block::TransactionAction> actions;
    for (const auto& disk : disks_) {
      group.layers.push_back((co_await graph.find_head(disk->device(), "")).value_or(nullptr));
      block::SnapshotRequest request;
      request.device = disk->device();
      request.overlay_path = fmt::format("/images/s{}.{}", disk->index, number);
      actions.emplace_back(std::move(request));
    }
    std::ranges::rotate(actions, actions.begin() + static_cast<ptrdiff_t>(number % actions.size()));
    group.sent = oracle_.now();
    const Result<> taken = (co_await block::run_transaction(graph, std::move(actions))).result;
    // A loop may be late at its gate: then nothing has changed.
    if (!taken && daemon_->alive() && taken.error().kind() == base::ErrorKind::kBusy) {
      ++counters_.failed_snapshots;
      co_return true;
    }
    if (!good(taken, "a group")) co_return false;
    group.replied = oracle_.now();
    groups_.push_back(std::move(group));
    ++counters_.snapshots;
    co_return true;
  }

  // Judging. --------------------------------------------------------------------------------------

  Task<void> judge_groups() {
    for (const FrozenGroup& group : groups_) {
      std::vector<std::byte> bytes(disks_.size() * kDiskBytes);
      for (size_t i = 0; i < disks_.size(); ++i) {
        const async::IoVec iov(bytes.data() + i * kDiskBytes, kDiskBytes);
        if (!good(co_await async::call_on(*disks_[i]->home, read_node(*group.layers[i], iov)),
                  "reading a layer")) {
          co_return;
        }
      }
      Content found;
      if (auto bad = oracle_.check_frozen(bytes, group.sent, group.replied, found)) {
        fail(fmt::format("a group is no point in time: {}", *bad));
      }
      ++counters_.frozen_layers_judged;
    }
  }
  static Task<Result<>> read_node(block::Node& node, async::IoVec iov) {
    co_return co_await node.driver().read(0, iov, block::flag::kNone);
  }

  // All disks as the state says, after the daemon's end.
  Task<void> inspect(bool cut) {
    std::vector<std::byte> bytes(disks_.size() * kDiskBytes);
    for (const auto& disk : disks_) {
      const async::IoVec iov(bytes.data() + disk->index * kDiskBytes, kDiskBytes);
      if (!good(co_await read_disk(*disk, iov), "reading a disk after the end")) co_return;
    }
    Content found;
    auto bad =
        cut ? oracle_.check_after_cut(bytes, found) : oracle_.check_after_close(bytes, found);
    if (bad) fail(*std::move(bad));
    ++counters_.images_checked;
  }

  Task<Result<>> read_disk(const Disk& disk, async::IoVec iov) {
    auto tree = CO_TRY(co_await block::open_tree(registry_, spec_of(disk.chain.back(), true)));
    auto read = co_await tree.top->driver().read(0, iov, block::flag::kNone);
    CO_TRY(co_await block::close_tree(std::move(tree)));
    co_return read;
  }

  GroupPlan plan_;
  async::SimWorld machine_;
  async::SimDisk& disk_;
  Oracle oracle_;
  block::Registry registry_;
  async::SimProcess* daemon_ = nullptr;  // or who is at work now
  std::vector<std::unique_ptr<Disk>> disks_;
  std::vector<FrozenGroup> groups_;
  block::GraphChange intent_;
  uint32_t clients_ = 0;  // at work
  Counters counters_;
  std::optional<std::string> failure_;
};

}  // namespace

Outcome run_group_seed(uint64_t seed, const ScenarioOptions& options) {
  GroupWorld world(seed, options.trace);
  return world.run();
}

}  // namespace firn::sim
