// Decoding: from a JSON value, or from a tree of strings made of key=value options, into the types
// that qapic generates. Generated code calls what stands here; a caller wants
// api/codec.h (generated).
//
// The order of checks and the texts are those of QEMU's QObject input visitor: a member's error
// names its full path (`file.filename`, `children[1].driver`; `children.1.driver` for key=value),
// while enumerations, alternates and integer ranges name the bare member, or `null` for a list's
// element.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "api/any_value.h"
#include "api/boxed.h"
#include "base/json.h"
#include "base/result.h"

namespace firn::api {

using base::JsonValue;

enum class InputMode : uint8_t {
  kJson,    // scalars have JSON's types
  kKeyval,  // scalars are strings: on/off, yes/no, true/false, y/n; 10, 0x10; sizes as 64k, 1.5G
};

// What the value under decoding is; an alternate picks its branch by it.
enum class JsonKind : uint8_t { kNull, kBool, kNumber, kString, kArray, kObject };
JsonKind json_kind(const JsonValue& value);

// Where decoding stands, and its first error. One Decoder decodes one value; it lives on the stack.
class Decoder {
 public:
  explicit Decoder(InputMode mode) : mode_(mode) {}
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  InputMode mode() const { return mode_; }

  // The first error; there is one if a decode function returned false.
  base::Error take_error();

  // Each records an error, if none is recorded yet, and returns false.
  bool fail(std::string text);
  bool fail_type(std::string_view expected);   // Invalid parameter type for 'PATH', expected: ...
  bool fail_value(std::string_view expected);  // Parameter 'PATH' expects ...
  bool fail_range(std::string_view expected);  // Parameter 'NAME' expects ...
  bool fail_enum(std::string_view given);      // Parameter 'NAME' does not accept value '...'
  bool fail_alternate(std::string_view type);  // Invalid parameter type for 'NAME', expected: ...
  bool fail_missing(std::string_view member);
  bool fail_unexpected(std::string_view member);

  // The string of a scalar in kKeyval; null, with an error recorded, where a tree stands instead.
  const std::string* keyval_string(const JsonValue& value);

 private:
  friend class ObjectReader;
  friend class ListReader;

  // One open object or list. `name` is its own name in the one around it.
  struct Container {
    const Container* outer;
    std::optional<std::string_view> name;
    bool is_list;
    size_t index = 0;
  };

  std::string path(std::optional<std::string_view> name) const;
  std::string path() const { return path(name_); }
  std::string_view bare_name() const { return name_.value_or("null"); }

  const InputMode mode_;
  const Container* top_ = nullptr;
  std::optional<std::string_view> name_;  // of the value under decoding; none for an element
  std::optional<base::Error> error_;
  std::string string_;  // what keyval_string returned last
};

bool decode(Decoder& decoder, const JsonValue& value, std::string& out);
bool decode(Decoder& decoder, const JsonValue& value, bool& out);
bool decode(Decoder& decoder, const JsonValue& value, double& out);
bool decode(Decoder& decoder, const JsonValue& value, int8_t& out);
bool decode(Decoder& decoder, const JsonValue& value, int16_t& out);
bool decode(Decoder& decoder, const JsonValue& value, int32_t& out);
bool decode(Decoder& decoder, const JsonValue& value, int64_t& out);
bool decode(Decoder& decoder, const JsonValue& value, uint8_t& out);
bool decode(Decoder& decoder, const JsonValue& value, uint16_t& out);
bool decode(Decoder& decoder, const JsonValue& value, uint32_t& out);
bool decode(Decoder& decoder, const JsonValue& value, uint64_t& out);
bool decode(Decoder& decoder, const JsonValue& value, std::nullptr_t& out);
bool decode(Decoder& decoder, const JsonValue& value, AnyValue& out);

// The schema's type `size`: as uint64 in JSON, with suffixes in key=value.
template <typename T>
struct AsSize {
  T& out;
};
template <typename T>
AsSize<T> as_size(T& out) {
  return {out};
}
bool decode(Decoder& decoder, const JsonValue& value, AsSize<uint64_t> out);

// The index of an enumeration's value in `names`, or -1 with an error recorded.
int decode_enum_index(Decoder& decoder, const JsonValue& value,
                      std::span<const std::string_view> names);

template <typename T>
bool decode(Decoder& decoder, const JsonValue& value, std::vector<T>& out);
template <typename T>
bool decode(Decoder& decoder, const JsonValue& value, AsSize<std::vector<T>> out);

template <typename T>
bool decode(Decoder& decoder, const JsonValue& value, Boxed<T>& out) {
  return decode(decoder, value, out.emplace());
}

// The members of one object, taken one after the other in the schema's order.
class ObjectReader {
 public:
  // `value` outlives the reader. ok() is false if it is no object.
  ObjectReader(Decoder& decoder, const JsonValue& value);
  ~ObjectReader();
  ObjectReader(const ObjectReader&) = delete;
  ObjectReader& operator=(const ObjectReader&) = delete;

