#include "api/any_value.h"

#include <boost/json/value.hpp>
#include <utility>

namespace firn::api {

AnyValue::AnyValue() : AnyValue(boost::json::value()) {}
AnyValue::AnyValue(boost::json::value value)
    : value_(std::make_unique<boost::json::value>(std::move(value))) {}
AnyValue::AnyValue(const AnyValue& other) : AnyValue(other.get()) {}
AnyValue& AnyValue::operator=(const AnyValue& other) {
  if (this != &other) value_ = std::make_unique<boost::json::value>(other.get());
  return *this;
}
AnyValue::AnyValue(AnyValue&&) noexcept = default;
AnyValue& AnyValue::operator=(AnyValue&&) noexcept = default;
AnyValue::~AnyValue() = default;

const boost::json::value& AnyValue::get() const {
  static const boost::json::value kNull;
  return value_ ? *value_ : kNull;
}

}  // namespace firn::api
