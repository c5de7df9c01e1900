#include "qmp/events.h"

#include <algorithm>
#include <boost/json/object.hpp>
#include <utility>

#include "async/loop.h"
#include "base/check.h"
#include "qmp/message.h"

namespace firn::qmp {

EventHub::~EventHub() { CHECK(listeners_.empty()); }

void EventHub::subscribe(EventListener& listener) { listeners_.push_back(&listener); }

void EventHub::unsubscribe(EventListener& listener) { std::erase(listeners_, &listener); }

void EventHub::emit(boost::json::object event) {
  base::JsonValue stamped = make_event(std::move(event), async::Loop::current().wall_clock_us());
  for (EventListener* listener : listeners_) listener->on_event(stamped);
}

}  // namespace firn::qmp
