// firn completion: what a shell needs to complete firn's own command line, the arguments of
// `firn qmp` by the live daemon included.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <chrono>
#include <set>
#include <utility>

#include "async/scope.h"
#include "cli/command.h"
#include "cli/completion.h"
#include "cli/endpoint.h"
#include "cli/options.h"
#include "cli/shell_words.h"

namespace firn::cli {

namespace json = boost::json;
using async::Task;
using base::Result;
using namespace std::chrono_literals;

namespace {

// A shell waits for this; a daemon that is slower is not asked further.
constexpr async::Duration kPatience = 1s;

constexpr std::string_view kBash = R"script(# firn's completion for bash.
_firn() {
  local line="${COMP_LINE:0:COMP_POINT}" word
  COMPREPLY=()
  while IFS= read -r word; do
    COMPREPLY+=("$word")
  done < <(firn completion --line "$line" --breaks "$COMP_WORDBREAKS" 2>/dev/null)
}
complete -o nospace -o default -F _firn firn
)script";

constexpr std::string_view kZsh = R"script(#compdef firn
# firn's completion for zsh.
_firn() {
  local -a words_found
  words_found=("${(@f)$(firn completion --line "${BUFFER[1,CURSOR]}" 2>/dev/null)}")
  if [[ -n "${words_found[1]}" ]]; then
    compadd -Q -S '' -- "${words_found[@]}"
  else
    _files
  fi
}
compdef _firn firn
)script";

constexpr std::string_view kFish = R"script(# firn's completion for fish.
complete -c firn -a '(firn completion --line (commandline -cp) 2>/dev/null | string trim -r)'
)script";

// The words of a command line, the last one being typed.
struct Line {
  std::vector<std::string> words;  // behind the program's name
  std::string typed;
  std::string raw;  // as typed, with its quotes
};

Line read_line(std::string_view text) {
  Line line;
  std::vector<ShellWord> words = split_words(text);
  if (!words.empty() && (words.back().end == text.size() || words.back().open)) {
    line.typed = words.back().text;
    line.raw = text.substr(words.back().begin);
    words.pop_back();
  }
  for (size_t i = 1; i < words.size(); ++i) line.words.push_back(std::move(words[i].text));
  return line;
}

std::vector<std::string> options_in(std::string_view help) {
  std::set<std::string> found = {"--help"};
  for (size_t at = 0; (at = help.find("--", at)) != std::string_view::npos;) {
    const size_t end = help.find_first_not_of("abcdefghijklmnopqrstuvwxyz-", at);
    const std::string_view option = help.substr(at, end - at);
    if (option.size() > 2) found.emplace(option);
    at += option.size();
  }
  return {found.begin(), found.end()};
}

// The candidates for a line: whole words, ready to be inserted.
class Completer {
 public:
  explicit Completer(Line line) : line_(std::move(line)) {}

  Task<std::vector<std::string>> run() {
    const size_t at = skip_globals();
    if (at >= line_.words.size()) {
      if (value_of_global_) co_return found_;
      std::set<std::string_view> names;
      for (const Command* command : commands()) {
        names.insert(command->name.substr(0, command->name.find(' ')));
      }
      for (const std::string_view name : names) add(name, " ");
      for (std::string_view option : {"--socket", "--help", "--version"}) add(option, " ");
      co_return found_;
    }
    line_.words.erase(line_.words.begin(), line_.words.begin() + static_cast<ptrdiff_t>(at));
    std::string name = line_.words[0];
    size_t words = 1;
    if (is_group(name)) {
      if (line_.words.size() == 1) {
        complete_group(name);
        co_return found_;
      }
      name += " " + line_.words[1];
      words = 2;
    }
    const auto command = std::ranges::find(commands(), name, &Command::name);
    if (command == commands().end()) co_return found_;
    line_.words.erase(line_.words.begin(), line_.words.begin() + static_cast<ptrdiff_t>(words));
    if (name == "qmp") {
      co_await complete_qmp();
    } else if (line_.typed.starts_with('-')) {
      for (const std::string& option : options_in((*command)->details)) add(option, " ");
    } else if (takes_device(name) && line_.words.empty()) {
      co_await complete_device();
    } else if (name == "events") {
      co_await complete_event();
    } else if (name == "completion") {
      for (std::string_view shell : {"bash", "zsh", "fish"}) add(shell, " ");
    }
    co_return found_;
  }

 private:
  // The index of the command's name.
  size_t skip_globals() {
    size_t at = 0;
    while (at < line_.words.size() && line_.words[at].starts_with('-')) {
      constexpr std::string_view kSocketIs = "--socket=";
      if (line_.words[at] == "--socket") {
        value_of_global_ = at + 1 == line_.words.size();
        if (!value_of_global_) socket_ = line_.words[at + 1];
        ++at;
      } else if (line_.words[at].starts_with(kSocketIs)) {
        socket_ = line_.words[at].substr(kSocketIs.size());
      }
      ++at;
    }
    return at;
  }

