#include "chardev/single_stream.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <utility>

#include "async/scope.h"
#include "chardev/descriptors.h"
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

Result<std::unique_ptr<Chardev>> adopt(Descriptor in, Descriptor out, std::string filename) {
  auto stream = TRY(async::Loop::current().network().adopt_fds(in.get(), out.get(), filename));
  in.release();
  out.release();
  return std::make_unique<SingleStream>(std::move(filename), std::move(stream));
}

}  // namespace

Task<Result<std::unique_ptr<Chardev>>> open_file(FileSpec spec) {
  // On a worker: a file system may take its time.
  struct Pair {
    Descriptor in;
    Descriptor out;
  };
  const auto open_both = [&]() -> Result<Pair> {
    Pair pair;
    pair.in = spec.in ? TRY(open_path(*spec.in, O_RDONLY)) : TRY(never_readable());
    const int how = O_WRONLY | O_CREAT | (spec.append ? O_APPEND : O_TRUNC);
    pair.out = TRY(open_path(spec.out, how));
    return pair;
  };
  Pair pair = CO_TRY(co_await async::Loop::current().on_worker(open_both));
  co_return adopt(std::move(pair.in), std::move(pair.out), "file");
}

Task<Result<std::unique_ptr<Chardev>>> open_pipe(PipeSpec spec) {
  // For reading and writing: opening a FIFO does not wait for the other end then.
  auto in = open_path(spec.path + ".in", O_RDWR | O_NONBLOCK);
  auto out = open_path(spec.path + ".out", O_RDWR | O_NONBLOCK);
  if (in && out) co_return adopt(*std::move(in), *std::move(out), "pipe");
  Descriptor both = CO_TRY(open_path(spec.path, O_RDWR | O_NONBLOCK));
  Descriptor copy = CO_TRY(both.duplicate());
  co_return adopt(std::move(both), std::move(copy), "pipe");
}

Result<std::unique_ptr<Chardev>> open_stdio(StdioSpec spec) {
  auto stream =
      TRY(async::Loop::current().network().adopt_fds(STDIN_FILENO, STDOUT_FILENO, "stdio"));
  return std::make_unique<Stdio>(std::move(stream), spec.signal);
}

}  // namespace firn::chardev
