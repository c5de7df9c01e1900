#include "api/error_class.h"

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>

namespace firn::api {

namespace {

struct ClassRow {
  base::ErrorKind kind;
  std::string_view name;
  bool in_qemu;  // qemu-storage-daemon 7.2 gives this class where Firn gives this kind
};

constexpr std::string_view kGeneric = "GenericError";

constexpr ClassRow kClasses[] = {
    {base::ErrorKind::kCommandNotFound, "CommandNotFound", true},
    {base::ErrorKind::kDeviceNotActive, "DeviceNotActive", true},
    {base::ErrorKind::kKvmMissingCap, "KVMMissingCap", true},
    {base::ErrorKind::kDeviceNotFound, "DeviceNotFound", false},
    {base::ErrorKind::kOpenFileFailed, "OpenFileFailed", false},
    {base::ErrorKind::kInvalidBlockFormat, "InvalidBlockFormat", false},
};

}  // namespace

std::string_view error_class(base::ErrorKind kind, ErrorDialect dialect) {
  for (const ClassRow& row : kClasses) {
    if (row.kind != kind) continue;
    return dialect == ErrorDialect::kClasses || row.in_qemu ? row.name : kGeneric;
  }
  return kGeneric;
}

boost::json::object encode_error(const base::Error& error, ErrorDialect dialect) {
  boost::json::object out;
  const std::string_view name = error_class(error.kind(), dialect);
  out["class"] = name;
  out["desc"] = error.text();
  if (dialect == ErrorDialect::kClasses && name != kGeneric && !error.data().empty()) {
    boost::json::object data;
    for (const auto& [member, value] : error.data()) data[member] = value;
    out["data"] = std::move(data);
  }
  return out;
}

}  // namespace firn::api
