#include <fmt/format.h>

#include "async/file.h"
#include "async/socket.h"

namespace firn::async {
namespace {

const char* verb(FileOp::Kind kind) {
  switch (kind) {
    case FileOp::Kind::kRead:
      return "read";
    case FileOp::Kind::kWrite:
      return "write";
    case FileOp::Kind::kSync:
    case FileOp::Kind::kDataSync:
      return "flush";
    case FileOp::Kind::kZero:
    case FileOp::Kind::kZeroAndUnmap:
      return "zero";
    case FileOp::Kind::kDiscard:
      return "discard";
    case FileOp::Kind::kAllocate:
      return "allocate";
    case FileOp::Kind::kTruncate:
      return "resize";
  }
  return "use";
}

}  // namespace

base::Error File::error_of(const File& file, const FileOp& op) {
  return base::Error::from_errno(static_cast<int>(-op.result),
                                 fmt::format("Could not {} '{}'", verb(op.kind), file.path()));
}

base::Error Stream::error_of(const Stream& stream, const StreamOp& op) {
  return base::Error::from_errno(static_cast<int>(-op.result), stream.peer_name());
}

std::string SocketAddress::to_string() const {
  if (kind == Kind::kFd) return "fd:" + std::to_string(fd);
  if (kind == Kind::kUnix) return (local.abstract ? "unix:@" : "unix:") + local.path;
  const bool numeric_v6 = inet.host.find(':') != std::string::npos;
  return fmt::format(fmt::runtime(numeric_v6 ? "[{}]:{}" : "{}:{}"), inet.host, inet.port);
}

}  // namespace firn::async
