#include "block/claims.h"

#include <algorithm>
#include <optional>

#include "base/check.h"

namespace firn::block {

// ChainMap --------------------------------------------------------------------------------------

void ChainMap::add(Node& node, ChainId chain) {
  CHECK(nodes_.emplace(&node, chain).second);
  members_[chain].nodes.push_back(&node);
}

void ChainMap::add(Root& root, ChainId chain) {
  CHECK(roots_.emplace(&root, chain).second);
  members_[chain].roots.push_back(&root);
}

void ChainMap::remove(const Node& node) {
  const auto at = nodes_.find(&node);
  CHECK(at != nodes_.end());
  std::erase(members_[at->second].nodes, &node);
  nodes_.erase(at);
}

void ChainMap::remove(const Root& root) {
  const auto at = roots_.find(&root);
  CHECK(at != roots_.end());
  std::erase(members_[at->second].roots, &root);
  roots_.erase(at);
}

ChainId ChainMap::of(const Node* node) const {
  const auto at = nodes_.find(node);
  return at == nodes_.end() ? 0 : at->second;
}

ChainId ChainMap::of(const Root* root) const {
  const auto at = roots_.find(root);
  return at == roots_.end() ? 0 : at->second;
}

const std::vector<Root*>& ChainMap::roots_of(ChainId chain) const {
  static const std::vector<Root*> kNone;
  const auto at = members_.find(chain);
  return at == members_.end() ? kNone : at->second.roots;
}

ChainIds ChainMap::all() const {
  ChainIds chains;
  for (const auto& [chain, members] : members_) chains.insert(chain);
  return chains;
}

namespace {

// Which of `nodes` are connected: a union-find over their places in the list.
class Components {
 public:
  explicit Components(const std::vector<Node*>& nodes) : above_(nodes.size()) {
    for (size_t i = 0; i < nodes.size(); ++i) {
      above_[i] = i;
      place_.emplace(nodes[i], i);
    }
    for (const Node* node : nodes) {
      for (const Edge* edge : {&node->children().file, &node->children().backing}) {
        // A child that another claim's command opens has no place here yet.
        const auto child = edge->child() == nullptr ? place_.end() : place_.find(edge->child());
        if (child != place_.end()) above_[find(child->second)] = find(place_.at(node));
      }
    }
  }
  std::optional<size_t> component_of(const Node* node) {
    const auto at = place_.find(node);
    if (at == place_.end()) return std::nullopt;
    return find(at->second);
  }

