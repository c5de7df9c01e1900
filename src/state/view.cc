#include "state/view.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>

#include "state/database.h"
#include "state/tables.h"

namespace firn::state {

using base::Error;
using base::ErrorKind;
using base::fail;
using base::Result;

namespace {

// The WAL's header (https://www.sqlite.org/walformat.html): its salts change when the log begins
// anew, and only then is anything that a copy rests on overwritten.
constexpr size_t kWalHeaderBytes = 32;

Result<std::string> read_all(Files& files, const std::string& path) {
  int error = 0;
  auto file = files.open(path, {.read_only = true}, error);
  if (file == nullptr) return fail(Error::from_errno(error, "'" + path + "'"));
  const int64_t size = file->size_bytes();
  std::string bytes(size > 0 ? static_cast<size_t>(size) : 0, '\0');
  const int64_t got = file->read(0, std::as_writable_bytes(std::span(bytes)));
  if (got < 0) return fail(Error::from_errno(static_cast<int>(-got), "'" + path + "'"));
  bytes.resize(static_cast<size_t>(got));
  return bytes;
}

// Empty if there is no log.
Result<std::string> read_wal(Files& files, const std::string& path) {
  if (!files.exists(path)) return std::string();
  auto bytes = read_all(files, path);
  if (!bytes && bytes.error().errno_value() == ENOENT) return std::string();
  return bytes;
}

struct Copy {
  std::string database;
  std::string wal;
};

// Pages that a checkpoint writes meanwhile are in the log as well, as long as it is the same log.
Result<Copy> copy_of(Files& files, const std::string& path) {
  constexpr int kTries = 20;
  for (int i = 0; i != kTries; ++i) {
    const std::string before = TRY(read_wal(files, path + "-wal")).substr(0, kWalHeaderBytes);
    Copy copy{.database = TRY(read_all(files, path)), .wal = {}};
    copy.wal = TRY(read_wal(files, path + "-wal"));
    const std::string after = TRY(read_wal(files, path + "-wal")).substr(0, kWalHeaderBytes);
    if (copy.wal.substr(0, kWalHeaderBytes) == before && after == before) return copy;
  }
  return fail(ErrorKind::kBusy,
              fmt::format("state file '{}' changes faster than it can be read", path));
}

class TemporaryFolder {
 public:
  static Result<TemporaryFolder> make() {
    std::error_code error;
    std::string pattern =
        (std::filesystem::temp_directory_path(error) / "firn-state-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) {
      return fail(Error::from_errno(errno, fmt::format("Could not create '{}'", pattern)));
    }
    return TemporaryFolder(std::move(pattern));
  }
  TemporaryFolder(TemporaryFolder&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  TemporaryFolder& operator=(TemporaryFolder&&) = delete;
  ~TemporaryFolder() {
    std::error_code error;
    if (!path_.empty()) std::filesystem::remove_all(path_, error);
  }
  const std::string& path() const { return path_; }

 private:
  explicit TemporaryFolder(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

Result<> write_file(const std::string& path, const std::string& bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  file.flush();
  if (file) return {};
  return fail(Error::from_errno(EIO, fmt::format("Could not write '{}'", path)));
}

Result<View> load(Database& database) {
  View view;
  view.damage = TRY(database.check_integrity());
  view.contents = TRY(tables::load(database));
  return view;
}

}  // namespace

Result<View> view(Files& files, const std::string& path) {
  const Copy copy = TRY(copy_of(files, path));
  if (copy.database.empty() && copy.wal.empty()) {
    return fail(ErrorKind::kCorrupt, fmt::format("state file '{}' is empty", path));
  }
  const TemporaryFolder folder = TRY(TemporaryFolder::make());
  const std::string own = folder.path() + "/state";
  TRY(write_file(own, copy.database));
  if (!copy.wal.empty()) TRY(write_file(own + "-wal", copy.wal));
  auto database = Database::open(files, own, Database::Access::kCopy);
  Result<View> loaded =
      database ? load(**database) : Result<View>(fail(std::move(database).error()));
  if (loaded) return loaded;
  // The texts name the copy.
  std::string text = loaded.error().text();
  if (const size_t at = text.find(own); at != std::string::npos) text.replace(at, own.size(), path);
  return fail(Error(loaded.error().kind(), std::move(text)).with_hint(loaded.error().hint()));
}

std::string check_file(Files& files, const NodeRecord& node, bool same_boot) {
  auto identity = files.identity(node.path);
  if (!identity) {
    return identity.error().errno_value() == ENOENT ? "it is not there" : identity.error().text();
  }
  return node.identity ? difference(*node.identity, *identity, same_boot) : "";
}

namespace {

class Checker {
 public:
  Checker(Files& files, const View& view) : files_(files), contents_(view.contents) {
    for (const std::string& line : view.damage) error("SQLite: " + line, "restore a backup");
  }

  std::vector<Finding> run() {
    const bool same_boot = contents_.boot_id == files_.boot_id();
    for (const NodeRecord& node : contents_.nodes) {
      check_reference(fmt::format("node '{}'", node.name), node.file);
      check_reference(fmt::format("node '{}'", node.name), node.backing);
      check_seal(node);
      if (node.path.empty()) continue;
      const std::string wrong = check_file(files_, node, same_boot);
      if (!wrong.empty()) {
        error(fmt::format("'{}' (node '{}'): {}", node.path, node.name, wrong),
              "bring the file back as it was, or, if it is right as it is, run: firn state accept");
      }
    }
    for (const Thing& thing : contents_.things) {
      check_reference(fmt::format("{} '{}'", thing.kind, thing.id), thing.node);
    }
    for (const Intent& intent : contents_.intents) check_intent(intent);
    return std::move(findings_);
  }

 private:
  void error(std::string text, std::string hint) {
    findings_.push_back({.is_error = true, .text = std::move(text), .hint = std::move(hint)});
  }
  void note(std::string text, std::string hint) {
    findings_.push_back({.is_error = false, .text = std::move(text), .hint = std::move(hint)});
  }

  void check_reference(const std::string& user, const std::string& name) {
    if (name.empty() || contents_.find_node(name) != nullptr) return;
    error(fmt::format("{} uses node '{}', which is not there", user, name), "restore a backup");
  }

  void check_seal(const NodeRecord& node) {
    if (node.seal == Seal::kUnsealed) {
      note(fmt::format("node '{}' is unsealed: what was written to it last may be lost", node.name),
           "flushes of what lies above it fail until it is resolved: blockdev-snapshot-seal");
    }
    if (node.seal == Seal::kToSeal) {
      note(fmt::format("node '{}' is sealed at the next start", node.name), "");
    }
  }

  void check_intent(const Intent& intent) {
    note(fmt::format("under way, or cut short by a crash: {}", describe(intent.change)),
         "a start after a crash carries it out");
    for (const auto& node : intent.change.added) {
      if (files_.exists(node.path)) continue;
      error(fmt::format("'{}' (node '{}'): it is not there, and a snapshot was about to use it",
                        node.path, node.name),
            "bring the file back");
    }
  }

  Files& files_;
  const Contents& contents_;
  std::vector<Finding> findings_;
};

}  // namespace

std::vector<Finding> check(Files& files, const View& view) { return Checker(files, view).run(); }

}  // namespace firn::state
