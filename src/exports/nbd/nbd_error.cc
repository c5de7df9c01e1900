#include "exports/nbd/nbd_error.h"

#include <cerrno>

namespace firn::nbd {

WireError wire_error_of(const base::Error& error) {
  if (error.errno_value() == ENOMEM) return WireError::kNoMem;
  if (error.errno_value() == EOVERFLOW) return WireError::kOverflow;
  switch (error.kind()) {
    case base::ErrorKind::kPermission:
    case base::ErrorKind::kReadOnly:
      return WireError::kPerm;
    case base::ErrorKind::kInvalidArgument:
    case base::ErrorKind::kOutOfRange:
      return WireError::kInval;
    case base::ErrorKind::kNoSpace:
      return WireError::kNoSpc;
    case base::ErrorKind::kUnsupported:
      return WireError::kNotSup;
    case base::ErrorKind::kShutdown:
      return WireError::kShutdown;
    case base::ErrorKind::kGeneric:
    case base::ErrorKind::kCommandNotFound:
    case base::ErrorKind::kDeviceNotFound:
    case base::ErrorKind::kDeviceNotActive:
    case base::ErrorKind::kOpenFileFailed:
    case base::ErrorKind::kInvalidBlockFormat:
    case base::ErrorKind::kKvmMissingCap:
    case base::ErrorKind::kNotFound:
    case base::ErrorKind::kExists:
    case base::ErrorKind::kBusy:
    case base::ErrorKind::kIo:
    case base::ErrorKind::kCorrupt:
    case base::ErrorKind::kCancelled:
    case base::ErrorKind::kTimedOut:
      return WireError::kIo;
  }
  return WireError::kIo;
}

}  // namespace firn::nbd
