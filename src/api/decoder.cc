#include "api/decoder.h"

#include <fmt/format.h>

#include <boost/json/value.hpp>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <utility>

#include "base/check.h"
#include "base/units.h"

namespace firn::api {

JsonKind json_kind(const JsonValue& value) {
  switch (value.kind()) {
    case boost::json::kind::null:
      return JsonKind::kNull;
    case boost::json::kind::bool_:
      return JsonKind::kBool;
    case boost::json::kind::int64:
    case boost::json::kind::uint64:
    case boost::json::kind::double_:
      return JsonKind::kNumber;
    case boost::json::kind::string:
      return JsonKind::kString;
    case boost::json::kind::array:
      return JsonKind::kArray;
    case boost::json::kind::object:
      return JsonKind::kObject;
  }
  std::unreachable();
}

std::string Decoder::path(std::optional<std::string_view> name) const {
  if (!top_ && !name) return "<anonymous>";
  std::string out;
  for (const Container* c = top_; c; c = c->outer) {
    if (c->is_list) {
      out.insert(0,
                 fmt::format(fmt::runtime(mode_ == InputMode::kKeyval ? ".{}" : "[{}]"), c->index));
    } else {
      out.insert(0, name.value_or("<anonymous>"));
      out.insert(0, ".");
    }
    name = c->name;
  }
  if (name) {
    out.insert(0, *name);
  } else if (out.starts_with('.')) {
    out.erase(0, 1);
  }
  return out;
}

base::Error Decoder::take_error() {
  CHECK(error_);
  return *std::exchange(error_, std::nullopt);
}

bool Decoder::fail(std::string text) {
  if (!error_) error_.emplace(base::ErrorKind::kInvalidArgument, std::move(text));
  return false;
}
bool Decoder::fail_type(std::string_view expected) {
  return fail(fmt::format("Invalid parameter type for '{}', expected: {}", path(), expected));
}
bool Decoder::fail_value(std::string_view expected) {
  return fail(fmt::format("Parameter '{}' expects {}", path(), expected));
}
bool Decoder::fail_range(std::string_view expected) {
  return fail(fmt::format("Parameter '{}' expects {}", bare_name(), expected));
}
bool Decoder::fail_enum(std::string_view given) {
  return fail(fmt::format("Parameter '{}' does not accept value '{}'", bare_name(), given));
}
bool Decoder::fail_alternate(std::string_view type) {
  return fail(fmt::format("Invalid parameter type for '{}', expected: {}", bare_name(), type));
}
bool Decoder::fail_missing(std::string_view member) {
  return fail(fmt::format("Parameter '{}' is missing", path(member)));
}
bool Decoder::fail_unexpected(std::string_view member) {
  return fail(fmt::format("Parameter '{}' is unexpected", path(member)));
}

const std::string* Decoder::keyval_string(const JsonValue& value) {
  if (value.is_string()) {
    string_ = std::string_view(value.get_string());
    return &string_;
  }
  if (value.is_structured()) {
    fail(fmt::format("Parameters '{}.*' are unexpected", path()));
  } else {
    fail_type("string");
  }
  return nullptr;
}

namespace {

// Decimal, octal after 0, hexadecimal after 0x, as C reads them; the whole text.
template <typename T, T (*kParse)(const char*, char**, int)>
std::optional<T> parse_c_integer(const std::string& text) {
  if (text.empty()) return std::nullopt;
  char* end;
  errno = 0;
  const T number = kParse(text.c_str(), &end, 0);
  if (errno != 0 || end != text.c_str() + text.size()) return std::nullopt;
  return number;
}

bool decode_int(Decoder& decoder, const JsonValue& value, int64_t& out) {
  if (decoder.mode() == InputMode::kKeyval) {
    const std::string* text = decoder.keyval_string(value);
    if (!text) return false;
    auto number = parse_c_integer<long long, std::strtoll>(*text);
    if (!number) return decoder.fail_value("integer");
    out = *number;
    return true;
  }
  if (!value.is_int64()) {
    if (!value.is_uint64() ||
        value.get_uint64() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
      return decoder.fail_type("integer");
    }
    out = static_cast<int64_t>(value.get_uint64());
    return true;
  }
  out = value.get_int64();
  return true;
}

// JSON's negative numbers wrap, as they do in QEMU, which promised that to its clients.
bool decode_uint(Decoder& decoder, const JsonValue& value, uint64_t& out) {
  if (decoder.mode() == InputMode::kKeyval) {
    const std::string* text = decoder.keyval_string(value);
    if (!text) return false;
    auto number = parse_c_integer<unsigned long long, std::strtoull>(*text);
    if (!number) return decoder.fail_value("integer");
    out = *number;
    return true;
  }
  if (value.is_uint64()) {
    out = value.get_uint64();
  } else if (value.is_int64()) {
    out = static_cast<uint64_t>(value.get_int64());
  } else {
    return decoder.fail_value("uint64");
  }
  return true;
}

template <typename T>
bool decode_narrow_int(Decoder& decoder, const JsonValue& value, T& out, std::string_view name) {
  int64_t wide;
  if (!decode_int(decoder, value, wide)) return false;
  if (wide < std::numeric_limits<T>::min() || wide > std::numeric_limits<T>::max()) {
    return decoder.fail_range(name);
  }
  out = static_cast<T>(wide);
  return true;
}

template <typename T>
bool decode_narrow_uint(Decoder& decoder, const JsonValue& value, T& out, std::string_view name) {
  uint64_t wide;
  if (!decode_uint(decoder, value, wide)) return false;
  if (wide > std::numeric_limits<T>::max()) return decoder.fail_range(name);
  out = static_cast<T>(wide);
  return true;
}

}  // namespace

bool decode(Decoder& decoder, const JsonValue& value, std::string& out) {
  if (decoder.mode() == InputMode::kKeyval) {
    const std::string* text = decoder.keyval_string(value);
    if (!text) return false;
    out = *text;
    return true;
  }
  if (!value.is_string()) return decoder.fail_type("string");
  out = std::string_view(value.get_string());
  return true;
}

bool decode(Decoder& decoder, const JsonValue& value, bool& out) {
  if (decoder.mode() == InputMode::kKeyval) {
    const std::string* text = decoder.keyval_string(value);
    if (!text) return false;
    if (*text == "on" || *text == "yes" || *text == "true" || *text == "y") {
      out = true;
    } else if (*text == "off" || *text == "no" || *text == "false" || *text == "n") {
      out = false;
    } else {
      return decoder.fail_value("'on' or 'off'");
    }
    return true;
  }
  if (!value.is_bool()) return decoder.fail_type("boolean");
  out = value.get_bool();
  return true;
}

bool decode(Decoder& decoder, const JsonValue& value, double& out) {
  if (decoder.mode() == InputMode::kKeyval) {
    const std::string* text = decoder.keyval_string(value);
    if (!text) return false;
    char* end;
    errno = 0;
    const double number = std::strtod(text->c_str(), &end);
    if (text->empty() || errno != 0 || end != text->c_str() + text->size() ||
        !std::isfinite(number)) {
      return decoder.fail_type("number");
    }
    out = number;
    return true;
  }
  if (!value.is_number() || (value.is_double() && !std::isfinite(value.get_double()))) {
    return decoder.fail_type("number");
  }
  out = value.to_number<double>();
  return true;
}

bool decode(Decoder& decoder, const JsonValue& value, int8_t& out) {
  return decode_narrow_int(decoder, value, out, "int8_t");
}
bool decode(Decoder& decoder, const JsonValue& value, int16_t& out) {
  return decode_narrow_int(decoder, value, out, "int16_t");
}
bool decode(Decoder& decoder, const JsonValue& value, int32_t& out) {
  return decode_narrow_int(decoder, value, out, "int32_t");
}
bool decode(Decoder& decoder, const JsonValue& value, int64_t& out) {
  return decode_int(decoder, value, out);
}
bool decode(Decoder& decoder, const JsonValue& value, uint8_t& out) {
  return decode_narrow_uint(decoder, value, out, "uint8_t");
}
bool decode(Decoder& decoder, const JsonValue& value, uint16_t& out) {
  return decode_narrow_uint(decoder, value, out, "uint16_t");
}
bool decode(Decoder& decoder, const JsonValue& value, uint32_t& out) {
  return decode_narrow_uint(decoder, value, out, "uint32_t");
}
bool decode(Decoder& decoder, const JsonValue& value, uint64_t& out) {
  return decode_uint(decoder, value, out);
}

bool decode(Decoder& decoder, const JsonValue& value, AsSize<uint64_t> out) {
  if (decoder.mode() != InputMode::kKeyval) return decode_uint(decoder, value, out.out);
  const std::string* text = decoder.keyval_string(value);
  if (!text) return false;
  if (auto hexadecimal = text->starts_with("0x") || text->starts_with("0X")
                             ? parse_c_integer<unsigned long long, std::strtoull>(*text)
                             : std::nullopt) {
    out.out = *hexadecimal;
    return true;
  }
  auto bytes = base::parse_size(*text);
  if (!bytes) return decoder.fail_value("size");
  out.out = *bytes;
  return true;
}

bool decode(Decoder& decoder, const JsonValue& value, std::nullptr_t&) {
  return value.is_null() || decoder.fail_type("null");
}

bool decode(Decoder&, const JsonValue& value, AnyValue& out) {
  out = AnyValue(value);
  return true;
}

int decode_enum_index(Decoder& decoder, const JsonValue& value,
                      std::span<const std::string_view> names) {
  std::string text;
  if (!decode(decoder, value, text)) return -1;
  for (size_t i = 0; i < names.size(); ++i) {
    if (names[i] == text) return static_cast<int>(i);
  }
  decoder.fail_enum(text);
  return -1;
}

ObjectReader::ObjectReader(Decoder& decoder, const JsonValue& value)
    : decoder_(decoder),
      container_{decoder.top_, decoder.name_, false},
      value_(value),
      ok_(value.is_object() || decoder.fail_type("object")) {
  decoder_.top_ = &container_;
  if (ok_) taken_.resize(value.get_object().size());
}

ObjectReader::~ObjectReader() {
  decoder_.top_ = container_.outer;
  decoder_.name_ = container_.name;
}

const JsonValue* ObjectReader::take(std::string_view name) {
  const boost::json::object& object = value_.get_object();
  const auto member = object.find(name);
  if (member == object.end()) return nullptr;
  taken_[member - object.begin()] = true;
  decoder_.name_ = name;
  return &member->value();
}

bool ObjectReader::finish() {
  size_t index = 0;
  for (const auto& member : value_.get_object()) {
    if (!taken_[index++]) return decoder_.fail_unexpected(std::string_view(member.key()));
  }
  return true;
}

ListReader::ListReader(Decoder& decoder, const JsonValue& value)
    : decoder_(decoder),
      container_{decoder.top_, decoder.name_, true},
      value_(value),
      ok_(value.is_array() || decoder.fail_type("array")) {
  decoder_.top_ = &container_;
}

ListReader::~ListReader() {
  decoder_.top_ = container_.outer;
  decoder_.name_ = container_.name;
}

size_t ListReader::size() const { return value_.get_array().size(); }

const JsonValue& ListReader::element(size_t index) {
  container_.index = index;
  decoder_.name_ = std::nullopt;
  return value_.get_array()[index];
}

}  // namespace firn::api
