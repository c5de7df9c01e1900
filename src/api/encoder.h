// Encoding: from generated types to JSON. Only generated code and .cc files include it; it brings
// boost's headers.
#pragma once

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/any_value.h"
#include "api/boxed.h"
#include "base/json.h"

namespace firn::api {

using base::JsonValue;
using JsonObject = boost::json::object;

inline JsonValue encode(const std::string& value) { return JsonValue(std::string_view(value)); }
inline JsonValue encode(bool value) { return value; }
inline JsonValue encode(double value) { return value; }
inline JsonValue encode(int8_t value) { return value; }
inline JsonValue encode(int16_t value) { return value; }
inline JsonValue encode(int32_t value) { return value; }
inline JsonValue encode(int64_t value) { return value; }
inline JsonValue encode(uint8_t value) { return value; }
inline JsonValue encode(uint16_t value) { return value; }
inline JsonValue encode(uint32_t value) { return value; }
inline JsonValue encode(uint64_t value) { return value; }
inline JsonValue encode(std::nullptr_t) { return nullptr; }
inline JsonValue encode(const AnyValue& value) { return value.get(); }

template <typename T>
JsonValue encode(const Boxed<T>& value) {
  return encode(*value);
}

template <typename T>
JsonValue encode(const std::vector<T>& list) {
  boost::json::array out;
  out.reserve(list.size());
  for (const auto& element : list) out.push_back(encode(static_cast<const T&>(element)));
  return out;
}

template <typename T>
void encode_member(JsonObject& out, std::string_view name, const T& value) {
  out.emplace(name, encode(value));
}
template <typename T>
void encode_member(JsonObject& out, std::string_view name, const std::optional<T>& value) {
  if (value) out.emplace(name, encode(*value));
}

}  // namespace firn::api
