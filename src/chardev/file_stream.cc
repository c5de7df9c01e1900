#include "chardev/file_stream.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace firn::chardev {

using async::StreamOp;
using async::Task;
using base::Result;

namespace {

// The descriptor, if it is of a regular file; one to wait on for ever takes its place then.
Result<Descriptor> take_regular(Descriptor& from) {
  struct stat stat{};
  if (::fstat(from.get(), &stat) != 0 || !S_ISREG(stat.st_mode)) return Descriptor();
  return std::exchange(from, TRY(never_readable()));
}

// On a worker. Bytes, or a negative errno.
int64_t write_all(int fd, const async::IoVec& iov) {
  for (const iovec& piece : iov.pieces()) {
    size_t done = 0;
    while (done != piece.iov_len) {
      const ssize_t moved =
          ::write(fd, static_cast<const char*>(piece.iov_base) + done, piece.iov_len - done);
      if (moved < 0 && errno != EINTR) return -errno;
      if (moved > 0) done += static_cast<size_t>(moved);
    }
  }
  return static_cast<int64_t>(iov.size_bytes());
}

int64_t read_some(int fd, const async::IoVec& iov) {
  const iovec piece = iov.pieces().front();
  while (true) {
    const ssize_t moved = ::read(fd, piece.iov_base, piece.iov_len);
    if (moved >= 0) return moved;
    if (errno != EINTR) return -errno;
  }
}

template <typename T>
int64_t code_of(const Result<T>& result) {
  return -(result.error().errno_value() != 0 ? result.error().errno_value() : ECANCELED);
}

}  // namespace

Result<std::unique_ptr<async::Stream>> FileStream::make(Descriptor in, Descriptor out,
                                                        std::string name) {
  Descriptor in_file = TRY(take_regular(in));
  Descriptor out_file = TRY(take_regular(out));
  auto other = TRY(async::Loop::current().network().adopt_fds(in.get(), out.get(), name));
  in.release();
  out.release();
  return std::unique_ptr<async::Stream>(
      new FileStream(std::move(in_file), std::move(out_file), std::move(other)));
}

FileStream::FileStream(Descriptor in, Descriptor out, std::unique_ptr<async::Stream> other)
    : in_(std::move(in)), out_(std::move(out)), other_(std::move(other)) {}

FileStream::~FileStream() = default;

void FileStream::close() {
  closed_ = true;
  other_->close();
}

bool FileStream::start(StreamOp& op) {
  if (closed_) {
    op.result = -ECANCELED;
    return true;
  }
  scope_.spawn(carry_out(op));
  return false;
}

Task<void> FileStream::carry_out(StreamOp& op) {
  async::Loop& loop = async::Loop::current();
  if (op.kind == StreamOp::Kind::kReceive) {
    if (in_.get() >= 0) {
      op.result = co_await loop.on_worker([&] { return read_some(in_.get(), *op.iov); });
    } else {
      const auto got = co_await other_->receive(*op.iov);
      op.result = got ? static_cast<int64_t>(*got) : code_of(got);
    }
  } else if (out_.get() >= 0) {
    op.result = co_await loop.on_worker([&] { return write_all(out_.get(), *op.iov); });
  } else {
    const auto sent = co_await other_->send(*op.iov);
    op.result = sent ? static_cast<int64_t>(op.iov->size_bytes()) : code_of(sent);
  }
  loop.ready(op.waiter);
}

}  // namespace firn::chardev
