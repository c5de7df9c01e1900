#include "cli/shell.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <utility>

#include "async/loop.h"
#include "base/text_width.h"
#include "cli/completion.h"
#include "cli/endpoint.h"
#include "cli/shell_words.h"

namespace firn::cli {

namespace json = boost::json;
using async::Task;
using base::Error;
using base::ErrorKind;
using base::fail;
using base::LineEditor;
using base::Result;
using namespace std::chrono_literals;

namespace {

// How long a completion waits for the daemon's names.
constexpr async::Duration kCompletionPatience = 700ms;

// "vda" for the socket of that device's daemon.
std::string short_name(std::string_view socket_path) {
  std::string_view name = socket_path.substr(socket_path.rfind('/') + 1);
  name = name.substr(0, name.rfind('.'));
  return name.empty() ? "firn" : base::printable(name);
}

std::string text_of(const json::object& object, std::string_view member) {
  const json::value* value = object.if_contains(member);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : std::string();
}

const json::object& error_of(const json::object& reply) {
  static const json::object kNone;
  const json::value* error = reply.if_contains("error");
  return error != nullptr && error->is_object() ? error->get_object() : kNone;
}

}  // namespace

Shell::Shell(std::unique_ptr<QmpClient> client, std::optional<LiveSchema> schema, Options options)
    : options_(std::move(options)),
      client_(std::move(client)),
      schema_(std::move(schema)),
      socket_path_(client_->socket_path()),
      editor_({.max_history_lines = HistoryFile::kMaxLines,
               .colours = options_.colours,
               .help_key = '?'}),
      history_(options_.history) {}

Shell::~Shell() = default;

Task<Result<int>> Shell::run() {
  terminal_ = CO_TRY(Terminal::open());
  async::Network& network = async::Loop::current().network();
  const int signal_fd = terminal_->take_signal_fd();
  signals_ = CO_TRY(network.adopt_fds(signal_fd, signal_fd, "signals"));
  keys_ = CO_TRY(network.adopt_fds(STDIN_FILENO, STDOUT_FILENO, "terminal"));
  for (const std::string& line : history_.load()) editor_.add_history(line);
  const TerminalSize size = terminal_size();
  editor_.resize(size.columns, size.rows);
  terminal_->enter_raw();
  print(fmt::format("Connected to {}. Tab completes, ? explains, Ctrl-D leaves.\n",
                    base::printable(socket_path_)));
  for (const json::object& event : client_->take_events()) take_message(event);
  set_prompt();
  editor_.start();
  connection_scope_.spawn(read_messages(*client_));
  scope_.spawn(read_keys());
  scope_.spawn(read_signals());
  while (!ending_) {
    if (auto event = editor_.next()) {
      co_await take_event(*std::move(event));
      continue;
    }
    flush();
    co_await wake_.wait();
  }
  editor_.stop();
  flush();
  client_->close();
  keys_->close();
  signals_->close();
  scope_.cancel();
  co_await scope_.join();
  co_await connection_scope_.join();
  terminal_.reset();
  co_return signal_;
}

// What comes from outside.
// -------------------------------------------------------------------------

Task<void> Shell::read_keys() {
  std::string buffer(4096, '\0');
  const async::IoVec room(buffer.data(), buffer.size());
  for (;;) {
    const Result<uint64_t> got = co_await keys_->receive(room);
    if (!got || *got == 0) break;
    std::string_view bytes = std::string_view(buffer).substr(0, *got);
    while (!bytes.empty() && !ending_) {
      bytes.remove_prefix(editor_.push(bytes));
      if (running_) {
        while (auto event = editor_.next()) {
          interrupted_ = interrupted_ || event->kind == LineEditor::EventKind::kInterrupt;
        }
        if (editor_.room() == 0) bytes = {};  // nobody types that much ahead
      }
      wake_.wake_all();
      if (!bytes.empty()) co_await async::Loop::current().yield();
    }
  }
  ending_ = true;
  wake_.wake_all();
}

Task<void> Shell::read_signals() {
  std::string buffer(64, '\0');
  const async::IoVec room(buffer.data(), buffer.size());
  for (;;) {
    const Result<uint64_t> got = co_await signals_->receive(room);
    if (!got || *got == 0) break;
    for (size_t i = 0; i < *got; ++i) take_signal(static_cast<unsigned char>(buffer[i]));
    flush();
    wake_.wake_all();
  }
}

void Shell::take_signal(int number) {
  switch (number) {
    case SIGWINCH: {
      const TerminalSize size = terminal_size();
      editor_.resize(size.columns, size.rows);
      break;
    }
    case SIGCONT:
      if (std::exchange(stopped_here_, false)) break;
      terminal_->enter_raw();
      editor_.redraw();
      break;
    case SIGTSTP:
      stop_process();
      break;
    case SIGINT:
      editor_.push("\x03");
      interrupted_ = running_;
      break;
    default:
      signal_ = number;
      ending_ = true;
      interrupted_ = true;
  }
}

Task<void> Shell::read_messages(QmpClient& client) {
  for (;;) {
    Result<json::object> message = co_await client.receive();
    if (!message) {
      if (!ending_) lose_connection(message.error());
      break;
    }
    take_message(*std::move(message));
    flush();
  }
  connected_ = false;
  wake_.wake_all();
}

void Shell::take_message(json::object message) {
  if (message.contains("event")) {
    if (!show_events_) return;
    print(options_.output == Output::kJson ? base::print_json(json::value(message)) + "\n"
                                           : event_line(message, text_options()));
    return;
  }
  const json::value* id = message.if_contains("id");
  if (id == nullptr || !id->is_int64()) {
    if (message.contains("error")) {
      print_error(Error(ErrorKind::kGeneric, text_of(error_of(message), "desc")),
                  error_class_of(error_of(message)));
    }
    return;
  }
  if (const auto left = left_behind_.find(id->get_int64()); left != left_behind_.end()) {
    if (!left->second.empty()) take_late_reply(left->second, message);
    left_behind_.erase(left);
  } else if (const int64_t number = id->get_int64(); awaited_.contains(number)) {
    replies_[number] = std::move(message);
    wake_.wake_all();
  }
}

void Shell::take_late_reply(const std::string& command, const json::object& reply) {
  const json::object& error = error_of(reply);
  if (!error.empty()) {
    print_error(Error(ErrorKind::kGeneric, text_of(error, "desc")).with_context(command),
                error_class_of(error));
    return;
  }
  print(fmt::format("{} has ended.\n", command));
}

void Shell::lose_connection(const Error& error) {
  connected_ = false;
  if (quitting_) {
    print("The daemon has ended.\n");
    ending_ = true;
  } else {
    print_error(error.kind() == ErrorKind::kShutdown
                    ? Error(error).with_hint("The next command connects again; Ctrl-D leaves.")
                    : error);
    set_prompt();
  }
  flush();
}

// What is done about it.
// ---------------------------------------------------------------------------

Task<void> Shell::take_event(LineEditor::Event event) {
  switch (event.kind) {
    case LineEditor::EventKind::kLine:
      flush();
      co_await run_line(std::move(event.line));
      break;
    case LineEditor::EventKind::kTooLong:
      print_error(Error(ErrorKind::kInvalidArgument, "The line is too long"));
      break;
    case LineEditor::EventKind::kEnd:
      ending_ = true;
      break;
    case LineEditor::EventKind::kComplete:
      co_await complete();
      break;
    case LineEditor::EventKind::kHelp:
      explain();
      break;
    case LineEditor::EventKind::kSuspend:
      stop_process();
      break;
    case LineEditor::EventKind::kInterrupt:
      break;
  }
  if (!ending_ && !editor_.prompting()) editor_.start();
}

Task<void> Shell::run_line(std::string line) {
  if (!looks_secret(line)) {
    const bool repeated = !editor_.history().empty() && editor_.history().back() == line;
    const bool blank = line.find_first_not_of(' ') == std::string::npos;
    if (!repeated && !blank) {
      editor_.add_history(line);
      history_.append(line);
    }
  }
  running_ = true;
  interrupted_ = false;
  std::optional<Span> wrong;
  Result<ShellLine> read = read_shell_line(schema(), line, wrong);
  if (!read) {
    point_at(line, wrong);
    print_error(read.error());
  } else if (read->kind == ShellLine::Kind::kVerb) {
    run_verb(*read);
  } else if (read->kind == ShellLine::Kind::kCommand && !holds_back_quit(read->name)) {
    co_await run_command(std::move(line), *std::move(read));
  }
  running_ = false;
}

void Shell::run_verb(const ShellLine& line) {
  if (line.name == "exit") {
    ending_ = true;
  } else if (line.name == "events") {
    if (line.words.size() == 1 && (line.words[0] == "on" || line.words[0] == "off")) {
      show_events_ = line.words[0] == "on";
    } else {
      print_error(Error(ErrorKind::kInvalidArgument, "'events' takes on or off"));
    }
  } else {
    const Result<std::string> text = help_text(schema(), line.words, terminal_size().columns);
    if (text) {
      print(base::printable(*text, true));
    } else {
      print_error(text.error());
    }
  }
}

// `quit` ends the daemon, where other shells only end themselves.
bool Shell::holds_back_quit(const std::string& command) {
  if (command != "quit" || std::exchange(quit_warned_, true)) {
    quit_warned_ = false;
    return false;
  }
  print(
      "This ends the daemon, with all its exports. Again 'quit' to do it; 'exit' leaves the "
      "shell alone.\n");
  return true;
}

Task<void> Shell::run_command(std::string line, ShellLine read) {
  if (!connected_) {
    if (Result<> result = co_await reconnect(); !result) {
      print_error(result.error());
      co_return;
    }
  }
  quitting_ = read.name == "quit";
  const Result<json::object> reply =
      co_await ask(read.name, std::move(read.arguments), std::nullopt, false);
  if (!reply) {
    if (reply.error().kind() == ErrorKind::kCancelled && !ending_) {
      print("No longer waiting: the command goes on in the daemon.\n");
    } else if (reply.error().kind() != ErrorKind::kShutdown && !ending_) {
      print_error(reply.error());
    }
    co_return;
  }
  if (const json::object& error = error_of(*reply); !error.empty()) {
    quitting_ = false;
    const std::string text = text_of(error, "desc");
    point_at(line, find_named_word(line, text));
    print_error(Error(ErrorKind::kGeneric, text), error_class_of(error));
    co_return;
  }
  const json::value* value = reply->if_contains("return");
  if (value == nullptr) co_return;
  if (options_.output == Output::kJson) {
    print(base::print_json(*value, base::JsonStyle::kPretty) + "\n");
  } else {
    const std::string text = result_text(*value, text_options());
    print(text.empty() ? (options_.colours ? "\x1b[2mok\x1b[0m\n" : "ok\n") : text);
  }
}

Task<void> Shell::complete() {
  if (!schema_) co_return;
  CompletionPlan plan = plan_completion(*schema_, shell_verbs(), editor_.line(), editor_.cursor());
  add_words(plan, *schema_, editor_.line(), SchemaDocs::own());
  if (plan.names == NameKind::kFile) add_files(plan);
  std::vector<NameKind> kinds = {plan.names};
  if (plan.names == NameKind::kDevice) kinds.push_back(NameKind::kNode);  // may stand in its place
  for (const NameKind kind : kinds) {
    const std::string query(query_of(kind));
    if (query.empty() || !connected_ || schema_->command(query) == nullptr) continue;
    json::object arguments;
    if (kind == NameKind::kObject) arguments.emplace("path", "/objects");
    const Result<json::object> reply =
        co_await ask(query, std::move(arguments), kCompletionPatience, true);
    const json::value* value = reply ? reply->if_contains("return") : nullptr;
    if (value != nullptr) add_names(plan, names_in(kind, *value));
  }
  editor_.complete(plan.completion);
}

void Shell::explain() {
  std::vector<std::string> words;
  for (ShellWord& word : split_words(editor_.line())) words.push_back(std::move(word.text));
  const Result<std::string> text = help_text(schema(), words, terminal_size().columns);
  if (text) {
    print(base::printable(*text, true));
  } else {
    print_error(text.error());
  }
}

Task<Result<>> Shell::reconnect() {
  co_await connection_scope_.join();
  awaited_.clear();
  replies_.clear();
  left_behind_.clear();
  auto client = CO_TRY(co_await QmpClient::connect(socket_path_));
  std::optional<LiveSchema> schema = CO_TRY(co_await load_schema(*client));
  client_ = std::move(client);
  schema_ = std::move(schema);
  connected_ = true;
  set_prompt();
  print("Connected again.\n");
  connection_scope_.spawn(read_messages(*client_));
  co_return Result<>();
}

void Shell::stop_process() {
  editor_.suspend();
  flush();
  stopped_here_ = true;
  terminal_->stop_process();
  editor_.resume();
  const TerminalSize size = terminal_size();
  editor_.resize(size.columns, size.rows);
}

Task<Result<json::object>> Shell::ask(std::string command, json::object arguments,
                                      std::optional<async::Duration> patience, bool quiet) {
  const int64_t id = next_id_++;
  async::Loop& loop = async::Loop::current();
  const async::TimePoint start = loop.now();
  awaited_.insert(id);
  if (patience) scope_.spawn(wake_after(*patience));
  Result<> sent = co_await client_->send(command, std::move(arguments), id);
  while (sent && !replies_.contains(id) && connected_ && !(interrupted_ && !quiet) && !ending_ &&
         !(patience && loop.now() - start >= *patience)) {
    co_await wake_.wait();
  }
  awaited_.erase(id);
  if (!sent) co_return fail(std::move(sent).error());
  if (const auto found = replies_.find(id); found != replies_.end()) {
    json::object reply = std::move(found->second);
    replies_.erase(found);
    co_return reply;
  }
  if (!connected_) co_return fail(ErrorKind::kShutdown, "The daemon has gone");
  left_behind_[id] = quiet ? "" : command;
  co_return fail(ErrorKind::kCancelled, "No longer waiting");
}

Task<void> Shell::wake_after(async::Duration duration) {
  co_await async::Loop::current().sleep_for(duration, scope_.token());
  wake_.wake_all();
}

void Shell::print_error(const Error& error, std::string_view error_class) {
  print(error_text(error, error_class, text_options()));
}

void Shell::point_at(std::string_view line, std::optional<Span> span) {
  if (!span) return;
  const size_t indent = base::text_width(prompt_);
  print(pointer_line(line, span->begin, span->end, indent, text_options()));
}

void Shell::flush() {
  if (editor_.prompting() && schema_) {
    editor_.set_hint(hint_for(*schema_, shell_verbs(), editor_.line(), editor_.cursor()));
  }
  print_out(editor_.take_output());
}

void Shell::set_prompt() {
  prompt_ = fmt::format("{}{}> ", short_name(socket_path_), connected_ ? "" : " (gone)");
  editor_.set_prompt(prompt_);
}

TextOptions Shell::text_options() const {
  return {.colours = options_.colours, .width = terminal_size().columns};
}

}  // namespace firn::cli
