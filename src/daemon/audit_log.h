// AuditLog: lines on their way to the audit log's file.
//
// Lines are written in order by one task, on a worker, so that a slow disk keeps the loop running;
// those who must know that a line is written wait for it. While the file can't be written, what has
// to be in the log is kept and tried again, each second and with each new line.
//
// Belongs to the control loop.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>

#include "async/loop.h"
#include "async/scope.h"
#include "async/sync.h"
#include "async/task.h"
#include "base/result.h"
#include "daemon/audit_file.h"

namespace firn::daemon {

class AuditLog final {
 public:
  // Lines that may be dropped are, beyond this many waiting.
  static constexpr size_t kMaxWaiting = 1024;

  explicit AuditLog(AuditFile file) : file_(std::move(file)) {}
  ~AuditLog();  // closed

  // Both take one line without its end.

  // In the file when it returns. After an error the line is not tried again; it may be in the file
  // nevertheless, or a part of it.
  async::Task<base::Result<>> write(std::string line);
  // Will be in the file before the lines that come after. `keep`: even if the log can't be written
  // for long, as long as we live; such lines are bounded by their maker. Others are counted instead
  // and a line tells how many are lost.
  void post(std::string line, bool keep);

  // Writes what waits and ends. If that fails, says so on standard error. No line may come after.
  async::Task<void> close();

 private:
  struct Waiter {
    base::Result<> result;
    bool done = false;
  };
  struct Line {
    std::string text;  // with its end
    bool keep = false;
    Waiter* waiter = nullptr;  // of write(); a line of post() has none
  };

  void push(Line line);
  async::Task<void> run();
  std::deque<Line> take_batch();
  // What of a batch has to be tried again goes back to the front of the queue.
  void settle(std::deque<Line> batch, const AuditFile::Appended& appended);
  void note_state(const base::Result<>& result);
  // Until it is time to try again.
  async::Task<void> pause();

  AuditFile file_;  // the worker's while one writes
  std::deque<Line> queue_;
  size_t droppable_ = 0;  // lines in `queue_` that are not kept and nobody waits for
  uint64_t lost_ = 0;
  bool failing_ = false;
  bool closing_ = false;
  bool running_ = false;                  // run() is
  async::CancelSource* pause_ = nullptr;  // of the pause that goes on
  async::WaitList written_;               // callers of write()
  async::TaskScope scope_;
};

}  // namespace firn::daemon
