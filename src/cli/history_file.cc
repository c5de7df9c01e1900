#include "cli/history_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "base/json.h"
#include "cli/shell_words.h"

namespace firn::cli {

namespace fs = std::filesystem;
namespace json = boost::json;

namespace {

constexpr mode_t kOwnerOnly = 0600;

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string() : std::string(value);
}

bool is_secret_name(std::string_view command, std::string_view path) {
  const size_t dot = path.rfind('.');
  std::string name(dot == std::string_view::npos ? path : path.substr(dot + 1));
  std::ranges::replace(name, '_', '-');
  const auto has = [&](std::string_view part) { return name.find(part) != std::string::npos; };
  if (name.ends_with("-secret")) return false;
  if (name == "data" || name == "keyid" || name == "iv") {
    return command.starts_with("object") || command.starts_with("ringbuf");
  }
  return has("password") || has("passphrase") || has("passwd") || has("secret") || has("token") ||
         has("credential");
}

// In any word: a URI with credentials, a line of the human monitor that takes a secret.
bool holds_secret(std::string_view word) {
  const size_t authority = word.find("//");
  if (authority != std::string_view::npos && word.find('@', authority) != std::string_view::npos) {
    return true;
  }
  return word.find("ringbuf_write") != std::string_view::npos ||
         word.find("object_add") != std::string_view::npos;
}

bool has_secret(std::string_view command, const base::JsonValue& value, size_t depth) {
  constexpr size_t kMaxDepth = 64;
  if (depth > kMaxDepth) return true;
  if (value.is_array()) {
    return std::ranges::any_of(value.get_array(), [&](const base::JsonValue& element) {
      return has_secret(command, element, depth + 1);
    });
  }
  if (!value.is_object()) return false;
  return std::ranges::any_of(value.get_object(), [&](const auto& member) {
    return is_secret_name(command, member.key()) || has_secret(command, member.value(), depth + 1);
  });
}

}  // namespace

std::string history_path() {
  const std::string state = environment("XDG_STATE_HOME");
  if (state.starts_with('/')) return state + "/firn/history";
  const std::string home = environment("HOME");
  return home.empty() ? std::string() : home + "/.local/state/firn/history";
}

bool looks_secret(std::string_view line) {
  const std::vector<ShellWord> words = split_words(line);
  if (words.empty()) return false;
  // A whole QMP command as JSON counts as any command.
  const std::string command = words.front().text.starts_with('{') ? "object" : words.front().text;
  for (const ShellWord& word : words) {
    if (holds_secret(word.text)) return true;
    const bool flag = word.text.starts_with("--");
    const size_t equals = word.text.find('=');
    const std::string name = word.text.substr(0, equals).substr(flag ? 2 : 0);
    const bool sets = flag || equals != std::string::npos;
    if (sets && is_secret_name(command, name)) return true;
    const size_t begin = equals == std::string::npos || word.text.starts_with('{') ? 0 : equals + 1;
    const std::string value = word.text.substr(begin);
    if (!value.starts_with('{') && !value.starts_with('[')) continue;
    const base::Result<base::JsonValue> parsed = base::parse_json(value);
    // What can't be read may hold anything.
    if (!parsed || has_secret(command, *parsed, 0)) return true;
  }
  return false;
}

std::vector<std::string> HistoryFile::load() {
  std::vector<std::string> lines;
  if (path_.empty()) return lines;
  std::ifstream file(path_);
  for (std::string line; std::getline(file, line);) lines.push_back(std::move(line));
  if (lines.size() > kMaxLines) {
    const bool long_file = lines.size() > 2 * kMaxLines;
    lines.erase(lines.begin(), lines.end() - static_cast<ptrdiff_t>(kMaxLines));
    if (long_file) rewrite(lines);
  }
  return lines;
}

void HistoryFile::append(std::string_view line) {
  if (path_.empty()) return;
  std::error_code ignored;
  const fs::path folder = fs::path(path_).parent_path();
  if (fs::create_directories(folder, ignored)) {
    fs::permissions(folder, fs::perms::owner_all, ignored);
  }
  const int fd =
      ::open(path_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, kOwnerOnly);
  if (fd < 0) return;
  const std::string text = std::string(line) + '\n';
  // One write, so that lines of several programs don't mix.
  [[maybe_unused]] const ssize_t written = ::write(fd, text.data(), text.size());
  ::close(fd);
}

void HistoryFile::rewrite(const std::vector<std::string>& lines) {
  const std::string beside = path_ + ".new";
  const int fd =
      ::open(beside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, kOwnerOnly);
  if (fd < 0) return;
  std::string text;
  for (const std::string& line : lines) text += line + '\n';
  const bool whole = ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  ::close(fd);
  if (!whole || ::rename(beside.c_str(), path_.c_str()) != 0) ::unlink(beside.c_str());
}

}  // namespace firn::cli
