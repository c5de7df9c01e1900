#include "qmp/hmp_session.h"

#include <fmt/format.h>

#include <utility>

namespace firn::qmp {
namespace {

constexpr size_t kReadBytes = 4096;
// QEMU's, since scripts wait for it.
constexpr std::string_view kPrompt = "(qemu) ";

std::optional<base::LineEditor> make_editor(bool terminal) {
  if (!terminal) return std::nullopt;
  auto options = base::LineEditor::for_strangers();
  options.prompt = kPrompt;
  options.bracketed_paste = false;  // scripts wait for the prompt as it stands
  return base::LineEditor(std::move(options));
}

HmpHost host_of(HmpHost host, const std::optional<base::LineEditor>& editor) {
  host.history = editor ? &editor->history() : nullptr;
  return host;
}

}  // namespace

HmpSession::HmpSession(std::unique_ptr<async::Stream> stream, Commands& commands,
                       HmpSessionOptions options)
    : stream_(std::move(stream)),
      greeting_(std::move(options.greeting)),
      editor_(make_editor(options.terminal)),
      hmp_(commands, host_of(options.host, editor_)),
      output_(*stream_) {}

Task<void> HmpSession::run() {
  scope_.spawn(output_.run());
  print(greeting_ + "\n");
  prompt();
  std::string buffer(kReadBytes, '\0');
  async::IoVec iov(buffer.data(), buffer.size());
  while (true) {
    auto received = co_await stream_->receive(iov);
    if (!received || *received == 0) break;
    const std::string_view bytes = std::string_view(buffer).substr(0, *received);
    if (editor_) {
      co_await take_keys(bytes);
    } else {
      co_await take_bytes(bytes);
    }
  }
  output_.finish();
  co_await scope_.join();
  while (drainers_ != 0) co_await idle_waiters_.wait();
  stream_->close();
}

Task<void> HmpSession::drain() {
  draining_ = true;
  ++drainers_;
  while (running_command_) co_await idle_waiters_.wait();
  if (editor_ && editor_->prompting()) {
    editor_->stop();
    output_.push(editor_->take_output());
  }
  co_await output_.wait_until_sent();
  --drainers_;
  idle_waiters_.wake_all();
}

// Whole lines -----------------------------------------------------------------------------------

Task<void> HmpSession::take_bytes(std::string_view bytes) {
  for (char c : bytes) {
    if (c != '\n') {
      too_long_ = too_long_ || line_.size() >= kMaxLineBytes;
      if (!too_long_ && c != '\r' && c != '\0') line_ += c;
      continue;
    }
    std::string line = std::exchange(line_, {});
    if (std::exchange(too_long_, false)) {
      print(fmt::format("the line is longer than {} bytes\n", kMaxLineBytes));
      prompt();
      continue;
    }
    co_await take_line(std::move(line));
  }
}

// Keys ------------------------------------------------------------------------------------------

Task<void> HmpSession::take_keys(std::string_view bytes) {
  while (!bytes.empty() && !draining_) {
    bytes.remove_prefix(editor_->push(bytes));
    while (auto event = editor_->next()) co_await act_on(*std::move(event));
    output_.push(editor_->take_output());
    co_await output_.wait_for_room();
  }
}

Task<void> HmpSession::act_on(base::LineEditor::Event event) {
  switch (event.kind) {
    case base::LineEditor::EventKind::kLine:
      editor_->add_history(event.line);
      co_await take_line(std::move(event.line));
      break;
    case base::LineEditor::EventKind::kTooLong:
      print("the line is too long\n");
      prompt();
      break;
    case base::LineEditor::EventKind::kEnd:  // the monitor stays
      prompt();
      break;
    case base::LineEditor::EventKind::kComplete:
      co_await complete();
      break;
    case base::LineEditor::EventKind::kInterrupt:
    case base::LineEditor::EventKind::kHelp:
    case base::LineEditor::EventKind::kSuspend:
      break;
  }
}

Task<void> HmpSession::complete() {
  HmpCompletion found = co_await hmp_.complete(editor_->line().substr(0, editor_->cursor()));
  base::LineEditor::Completion completion;
  completion.from = found.start;
  for (std::string& text : found.candidates) {
    completion.candidates.push_back(
        {.text = std::move(text), .suffix = " ", .label = {}, .description = {}});
  }
  editor_->complete(completion);
}

// Both ------------------------------------------------------------------------------------------

Task<void> HmpSession::take_line(std::string line) {
  if (draining_ || !hmp_.taking()) co_return;
  running_command_ = true;
  if (editor_) output_.push(editor_->take_output());
  co_await output_.wait_for_room();
  if (!output_.gone()) {
    print(co_await hmp_.run(std::move(line)));
    if (hmp_.taking()) prompt();
  }
  running_command_ = false;
  idle_waiters_.wake_all();
}

void HmpSession::prompt() {
  if (editor_) {
    editor_->start();
    output_.push(editor_->take_output());
  } else {
    print(kPrompt);
  }
}

// Each \n is sent as CR LF.
void HmpSession::print(std::string_view text) {
  if (editor_) {
    editor_->print(text);
    return;
  }
  std::string out;
  out.reserve(text.size() + 16);
  for (char c : text) {
    if (c == '\n') out += '\r';
    out += c;
  }
  output_.push(std::move(out));
}

}  // namespace firn::qmp