  bool ok() const { return ok_; }

  template <typename T>
  bool required(std::string_view name, T&& out) {
    const JsonValue* value = take(name);
    return value ? decode(decoder_, *value, out) : decoder_.fail_missing(name);
  }
  template <typename T>
  bool optional(std::string_view name, std::optional<T>& out) {
    const JsonValue* value = take(name);
    return !value || decode(decoder_, *value, out.emplace());
  }
  template <typename T>
  bool optional(std::string_view name, AsSize<std::optional<T>> out) {
    const JsonValue* value = take(name);
    return !value || decode(decoder_, *value, as_size(out.out.emplace()));
  }

  // False, with an error recorded, if a member is left that nobody took.
  bool finish();

 private:
  const JsonValue* take(std::string_view name);

  Decoder& decoder_;
  Decoder::Container container_;
  const JsonValue& value_;
  bool ok_;
  std::vector<bool> taken_;
};

class ListReader {
 public:
  ListReader(Decoder& decoder, const JsonValue& value);
  ~ListReader();
  ListReader(const ListReader&) = delete;
  ListReader& operator=(const ListReader&) = delete;

  bool ok() const { return ok_; }
  size_t size() const;
  // Makes element `index` the one under decoding.
  const JsonValue& element(size_t index);

 private:
  Decoder& decoder_;
  Decoder::Container container_;
  const JsonValue& value_;
  bool ok_;
};

template <typename T>
bool decode(Decoder& decoder, const JsonValue& value, std::vector<T>& out) {
  ListReader list(decoder, value);
  if (!list.ok()) return false;
  out.reserve(list.size());
  for (size_t i = 0; i < list.size(); ++i) {
    T element{};
    if (!decode(decoder, list.element(i), element)) return false;
    out.push_back(std::move(element));
  }
  return true;
}

template <typename T>
bool decode(Decoder& decoder, const JsonValue& value, AsSize<std::vector<T>> out) {
  ListReader list(decoder, value);
  if (!list.ok()) return false;
  for (size_t i = 0; i < list.size(); ++i) {
    if (!decode(decoder, list.element(i), as_size(out.out.emplace_back()))) return false;
  }
  return true;
}

// An object by its decode_members(), which generated code gives for each struct and union.
template <typename T>
bool decode_object(Decoder& decoder, const JsonValue& value, T& out) {
  ObjectReader reader(decoder, value);
  return reader.ok() && decode_members(reader, out) && reader.finish();
}

// The way in for callers:
//   BlockdevOptions options = TRY(decode_as<BlockdevOptions>(value));
// Errors are of kind kInvalidArgument.
template <typename T>
base::Result<T> decode_as(const JsonValue& value, InputMode mode = InputMode::kJson) {
  Decoder decoder(mode);
  T out{};
  if (!decode(decoder, value, out)) return base::fail(decoder.take_error());
  return out;
}

}  // namespace firn::api
