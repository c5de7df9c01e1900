// AnyValue: the schema's type `any`, a JSON value as it came. It keeps boost's headers out of the
// generated types.
#pragma once

#include <boost/json/fwd.hpp>
#include <memory>

namespace firn::api {

class AnyValue {
 public:
  AnyValue();  // null
  explicit AnyValue(boost::json::value value);
  AnyValue(const AnyValue& other);
  AnyValue& operator=(const AnyValue& other);
  AnyValue(AnyValue&&) noexcept;
  AnyValue& operator=(AnyValue&&) noexcept;
  ~AnyValue();

  const boost::json::value& get() const;

 private:
  std::unique_ptr<boost::json::value> value_;
};

}  // namespace firn::api
