// The lines that people typed before, in a file of their own.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace firn::cli {

// $XDG_STATE_HOME/firn/history, or ~/.local/state/firn/history; empty if there is no home.
std::string history_path();

// A line that sets a member that looks like a secret (password, passphrase, an object's data, what
// a ring buffer gets), or has a URI with credentials. Such lines belong in no file. Members that
// name a secret object (key-secret=...) are no secrets.
bool looks_secret(std::string_view line);

// One line of text each, oldest first. Several programs may append at the same time. The file is
// its owner's alone (0600); what can't be read or written is passed over.
class HistoryFile final {
 public:
  static constexpr size_t kMaxLines = 1000;

  // An empty path: nothing is loaded or kept.
  explicit HistoryFile(std::string path) : path_(std::move(path)) {}

  // The last kMaxLines lines. A file of more than twice that is cut to them.
  std::vector<std::string> load();
  void append(std::string_view line);

 private:
  void rewrite(const std::vector<std::string>& lines);

  std::string path_;
};

}  // namespace firn::cli
