// EventHub: hands events to whoever listens. One per daemon, on the control loop.
#pragma once

#include <boost/json/fwd.hpp>
#include <vector>

#include "base/json.h"

namespace firn::qmp {

class EventListener {
 public:
  virtual ~EventListener() = default;
  // `event` is complete, with its timestamp.
  virtual void on_event(const base::JsonValue& event) = 0;
};

class EventHub {
 public:
  EventHub() = default;
  EventHub(const EventHub&) = delete;
  EventHub& operator=(const EventHub&) = delete;
  ~EventHub();  // no listener is left

  // Not from within on_event.
  void subscribe(EventListener& listener);
  void unsubscribe(EventListener& listener);  // no effect on one that is not subscribed

  // Stamps an event that api::encode_event gave with the current loop's wall clock, and hands it to
  // all.
  void emit(boost::json::object event);

 private:
  std::vector<EventListener*> listeners_;
};

}  // namespace firn::qmp
