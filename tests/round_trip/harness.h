// Decodes and encodes by a generated table of targets: one request a line on standard input, one
// answer a line on standard output. The file that includes it has the generated sources before it.
//
//   {"target": "type Struct3", "value": ...}     -> {"ok": ...} or {"error": "text"}
//   {"target": "type Struct3", "keyval": "a=b"}  -> the same, from key=value
#pragma once

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <iostream>
#include <map>
#include <string>

#include "api/decoder.h"
#include "api/encoder.h"
#include "api/keyval.h"

namespace round_trip {

using firn::api::InputMode;
using Value = firn::base::JsonValue;
using Function = firn::base::Result<Value> (*)(const Value&, InputMode);

template <typename T>
firn::base::Result<Value> type(const Value& value, InputMode mode) {
  T decoded = TRY(firn::api::decode_as<T>(value, mode));
  T copy = decoded;  // boxes copy deeply
  decoded = T{};
  return encode(copy);
}

// An event's own struct holds the members, or has them in `data`.
template <typename Event, typename Data>
firn::base::Result<Value> event(const Value& value, InputMode mode) {
  Data data = TRY(firn::api::decode_as<Data>(value, mode));
  if constexpr (std::is_same_v<Event, Data>) {
    return Value(encode_event(data).at("data"));
  } else {
    return Value(encode_event(Event{data}).at("data"));
  }
}

// What the dispatch table makes of arguments for a log: decoded and encoded.
template <const char* kName>
firn::base::Result<Value> command(const Value& value, InputMode) {
  Value out = firn::api::find_command(kName)->loggable(value);
  if (out.is_null()) return firn::base::fail(firn::base::ErrorKind::kInvalidArgument, "refused");
  return out;
}

inline Value answer(const std::map<std::string, Function>& targets, const Value& request) {
  const boost::json::object& wanted = request.get_object();
  const Function run = targets.at(std::string(wanted.at("target").get_string()));
  InputMode mode = InputMode::kJson;
  firn::base::Result<Value> value = Value();
  if (const Value* text = wanted.if_contains("keyval")) {
    mode = InputMode::kKeyval;
    value = firn::api::parse_keyval(std::string_view(text->get_string()));
  } else {
    value = wanted.at("value");
  }
  if (value) value = run(*value, mode);
  boost::json::object out;
  if (value) {
    out["ok"] = *value;
  } else {
    out["error"] = value.error().text();
  }
  return out;
}

inline int serve(const std::map<std::string, Function>& targets) {
  std::string line;
  while (std::getline(std::cin, line)) {
    std::cout << firn::base::print_json(answer(targets, firn::base::parse_json(line).value()))
              << '\n';
  }
  return 0;
}

}  // namespace round_trip
