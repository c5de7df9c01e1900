// EventHub: hands events to whoever listens, some of them at a limited rate. One per daemon, on the
// control loop.
#pragma once

#include <boost/json/fwd.hpp>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "async/loop.h"
#include "base/json.h"

namespace firn::qmp {

// An event with its timestamp, and its line, which is made once for all who send it.
class Event {
 public:
  explicit Event(base::JsonValue stamped);

  const base::JsonValue& value() const { return *value_; }
  // As print_line gives it.
  std::shared_ptr<const std::string> line(bool pretty) const;

 private:
  std::shared_ptr<const base::JsonValue> value_;
  mutable std::shared_ptr<const std::string> lines_[2];
};

class EventListener {
 public:
  virtual ~EventListener() = default;
  virtual void on_event(const Event& event) = 0;
};

// At most one of these events each kEventPause; more than one meanwhile, and the last of them comes
// at its end. Where `key` names a member of the event's data, that holds for each value of it.
// Source: the table of rate limits in monitor/monitor.c of QEMU 7.2.
struct EventRate {
  std::string_view name;
  std::string_view key;
};
const EventRate* find_event_rate(std::string_view name);
inline constexpr async::Duration kEventPause = std::chrono::seconds(1);

class EventHub {
 public:
  EventHub() = default;
  EventHub(const EventHub&) = delete;
  EventHub& operator=(const EventHub&) = delete;
  ~EventHub();  // no listener is left, and close() was called if any event has a rate

  // Not from within on_event.
  void subscribe(EventListener& listener);
  void unsubscribe(EventListener& listener);  // no effect on one that is not subscribed

  // Stamps an event that api::encode_event gave with the current loop's wall clock, and hands it to
  // all, now or when its rate allows. A later one of its kind takes the place of one held back.
  void emit(boost::json::object event);

  // Events held back are handed out. Further ones come as before.
  void close();

 private:
  // One kind of event that was handed out less than kEventPause ago.
  struct Pause : async::Timer {
    EventHub* hub = nullptr;
    std::optional<Event> held_back;
  };

  void hand_out(const Event& event);
  void arm(Pause& pause);
  void end(Pause& pause);

  std::vector<EventListener*> listeners_;
  std::map<std::string, Pause> pauses_;  // by name and key
};

}  // namespace firn::qmp
