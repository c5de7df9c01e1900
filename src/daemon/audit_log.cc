#include "daemon/audit_log.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "daemon/audit_record.h"

namespace firn::daemon {

using async::Task;
using base::Result;

namespace {

constexpr auto kRetryPause = std::chrono::seconds(1);
// What one call writes, or a line if it is longer.
constexpr size_t kBatchBytes = size_t{256} << 10;

}  // namespace

AuditLog::~AuditLog() { CHECK(queue_.empty() && !running_); }

Task<Result<>> AuditLog::write(std::string line) {
  CHECK(!closing_);
  Waiter waiter;
  push({.text = std::move(line), .waiter = &waiter});
  while (!waiter.done) co_await written_.wait();
  co_return waiter.result;
}

void AuditLog::post(std::string line, bool keep) {
  CHECK(!closing_);
  if (!keep && droppable_ >= kMaxWaiting) {
    ++lost_;
    return;
  }
  if (!keep) ++droppable_;
  push({.text = std::move(line), .keep = keep});
}

void AuditLog::push(Line line) {
  line.text += '\n';
  const bool try_now = line.waiter != nullptr;
  queue_.push_back(std::move(line));
  if (try_now && pause_ != nullptr) pause_->cancel();
  if (!std::exchange(running_, true)) scope_.spawn(run());
}

Task<void> AuditLog::run() {
  while (!queue_.empty()) {
    std::deque<Line> batch = take_batch();
    std::string text;
    for (const Line& line : batch) text += line.text;
    auto appended =
        co_await async::Loop::current().on_worker([this, &text] { return file_.append(text); });
    note_state(appended.result);
    settle(std::move(batch), appended);
    if (appended.result) continue;
    if (closing_) break;
    const bool somebody_waits =
        std::ranges::any_of(queue_, [](const Line& line) { return line.waiter != nullptr; });
    if (!somebody_waits && !queue_.empty()) co_await pause();
  }
  running_ = false;
}

std::deque<AuditLog::Line> AuditLog::take_batch() {
  std::deque<Line> batch;
  size_t bytes = 0;
  while (!queue_.empty() && (batch.empty() || bytes + queue_.front().text.size() <= kBatchBytes)) {
    Line& line = queue_.front();
    bytes += line.text.size();
    if (!line.keep && line.waiter == nullptr) --droppable_;
    batch.push_back(std::move(line));
    queue_.pop_front();
  }
  return batch;
}

void AuditLog::settle(std::deque<Line> batch, const AuditFile::Appended& appended) {
  size_t end = 0;
  std::deque<Line> again;
  for (Line& line : batch) {
    end += line.text.size();
    const bool written = end <= appended.written;
    if (line.waiter != nullptr) {
      if (!written) line.waiter->result = appended.result;
      line.waiter->done = true;
    } else if (!written) {
      if (!line.keep) ++droppable_;
      again.push_back(std::move(line));
    }
  }
  queue_.insert(queue_.begin(), std::make_move_iterator(again.begin()),
                std::make_move_iterator(again.end()));
  written_.wake_all();
}

void AuditLog::note_state(const Result<>& result) {
  if (!result && !failing_) {
    base::log_error(fmt::format(
        "audit log: {}; commands that change something are refused until it can be written",
        result.error().text()));
  }
  if (result && failing_) {
    base::log_info(fmt::format("audit log: '{}' can be written again", file_.path()));
  }
  failing_ = !result;
  if (result && lost_ != 0) {
    push({.text = audit_lost_line(std::exchange(lost_, 0)), .keep = true});
  }
}

Task<void> AuditLog::pause() {
  async::CancelSource source;
  pause_ = &source;
  co_await async::Loop::current().sleep_for(kRetryPause, source.token());
  pause_ = nullptr;
}

Task<void> AuditLog::close() {
  closing_ = true;
  if (pause_ != nullptr) pause_->cancel();
  co_await scope_.join();
  const uint64_t lost = queue_.size() + std::exchange(lost_, 0);
  queue_.clear();
  if (lost != 0) {
    base::log_error(fmt::format("audit log: {} lines could not be written to '{}' and are lost",
                                lost, file_.path()));
  }
}

}  // namespace firn::daemon
