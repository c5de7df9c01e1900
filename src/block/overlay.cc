#include "block/overlay.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "base/check.h"
#include "base/units.h"
#include "block/permissions.h"

namespace firn::block {

using base::ErrorKind;

namespace {

async::FileSystem& files() { return async::Loop::current().files(); }

// The node that reaches the bytes of `node`.
Node& protocol_of(Node& node) {
  Node* at = &node;
  while (at->children().file) at = at->children().file.child();
  return *at;
}

base::Error could_not(std::string_view do_what, const std::string& path, base::Error error) {
  const std::string text = fmt::format("Could not {} '{}'", do_what, path);
  if (error.errno_value() != 0) return base::Error::from_errno(error.errno_value(), text);
  return std::move(error).with_context(text);
}

// Both are without symbolic links, so that the way between them is the names' own.
std::string relative_name(const std::string& path, const std::string& directory) {
  std::string name = std::filesystem::path(path).lexically_relative(directory).string();
  // What stands before a colon would be taken for a protocol.
  const size_t colon = name.find(':');
  if (colon != std::string::npos && name.find('/') > colon) name.insert(0, "./");
  return name;
}

}  // namespace

bool is_same_file(const async::FileStat& a, const async::FileStat& b) {
  if (a.kind == async::FileKind::kBlockDevice && b.kind == async::FileKind::kBlockDevice) {
    return a.rdev == b.rdev;
  }
  return a.device == b.device && a.inode == b.inode;
}

std::string plain_path(std::string filename) {
  constexpr std::string_view kFilePrefix = "file:";
  if (filename.starts_with(kFilePrefix)) filename.erase(0, kFilePrefix.size());
  return filename;
}

PreparedOverlay::PreparedOverlay(OverlayPlan plan)
    : plan_(std::move(plan)), user_(EdgeRole::kRoot, nullptr, "the snapshot") {}

PreparedOverlay::~PreparedOverlay() { CHECK(tree_.nodes.empty() && !user_); }

Task<Result<std::unique_ptr<PreparedOverlay>>> PreparedOverlay::prepare(OverlayPlan plan) {
  std::unique_ptr<PreparedOverlay> overlay(new PreparedOverlay(std::move(plan)));
  auto result = co_await overlay->run();
  if (!result) {
    base::Error error = overlay->explain(std::move(result).error());
    co_await overlay->discard();
    co_return base::fail(std::move(error));
  }
  co_return std::move(overlay);
}

Task<Result<>> PreparedOverlay::check_node(Node& overlay, Node& below, const Registry& registry) {
  const DriverEntry* format = registry.find(overlay.driver().name());
  for (const Edge* edge : overlay.parents()) {
    if (edge->role() == EdgeRole::kRoot) {
      co_return base::fail(ErrorKind::kBusy, "The overlay is already in use");
    }
  }
  if (const std::string reason = overlay.busy_reason(); !reason.empty()) {
    co_return base::fail(ErrorKind::kBusy,
                         fmt::format("Node '{}' is busy: {}", overlay.name(), reason));
  }
  if (overlay.children().backing) {
    co_return base::fail(ErrorKind::kInvalidArgument, "The overlay already has a backing image");
  }
  if (format == nullptr || !format->supports_backing) {
    co_return base::fail(ErrorKind::kUnsupported, "The overlay does not support backing images");
  }
  if (!overlay.parents().empty() || &overlay == &below || &overlay == &protocol_of(below)) {
    co_return base::fail(ErrorKind::kBusy, "The overlay is already in use");
  }
  const uint64_t size = overlay.driver().size_bytes();
  const uint64_t wanted = below.driver().size_bytes();
  if (size < wanted) {
    co_return base::fail(
        base::Error(
            ErrorKind::kInvalidArgument,
            fmt::format("Node '{}' has {}, node '{}' has {}: an overlay must be as large as "
                        "what it stands on",
                        overlay.name(), base::format_size(size), below.name(),
                        base::format_size(wanted)))
            .with_hint(fmt::format("create it with a size of {} bytes", wanted)));
  }
  co_return Result<>();
}

Task<Result<std::unique_ptr<PreparedOverlay>>> PreparedOverlay::take_over(
    Node& overlay, Node& below, const Registry& registry) {
  std::unique_ptr<PreparedOverlay> prepared(
      new PreparedOverlay({.registry = registry, .below = below}));
  prepared->taken_over_ = true;
  prepared->tree_.top = &overlay;
  prepared->path_ = overlay.driver().filename();
  auto taken = co_await prepared->take_permissions();
  if (!taken) {
    co_await prepared->discard();
    co_return base::fail(std::move(taken).error());
  }
  co_return std::move(prepared);
}

Task<Result<>> PreparedOverlay::run() {
  const DriverEntry* format = CO_TRY(co_await check_format());
  CO_TRY(co_await find_path());
  CO_TRY(co_await verify_backing_path());
  const bool creates = plan_.mode != SnapshotMode::kExisting;
  if (creates) CO_TRY(check_layout(*format));
  auto stat = co_await files().stat(path_);
  CO_TRY(co_await check_target(stat ? &*stat : nullptr));
  if (creates && !stat) CO_TRY(co_await make_file());
  CO_TRY(co_await open_file());
  if (creates) CO_TRY(co_await lay_out(*format, stat.has_value()));
  CO_TRY(co_await open_image());
  if (!creates) CO_TRY(co_await check_existing_image());
  if (created_) CO_TRY(co_await files().sync_directory(directory_));
  co_return co_await take_permissions();
}

// What is asked of the layout, before anything is touched.
Result<> PreparedOverlay::check_layout(const DriverEntry& format) const {
  return format.check_create == nullptr ? Result<>() : format.check_create(create_request());
}

// Null: nothing is there yet.
Task<Result<>> PreparedOverlay::check_target(const async::FileStat* existing) const {
  if (existing != nullptr) {
    if (plan_.mode == SnapshotMode::kExclusive) {
      co_return base::fail(
          base::Error::from_errno(EEXIST, fmt::format("Could not create '{}'", plan_.path)));
    }
    CO_TRY(co_await check_not_in_use(*existing));
    if (existing->kind == async::FileKind::kBlockDevice) {
      if (plan_.mode != SnapshotMode::kRelativePaths) co_return Result<>();
      co_return base::fail(
          base::Error(
              ErrorKind::kOpenFileFailed,
              fmt::format("'{}' is a block device, which no path can be relative to", plan_.path))
              .with_hint("take the mode absolute-paths"));
    }
  }
  co_return co_await check_space(plan_.reserve, directory_, plan_.path);
}

Task<Result<const DriverEntry*>> PreparedOverlay::check_format() const {
  const DriverEntry* format = plan_.registry.find(plan_.format);
  const bool creates = plan_.mode != SnapshotMode::kExisting;
  if (format == nullptr) {
    const char* text = creates ? "Unknown file format '{}'" : "Unknown driver '{}'";
    co_return base::fail(
        base::Error(ErrorKind::kInvalidBlockFormat, fmt::format(fmt::runtime(text), plan_.format))
            .with_data("name", plan_.format));
  }
  if (!format->supports_backing) {
    co_return base::fail(
        ErrorKind::kUnsupported,
        creates ? fmt::format("Backing file not supported for file format '{}'", plan_.format)
                : "The overlay does not support backing images");
  }
  if (creates && format->create == nullptr) {
    co_return base::fail(
        ErrorKind::kUnsupported,
        fmt::format("Format driver '{}' does not support image creation", plan_.format));
  }
  co_return format;
}

Task<Result<>> PreparedOverlay::find_path() {
  // Speaks up for a protocol that is not here, and takes "file:" away.
  NodeSpec spec = CO_TRY(co_await file_spec(plan_.registry, plan_.path, {}));
  (void)spec;
  auto real = co_await files().real_path(plain_path(plan_.path));
  if (!real) {
    const bool creates = plan_.mode != SnapshotMode::kExisting;
    co_return base::fail(
        could_not(creates ? "create" : "open", plan_.path, std::move(real).error()));
  }
  path_ = std::move(*real);
  directory_ = path_.substr(0, path_.rfind('/') + 1);
  if (!plan_.node_name.empty()) CO_TRY(check_node_name(plan_.node_name));
  co_return Result<>();
}

// What the overlay's header will say must lead to the very file that the old head has open.
Task<Result<>> PreparedOverlay::verify_backing_path() const {
  const std::string stored = plan_.below.driver().filename();
  if (stored.empty()) {
    co_return base::fail(
        ErrorKind::kUnsupported,
        fmt::format("Node '{}' has no file name that an overlay could store", plan_.below.name()));
  }
  auto open = co_await protocol_of(plan_.below).driver().identity();
  if (!open) co_return Result<>();  // it has no file
  auto named = co_await files().stat(stored);
  if (named && is_same_file(*open, *named)) co_return Result<>();
  co_return base::fail(
      base::Error(ErrorKind::kOpenFileFailed,
                  fmt::format("'{}' is not the file that node '{}' has open: an overlay would not "
                              "find its backing image again",
                              stored, plan_.below.name()))
          .with_hint("the file was moved, replaced or removed since it was opened"));
}

Task<Result<>> PreparedOverlay::check_not_in_use(const async::FileStat& stat) const {
  if (auto own = co_await protocol_of(plan_.below).driver().identity();
      own && is_same_file(*own, stat)) {
    co_return base::fail(
        ErrorKind::kOpenFileFailed,
        "Error: Trying to create an image with the same filename as the backing file");
  }
  if (!plan_.may_exist) {
    co_return base::fail(
        base::Error::from_errno(EEXIST, fmt::format("Could not create '{}'", plan_.path)));
  }
  for (const FileInUse& used : plan_.files_in_use) {
    if (!is_same_file(used.stat, stat)) continue;
    co_return base::fail(
        base::Error(ErrorKind::kOpenFileFailed,
                    fmt::format("Could not create '{}': node '{}' has this file open", plan_.path,
                                used.node_name))
            .with_hint("choose a file that is in no open chain"));
  }
  co_return Result<>();
}

Task<Result<>> PreparedOverlay::make_file() {
  const async::OpenOptions how{.writable = true, .create = true, .exclusive = true};
  auto file = co_await files().open(path_, how);
  if (!file) co_return base::fail(could_not("create", plan_.path, std::move(file).error()));
  created_ = true;
  co_return Result<>();
}

// The protocol node, with the old head's cache options, locked for writing.
Task<Result<>> PreparedOverlay::open_file() {
  opening_ = true;
  NodeOptions options =
      inherited_options(plan_.options ? *plan_.options : plan_.below.options(), EdgeRole::kFile);
  options.read_only = false;
  options.auto_read_only = false;
  options.force_share = false;
  NodeSpec spec = CO_TRY(co_await file_spec(plan_.registry, path_, options));
  tree_ = CO_TRY(co_await open_tree(plan_.registry, std::move(spec)));
  file_ = tree_.top;
  constexpr Permissions kUsed =
      permission::kConsistentRead | permission::kWrite | permission::kResize;
  user_.attach(file_, kUsed, permission::kConsistentRead | permission::kWriteUnchanged);
  co_return update_permissions(*file_);
}

Task<Result<>> PreparedOverlay::lay_out(const DriverEntry& format, bool existed) {
  opening_ = false;
  const async::FileStat stat = CO_TRY(co_await file_->driver().identity());
  if (existed) {
    overwritten_ = true;
    if (stat.kind == async::FileKind::kRegular) CO_TRY(co_await file_->driver().resize(0));
  }
  const DriverEntry::CreateRequest request = create_request();
  co_return co_await format.create(user_, request);
}

DriverEntry::CreateRequest PreparedOverlay::create_request() const {
  DriverEntry::CreateRequest request;
  request.size_bytes = plan_.below.driver().size_bytes();
  request.backing_filename = plan_.below.driver().filename();
  if (plan_.mode == SnapshotMode::kRelativePaths) {
    request.backing_filename = relative_name(request.backing_filename, directory_);
  }
  request.backing_format = plan_.below.driver().name();
  request.options = plan_.create_options;
  return request;
}

Task<Result<>> PreparedOverlay::open_image() {
  opening_ = true;
  NodeSpec spec;
  spec.driver = plan_.format;
  spec.node_name = plan_.node_name;
  if (plan_.options) {
    spec.options = *plan_.options;
  } else {
    spec.options = plan_.below.options();
    spec.options.read_only = plan_.below.read_only();
  }
  spec.options.auto_read_only = false;
  spec.options.force_share = false;
  spec.file.emplace(file_);
  spec.backing.emplace(std::unique_ptr<NodeSpec>());  // or our own locks would conflict
  // The format takes the file over: the same use, so that the locks on disk stay as they are.
  user_.set_permissions(permission::kNone, permission::kAll);
  auto image = co_await open_tree(plan_.registry, std::move(spec));
  user_.detach();
  if (!image) co_return base::fail(std::move(image).error());
  for (auto& node : image->nodes) tree_.nodes.push_back(std::move(node));
  tree_.top = image->top;
  co_return Result<>();
}

Task<Result<>> PreparedOverlay::check_existing_image() {
  const uint64_t size = tree_.top->driver().size_bytes();
  const uint64_t wanted = plan_.below.driver().size_bytes();
  if (size != wanted) {
    co_return base::fail(
        base::Error(ErrorKind::kOpenFileFailed,
                    fmt::format("'{}' has {}, node '{}' has {}: an overlay must be as large as "
                                "what it stands on",
                                plan_.path, base::format_size(size), plan_.below.name(),
                                base::format_size(wanted)))
            .with_hint(fmt::format("create it with a size of {} bytes", wanted)));
  }
  auto below = co_await protocol_of(plan_.below).driver().identity();
  if (!below) co_return Result<>();
  const ImageFacts facts = CO_TRY(co_await tree_.top->driver().facts());
  std::string named = facts.backing_filename_full;
  if (named.empty()) named = facts.backing_filename;
  if (!named.empty() && !named.starts_with('/')) named = directory_ + named;
  const auto stat = co_await files().stat(named);
  if (stat && is_same_file(*stat, *below)) co_return Result<>();
  co_return base::fail(
      base::Error(
          ErrorKind::kOpenFileFailed,
          fmt::format("'{}' names {} as its backing image, not the file of node '{}'", plan_.path,
                      facts.backing_filename.empty() ? std::string("nothing")
                                                     : fmt::format("'{}'", facts.backing_filename),
                      plan_.below.name()))
          .with_hint(fmt::format("qemu-img rebase -u -b {} -F {} {}",
                                 plan_.below.driver().filename(), plan_.below.driver().name(),
                                 plan_.path)));
}

Task<Result<>> PreparedOverlay::take_permissions() {
  const PermissionSet users = plan_.users ? *plan_.users : cumulative_permissions(plan_.below);
  user_.attach(tree_.top, users.used, users.shared);
  co_return update_permissions(*tree_.top);
}

void PreparedOverlay::stand_in() { user_.detach(); }

Task<void> PreparedOverlay::discard() {
  user_.detach();
  if (taken_over_) {
    (void)update_permissions(*tree_.top);  // fewer users never conflict
    co_return;
  }
  (void)co_await close_tree(std::move(tree_));
  tree_ = {};
  if (!created_) co_return;
  created_ = false;
  if (co_await files().unlink(path_)) (void)co_await files().sync_directory(directory_);
}

base::Error PreparedOverlay::explain(base::Error error) const {
  // Of a lock that somebody else holds, the text names no file by itself.
  if (error.kind() == ErrorKind::kBusy && error.text().starts_with("Failed to ")) {
    error = std::move(error).with_context(fmt::format("Could not lock '{}'", plan_.path));
  }
  switch (error.kind()) {
    case ErrorKind::kInvalidBlockFormat:
    case ErrorKind::kInvalidArgument:
    case ErrorKind::kExists:
    case ErrorKind::kUnsupported:
      // What is wrong is the request, not the file; but a protocol is part of the file's name.
      if (!opening_ && !error.text().starts_with("Unknown protocol") && error.errno_value() == 0) {
        break;
      }
      [[fallthrough]];
    default:
      error =
          std::move(error).with_kind(ErrorKind::kOpenFileFailed).with_data("filename", plan_.path);
  }
  if (overwritten_) {
    error = std::move(error).with_hint(fmt::format(
        "'{}' was there before and has been overwritten: its old content is gone", path_));
  }
  return error;
}

}  // namespace firn::block
