#include "exports/nbd/nbd_error.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace firn::nbd {
namespace {

using base::Error;
using base::ErrorKind;

TEST(NbdError, KindsHaveTheirValues) {
  EXPECT_EQ(wire_error_of(Error(ErrorKind::kReadOnly, "x")), WireError::kPerm);
  EXPECT_EQ(wire_error_of(Error(ErrorKind::kPermission, "x")), WireError::kPerm);
  EXPECT_EQ(wire_error_of(Error(ErrorKind::kOutOfRange, "x")), WireError::kInval);
  EXPECT_EQ(wire_error_of(Error(ErrorKind::kInvalidArgument, "x")), WireError::kInval);
  EXPECT_EQ(wire_error_of(Error(ErrorKind::kNoSpace, "x")), WireError::kNoSpc);
  EXPECT_EQ(wire_error_of(Error(ErrorKind::kUnsupported, "x")), WireError::kNotSup);
  EXPECT_EQ(wire_error_of(Error(ErrorKind::kShutdown, "x")), WireError::kShutdown);
  EXPECT_EQ(wire_error_of(Error(ErrorKind::kCorrupt, "x")), WireError::kIo);
  EXPECT_EQ(wire_error_of(Error(ErrorKind::kGeneric, "x")), WireError::kIo);
}

TEST(NbdError, ErrnoValuesHaveTheirs) {
  EXPECT_EQ(wire_error_of(Error::from_errno(ENOMEM, "x")), WireError::kNoMem);
  EXPECT_EQ(wire_error_of(Error::from_errno(EOVERFLOW, "x")), WireError::kOverflow);
  EXPECT_EQ(wire_error_of(Error::from_errno(EDQUOT, "x")), WireError::kNoSpc);
  EXPECT_EQ(wire_error_of(Error::from_errno(EFBIG, "x")), WireError::kNoSpc);
  EXPECT_EQ(wire_error_of(Error::from_errno(EIO, "x")), WireError::kIo);
}

}  // namespace
}  // namespace firn::nbd
