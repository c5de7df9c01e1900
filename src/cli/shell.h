// The interactive shell: a line editor on the terminal, a connection to a daemon, and what comes
// from both at any time.
#pragma once

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "async/scope.h"
#include "async/socket.h"
#include "async/sync.h"
#include "base/line_editor.h"
#include "base/result.h"
#include "cli/command.h"
#include "cli/history_file.h"
#include "cli/live_schema.h"
#include "cli/qmp_client.h"
#include "cli/result_text.h"
#include "cli/shell_line.h"
#include "cli/terminal.h"

namespace firn::cli {

class Shell final {
 public:
  struct Options {
    bool colours = false;
    Output output = Output::kHuman;
    std::string history;  // a file; empty: none
  };

  // `client` is connected and has no command in flight.
  Shell(std::unique_ptr<QmpClient> client, std::optional<LiveSchema> schema, Options options);
  ~Shell();

  // Until the user leaves, or a signal ends it, or the daemon goes on the user's `quit`. Standard
  // input is a terminal, and is as it was afterwards. The signal's number, or 0.
  async::Task<base::Result<int>> run();

 private:
  // What comes from outside.
  async::Task<void> read_keys();
  async::Task<void> read_signals();
  async::Task<void> read_messages(QmpClient& client);
  void take_signal(int number);
  void take_message(boost::json::object message);
  void take_late_reply(const std::string& command, const boost::json::object& reply);
  void lose_connection(const base::Error& error);

  // What is done about it.
  async::Task<void> take_event(base::LineEditor::Event event);
  async::Task<void> run_line(std::string line);
  void run_verb(const ShellLine& line);
  async::Task<void> run_command(std::string line, ShellLine read);
  bool holds_back_quit(const std::string& command);
  async::Task<void> complete();
  void explain();
  async::Task<base::Result<>> reconnect();
  void stop_process();

  // Sends a command and waits for its answer. kCancelled on Ctrl-C, kTimedOut after `patience`:
  // the command then goes on in the daemon, and its answer is shown as it comes, unless `quiet`.
  async::Task<base::Result<boost::json::object>> ask(std::string command,
                                                     boost::json::object arguments,
                                                     std::optional<async::Duration> patience,
                                                     bool quiet);
  async::Task<void> wake_after(async::Duration duration);

  void print(std::string_view text) { editor_.print(text); }
  void print_error(const base::Error& error, std::string_view error_class = {});
  void point_at(std::string_view line, std::optional<Span> span);
  void flush();
  void set_prompt();
  TextOptions text_options() const;
  const LiveSchema* schema() const { return schema_ ? &*schema_ : nullptr; }

  Options options_;
  std::unique_ptr<QmpClient> client_;
  std::optional<LiveSchema> schema_;
  std::string socket_path_;
  std::string prompt_;
  base::LineEditor editor_;
  HistoryFile history_;
  std::unique_ptr<Terminal> terminal_;
  std::unique_ptr<async::Stream> keys_;
  std::unique_ptr<async::Stream> signals_;

  async::TaskScope scope_;
  async::TaskScope connection_scope_;  // the reader of client_
  async::WaitList wake_;               // anything below has changed
  bool connected_ = true;
  bool ending_ = false;
  bool running_ = false;      // a line
  bool interrupted_ = false;  // Ctrl-C while it runs
  bool show_events_ = true;
  bool quitting_ = false;      // the daemon was told to end
  bool quit_warned_ = false;   // the last line was a `quit` that was held back
  bool stopped_here_ = false;  // the next SIGCONT is the answer to our own stop
  int signal_ = 0;

  int64_t next_id_ = 1;
  std::set<int64_t> awaited_;
  std::map<int64_t, boost::json::object> replies_;
  std::map<int64_t, std::string>
      left_behind_;  // the commands nobody waits for; "": not of interest
};

}  // namespace firn::cli