 private:
  size_t find(size_t i) {
    while (above_[i] != i) i = above_[i] = above_[above_[i]];
    return i;
  }
  std::vector<size_t> above_;
  std::unordered_map<const Node*, size_t> place_;
};

}  // namespace

void ChainMap::regroup(const ChainIds& chains) {
  Members all;
  for (const ChainId chain : chains) {
    const auto at = members_.find(chain);
    if (at == members_.end()) continue;
    all.nodes.insert(all.nodes.end(), at->second.nodes.begin(), at->second.nodes.end());
    all.roots.insert(all.roots.end(), at->second.roots.begin(), at->second.roots.end());
    members_.erase(at);
  }
  Components components(all.nodes);
  std::unordered_map<size_t, ChainId> numbers;
  const auto number_of = [&](const Node* node) {
    const auto component = node == nullptr ? std::nullopt : components.component_of(node);
    if (!component) return make_chain();
    const auto [at, added] = numbers.try_emplace(*component, 0);
    if (added) at->second = make_chain();
    return at->second;
  };
  for (Node* node : all.nodes) {
    const ChainId chain = number_of(node);
    nodes_[node] = chain;
    members_[chain].nodes.push_back(node);
  }
  for (Root* root : all.roots) {
    const ChainId chain = number_of(root->head());
    roots_[root] = chain;
    members_[chain].roots.push_back(root);
  }
}

// ClaimQueue ------------------------------------------------------------------------------------

struct ChainClaim::Request {
  explicit Request(ClaimKeys own_keys) : keys(std::move(own_keys)) {}
  ClaimKeys keys;
  bool held = false;
  ChainIds chains;        // while it is held
  ChainId own_chain = 0;  // one of them
  async::TimePoint reserves_until;
  std::set<std::string, std::less<>> names;
  async::WaitList waiter;
};

void ChainClaim::drop() {
  if (queue_ != nullptr) std::exchange(queue_, nullptr)->release(request_);
}

ClaimQueue::ClaimQueue(Hooks hooks) : hooks_(std::move(hooks)) {
  timer_.queue = this;
  timer_.fire = [](async::Timer& timer) { static_cast<PatienceTimer&>(timer).queue->grant(); };
}

ClaimQueue::~ClaimQueue() { CHECK(requests_.empty() && !timer_.armed); }

Task<ChainClaim> ClaimQueue::claim(ClaimKeys keys) {
  Request& request = requests_.emplace_back(std::move(keys));
  request.reserves_until = async::Loop::current().now() + kReserveTime;
  grant();
  for (;;) {
    while (!request.held) co_await request.waiter.wait();
    // One of the names may have come to mean something since its turn came.
    if (covers(request)) break;
    request.held = false;
    request.chains.clear();
    grant();
  }
  co_return ChainClaim(this, &request);
}

bool ClaimQueue::covers(const Request& request) const {
  if (request.keys.all) return true;
  return std::ranges::includes(request.chains, hooks_.resolve(request.keys));
}

void ClaimQueue::hold(Request& request, ChainIds chains) {
  request.held = true;
  request.chains = std::move(chains);
  request.own_chain = hooks_.make_chain();
  request.chains.insert(request.own_chain);
  request.waiter.wake_all();
}

void ClaimQueue::grant() {
  ChainIds taken;  // by those who hold, and by those who wait before
  bool any_taken = false;
  bool all_taken = false;
  const auto take = [&](const ClaimKeys& keys, const ChainIds& chains) {
    taken.insert(chains.begin(), chains.end());
    any_taken = true;
    all_taken = all_taken || keys.all;
  };
  for (const Request& request : requests_) {
    if (request.held) take(request.keys, request.chains);
  }
  async::Loop& loop = async::Loop::current();
  std::optional<async::TimePoint> next;
  for (Request& request : requests_) {
    if (request.held) continue;
    const bool all = request.keys.all;
    ChainIds chains = all ? hooks_.all() : hooks_.resolve(request.keys);
    const auto is_taken = [&](ChainId chain) { return taken.contains(chain); };
    const bool free = all ? !any_taken : !all_taken && std::ranges::none_of(chains, is_taken);
    if (!free && (all || chains.size() > 1)) {
      if (loop.now() >= request.reserves_until) continue;
      next = std::min(next.value_or(request.reserves_until), request.reserves_until);
    }
    take(request.keys, chains);
    if (free) hold(request, std::move(chains));
  }
  loop.disarm(timer_);
  if (next) {
    timer_.deadline = *next;
    loop.arm(timer_);
  }
}

void ClaimQueue::release(Request* request) {
  hooks_.on_release(request->chains);
  std::erase_if(requests_, [&](const Request& one) { return &one == request; });
  if (!requests_.empty()) grant();
}

bool ClaimQueue::holds(const ChainClaim& claim, ChainId chain) const {
  CHECK(claim.queue_ == this);
  return claim.request_->chains.contains(chain);
}

ChainId ClaimQueue::own_chain(const ChainClaim& claim) const {
  CHECK(claim.queue_ == this);
  return claim.request_->own_chain;
}

bool ClaimQueue::is_reserved(std::string_view name, const ChainClaim* claim) const {
  return std::ranges::any_of(requests_, [&](const Request& request) {
    return (claim == nullptr || &request != claim->request_) && request.names.contains(name);
  });
}

bool ClaimQueue::reserve_name(const ChainClaim& claim, const std::string& name) {
  CHECK(claim.queue_ == this);
  if (is_reserved(name, &claim)) return false;
  claim.request_->names.insert(name);
  return true;
}

// ReaderGate ------------------------------------------------------------------------------------

Task<ReaderGate::Reading> ReaderGate::enter() {
  while (exclusions_ != 0) co_await enterers_.wait();
  ++readers_;
  co_return Reading(this);
}

void ReaderGate::leave() {
  CHECK(readers_ > 0);
  if (--readers_ == 0) leavers_.wake_all();
}

Task<ReaderGate::Exclusion> ReaderGate::exclude() {
  ++exclusions_;
  auto guard = co_await exclusive_.lock();
  while (readers_ != 0) co_await leavers_.wait();
  co_return Exclusion(this, std::move(guard));
}

ReaderGate::Exclusion::~Exclusion() {
  if (gate_ != nullptr && --gate_->exclusions_ == 0) gate_->enterers_.wake_all();
}

}  // namespace firn::block
