#include "qmp/events.h"

#include <algorithm>
#include <array>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <utility>

#include "base/check.h"
#include "qmp/message.h"

namespace firn::qmp {
namespace {

namespace json = boost::json;

constexpr auto kRates = std::to_array<EventRate>({
    {"BALLOON_CHANGE", ""},
    {"MEMORY_DEVICE_SIZE_CHANGE", "qom-path"},
    {"QUORUM_FAILURE", ""},
    {"QUORUM_REPORT_BAD", "node-name"},
    {"RTC_CHANGE", ""},
    {"VSERPORT_CHANGE", "id"},
    {"WATCHDOG", ""},
});

std::string_view name_of(const json::object& event) {
  const auto& name = event.at("event").as_string();
  return {name.data(), name.size()};
}

// What events that stand for each other have in common.
std::string pause_key(const EventRate& rate, const json::object& event) {
  std::string key(rate.name);
  if (rate.key.empty()) return key;
  const json::value* data = event.if_contains("data");
  const json::value* value = data == nullptr ? nullptr : data->as_object().if_contains(rate.key);
  key += '\n';
  if (value != nullptr) base::append_json(key, *value);
  return key;
}

}  // namespace

Event::Event(base::JsonValue stamped)
    : value_(std::make_shared<const base::JsonValue>(std::move(stamped))) {}

std::shared_ptr<const std::string> Event::line(bool pretty) const {
  auto& line = lines_[pretty ? 1 : 0];
  if (line == nullptr) line = std::make_shared<const std::string>(print_line(*value_, pretty));
  return line;
}

const EventRate* find_event_rate(std::string_view name) {
  const auto* found = std::ranges::lower_bound(kRates, name, {}, &EventRate::name);
  return found != kRates.end() && found->name == name ? found : nullptr;
}

EventHub::~EventHub() { CHECK(listeners_.empty() && pauses_.empty()); }

void EventHub::subscribe(EventListener& listener) { listeners_.push_back(&listener); }

void EventHub::unsubscribe(EventListener& listener) { std::erase(listeners_, &listener); }

void EventHub::emit(json::object event) {
  const EventRate* rate = find_event_rate(name_of(event));
  const std::string key = rate == nullptr ? "" : pause_key(*rate, event);
  Event stamped(make_event(std::move(event), async::Loop::current().wall_clock_us()));
  if (rate == nullptr) return hand_out(stamped);
  auto [found, is_new] = pauses_.try_emplace(key);
  Pause& pause = found->second;
  if (!is_new) {
    pause.held_back = std::move(stamped);
    return;
  }
  pause.hub = this;
  pause.fire = [](async::Timer& timer) {
    auto& ended = static_cast<Pause&>(timer);
    ended.hub->end(ended);
  };
  arm(pause);
  hand_out(stamped);
}

void EventHub::arm(Pause& pause) {
  auto& loop = async::Loop::current();
  pause.deadline = loop.now() + kEventPause;
  loop.arm(pause);
}

void EventHub::end(Pause& pause) {
  if (!pause.held_back) {
    std::erase_if(pauses_, [&](const auto& entry) { return &entry.second == &pause; });
    return;
  }
  const Event event = *std::exchange(pause.held_back, std::nullopt);
  arm(pause);
  hand_out(event);
}

void EventHub::hand_out(const Event& event) {
  for (EventListener* listener : listeners_) listener->on_event(event);
}

void EventHub::close() {
  for (auto& [key, pause] : pauses_) {
    async::Loop::current().disarm(pause);
    if (pause.held_back) hand_out(*pause.held_back);
  }
  pauses_.clear();
}

}  // namespace firn::qmp