  void add(std::string_view word, std::string_view suffix) {
    if (word.starts_with(line_.typed)) found_.push_back(std::string(word) + std::string(suffix));
  }

  Task<std::unique_ptr<QmpClient>> connect() {
    auto client = co_await connect_daemon(socket_, {});
    co_return client ? *std::move(client) : nullptr;
  }

  static bool takes_device(std::string_view command) {
    return command == "snapshot" || command == "tree" || command == "diff" || command == "revert" ||
           command == "fork";
  }

  void complete_group(const std::string& group) {
    for (const Command* command : commands()) {
      if (command->name.starts_with(group + " ")) add(command->name.substr(group.size() + 1), " ");
    }
  }

  Task<void> complete_device() {
    const auto client = co_await connect();
    if (client == nullptr) co_return;
    const Result<json::value> value = co_await client->execute("query-block");
    if (!value) co_return;
    for (const std::string& name : names_in(NameKind::kDevice, *value)) add(name, " ");
  }

  Task<void> complete_event() {
    const auto client = co_await connect();
    if (client == nullptr) co_return;
    const auto schema = co_await load_schema(*client);
    if (!schema || !*schema) co_return;
    for (const auto& [name, event] : (*schema)->events()) add(name, " ");
  }

  Task<void> complete_qmp() {
    std::vector<std::string>& words = line_.words;
    while (!words.empty() && words.front().starts_with('-')) words.erase(words.begin());
    if (words.empty() && line_.typed.starts_with('-')) {
      for (std::string_view option : {"--compact", "--no-check", "--help"}) add(option, " ");
      co_return;
    }
    const auto client = co_await connect();
    if (client == nullptr) co_return;
    const auto schema = co_await load_schema(*client);
    if (!schema || !*schema) co_return;
    std::string text;
    for (const std::string& word : words) text += quote_word(word) + " ";
    const size_t begin = text.size();
    text += line_.raw;
    CompletionPlan plan = plan_completion(**schema, {}, text, text.size());
    if (plan.names == NameKind::kFile) add_files(plan);
    std::vector<NameKind> kinds = {plan.names};
    if (plan.names == NameKind::kDevice) kinds.push_back(NameKind::kNode);
    for (const NameKind kind : kinds) {
      const std::string query(query_of(kind));
      if (query.empty() || (*schema)->command(query) == nullptr) continue;
      json::object arguments;
      if (kind == NameKind::kObject) arguments.emplace("path", "/objects");
      const Result<json::value> value = co_await client->execute(query, std::move(arguments));
      if (value) add_names(plan, names_in(kind, *value));
    }
    const std::string kept = text.substr(begin, plan.completion.from - begin);
    for (const auto& candidate : plan.completion.candidates) {
      found_.push_back(kept + candidate.text + candidate.suffix);
    }
  }

  Line line_;
  std::string socket_;
  bool value_of_global_ = false;
  std::vector<std::string> found_;
};

// Bash takes a word apart at characters like '=' and replaces the last part alone.
std::string without_parts(std::string word, std::string_view typed, std::string_view breaks) {
  const size_t at = typed.find_last_of(breaks);
  if (breaks.empty() || at == std::string_view::npos) return word;
  return word.starts_with(typed.substr(0, at + 1)) ? word.substr(at + 1) : word;
}

Task<void> end_later(async::CancelToken token) {
  if (co_await async::Loop::current().sleep_for(kPatience, token)) _exit(0);
}

Task<Result<>> run(Globals, std::vector<std::string> arguments) {
  const Options options = CO_TRY(Options::parse("completion", {{"line"}, {"breaks"}}, arguments));
  if (options.has("line")) {
    Line line = read_line(options.value("line"));
    const std::string typed = line.raw;
    async::TaskScope scope;
    scope.spawn(end_later(scope.token()));
    Completer completer(std::move(line));
    const std::vector<std::string> found = co_await completer.run();
    scope.cancel();
    co_await scope.join();
    for (const std::string& word : found) {
      print_out(without_parts(word, typed, options.value("breaks")) + "\n");
    }
    co_return Result<>();
  }
  const std::string shell = options.operands().size() == 1 ? options.operands()[0] : "";
  if (shell == "bash") {
    print_out(kBash);
  } else if (shell == "zsh") {
    print_out(kZsh);
  } else if (shell == "fish") {
    print_out(kFish);
  } else {
    co_return base::fail(usage_error("completion", "one of bash, zsh and fish is needed"));
  }
  co_return Result<>();
}

}  // namespace

const Command kCompletionCommand = {
    .name = "completion",
    .usage = "bash|zsh|fish",
    .summary = "Print a script that makes your shell complete firn's command line",
    .details =
        "Commands, options, devices, and for 'firn qmp' the commands and arguments of the\n"
        "daemon that runs.\n"
        "\n"
        "examples:\n"
        "  source <(firn completion bash)\n"
        "  firn completion fish > ~/.config/fish/completions/firn.fish\n",
    .run = run,
};

}  // namespace firn::cli
