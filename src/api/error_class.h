// How an Error looks in QMP: one table from ErrorKind to error class.
#pragma once

#include <boost/json/fwd.hpp>
#include <cstdint>
#include <string_view>

#include "base/error.h"

namespace firn::api {

enum class ErrorDialect : uint8_t {
  kClasses,  // the classes of December 2011, with their `data` (Firn's default)
  kQemu,     // what qemu-storage-daemon 7.2 says: mostly GenericError, never `data`
};

// "DeviceNotFound", "OpenFileFailed", "InvalidBlockFormat", "CommandNotFound", ...: the class of a
// kind; GenericError for every kind without one.
std::string_view error_class(base::ErrorKind kind, ErrorDialect dialect);

// {"class": ..., "desc": text, "data": {...}}. `data` holds Error::data() and is there only in
// kClasses, for a class other than GenericError that has any.
boost::json::object encode_error(const base::Error& error, ErrorDialect dialect);

}  // namespace firn::api
