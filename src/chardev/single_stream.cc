#include "chardev/single_stream.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

#include "async/scope.h"
#include "chardev/descriptors.h"
#include "chardev/file_stream.h"
#include "chardev/terminal.h"

namespace firn::chardev {
namespace {

using async::Task;
using base::Result;

class SingleStream final : public Chardev {
 public:
  SingleStream(std::string filename, std::unique_ptr<async::Stream> stream)
      : filename_(std::move(filename)), stream_(std::move(stream)) {}

  std::string filename() const override { return filename_; }
  void attach(Serve serve) override {
    serve_ = std::move(serve);
    scope_.spawn(serve_(std::move(stream_)));
  }
  void stop() override {}
  Task<void> close() override {
    if (stream_ != nullptr) stream_->close();
    return scope_.join();
  }

 private:
  std::string filename_;
  std::unique_ptr<async::Stream> stream_;  // until somebody is attached
  Serve serve_;
  async::TaskScope scope_;
};

// Standard input and output, that may be a terminal.
class Stdio final : public Chardev {
 public:
  Stdio(std::unique_ptr<async::Stream> stream, bool signal)
      : signal_(signal), inner_("stdio", std::move(stream)) {
    if (!signal_) mode_ = TerminalMode::set(STDIN_FILENO, false, false);
  }

  std::string filename() const override { return inner_.filename(); }
  bool take_keys() override {
    mode_.reset();
    mode_ = TerminalMode::set(STDIN_FILENO, true, signal_);
    return mode_ != nullptr;
  }
  void attach(Serve serve) override { inner_.attach(std::move(serve)); }
  void stop() override { inner_.stop(); }
  Task<void> close() override { return inner_.close(); }

 private:
  bool signal_;
  std::unique_ptr<TerminalMode> mode_;
  SingleStream inner_;
};

// Of one input and one output.
struct Pair {
  Descriptor in;
  Descriptor out;
};

// The functions below wait for a file system, so they run on a worker; but never for whoever opens
// the other end of a FIFO: it is opened both ways.
Result<Descriptor> open_end(const std::string& path, int flags) {
  struct stat stat{};
  if (::stat(path.c_str(), &stat) == 0 && S_ISFIFO(stat.st_mode)) flags = O_RDWR;
  return open_path(path, flags | O_NONBLOCK);
}

Result<Pair> open_file_ends(const FileSpec& spec) {
  Pair pair;
  pair.in = spec.in ? TRY(open_end(*spec.in, O_RDONLY)) : TRY(never_readable());
  pair.out = TRY(open_end(spec.out, O_WRONLY | O_CREAT | (spec.append ? O_APPEND : O_TRUNC)));
  return pair;
}

Result<Pair> open_pipe_ends(const PipeSpec& spec) {
  auto in = open_path(spec.path + ".in", O_RDWR | O_NONBLOCK);
  auto out = open_path(spec.path + ".out", O_RDWR | O_NONBLOCK);
  if (in && out) return Pair{*std::move(in), *std::move(out)};
  Descriptor both = TRY(open_path(spec.path, O_RDWR | O_NONBLOCK));
  Descriptor copy = TRY(both.duplicate());
  return Pair{std::move(both), std::move(copy)};
}

Result<std::unique_ptr<Chardev>> adopt(Pair pair, std::string filename) {
  auto stream = TRY(FileStream::make(std::move(pair.in), std::move(pair.out), filename));
  return std::make_unique<SingleStream>(std::move(filename), std::move(stream));
}

}  // namespace

Task<Result<std::unique_ptr<Chardev>>> open_file(FileSpec spec) {
  co_return adopt(
      CO_TRY(co_await async::Loop::current().on_worker([&spec] { return open_file_ends(spec); })),
      "file");
}

Task<Result<std::unique_ptr<Chardev>>> open_pipe(PipeSpec spec) {
  co_return adopt(
      CO_TRY(co_await async::Loop::current().on_worker([&spec] { return open_pipe_ends(spec); })),
      "pipe");
}

Result<std::unique_ptr<Chardev>> open_stdio(StdioSpec spec) {
  auto stream =
      TRY(async::Loop::current().network().adopt_fds(STDIN_FILENO, STDOUT_FILENO, "stdio"));
  return std::make_unique<Stdio>(std::move(stream), spec.signal);
}

}  // namespace firn::chardev
