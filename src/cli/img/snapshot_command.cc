// firn img snapshot: the internal snapshots of an image.
#include <fmt/format.h>

#include <algorithm>

#include "block/internal_snapshot.h"
#include "block/permissions.h"
#include "cli/command.h"
#include "cli/img/image_address.h"
#include "cli/img/img_commands.h"
#include "cli/img/info_text.h"
#include "cli/options.h"

namespace firn::cli::img {

using base::ErrorKind;
using base::fail;

namespace {

constexpr std::string_view kName = "img snapshot";

Task<Result<>> take(block::Driver& driver, std::string name) {
  const int64_t now_us = async::Loop::current().wall_clock_us();
  block::InternalSnapshotSpec spec{
      .name = std::move(name), .date_s = now_us / 1'000'000, .date_ns = now_us % 1'000'000 * 1000};
  spec.icount = 0;  // as qemu-img, which runs no guest
  CO_TRY(co_await block::take_internal_snapshot(driver, std::move(spec)));
  co_return Result<>();
}

// An ID counts before a name.
Task<Result<>> apply(block::Driver& driver, std::string id_or_name) {
  if (!driver.supports_snapshots()) {
    co_return fail(ErrorKind::kUnsupported, "Block driver does not support snapshots");
  }
  const std::vector<block::InternalSnapshotFacts> all = driver.snapshots();
  const auto* found = block::find_internal_snapshot(all, id_or_name, {});
  if (found == nullptr) found = block::find_internal_snapshot(all, {}, id_or_name);
  if (found == nullptr || id_or_name.empty()) {
    co_return fail(ErrorKind::kNotFound, "Failed to load snapshot: No such file or directory");
  }
  co_return co_await driver.snapshot_revert(found->id);
}

Task<Result<>> remove(block::Driver& driver, std::string name) {
  const std::vector<block::InternalSnapshotFacts> all = driver.snapshots();
  const auto found = std::ranges::find(all, name, &block::InternalSnapshotFacts::name);
  if (found == all.end()) co_return fail(ErrorKind::kNotFound, "snapshot not found");
  co_return co_await driver.snapshot_delete(found->id);
}

// Opens the image for writing, and does `action` with the snapshot that `name` means.
Task<Result<>> change(ImageAddress address, std::string action, std::string name) {
  block::OpenedTree tree =
      CO_TRY_CONTEXT(co_await open_image(address, Access::kWritable), opening_context(address));
  block::Edge user(block::EdgeRole::kRoot, nullptr, "firn img snapshot");
  namespace permission = block::permission;
  user.attach(tree.top, permission::kConsistentRead | permission::kWrite | permission::kResize,
              permission::kNone);
  Result<> result = block::update_permissions(*tree.top);
  if (result) {
    block::Driver& driver = tree.top->driver();
    if (action == "create") {
      result = co_await take(driver, name);
    } else if (action == "apply") {
      result = co_await apply(driver, name);
    } else {
      result = co_await remove(driver, name);
    }
  }
  user.detach();
  Result<> closed = co_await block::close_tree(std::move(tree));
  if (result) result = std::move(closed);
  CO_TRY_CONTEXT(std::move(result), fmt::format("Could not {} snapshot '{}'", action, name));
  co_return Result<>();
}

Task<Result<>> snapshot(std::vector<std::string> arguments) {
  const Options options = CO_TRY(Options::parse(kName,
                                                {{"list", 'l', false},
                                                 {"apply", 'a'},
                                                 {"create", 'c'},
                                                 {"delete", 'd'},
                                                 {"image-opts", 0, false},
                                                 {"force-share", 'U', false},
                                                 {"quiet", 'q', false},
                                                 {"object"}},
                                                arguments));
  CO_TRY(refuse_objects(kName, options));
  size_t actions = 0;
  for (std::string_view action : {"list", "apply", "create", "delete"}) {
    actions += options.values(action).size();
  }
  if (actions > 1) co_return fail(usage_error(kName, "Cannot mix '-l', '-a', '-c', '-d'"));
  if (options.operands().size() != 1) {
    co_return fail(usage_error(kName, "Expecting one image file name"));
  }
  const ImageAddress address{.name = options.operands()[0],
                             .has_options = options.has("image-opts"),
                             .force_share = options.has("force-share")};
  for (std::string_view action : {"apply", "create", "delete"}) {
    if (options.has(action)) {
      co_return co_await change(address, std::string(action), options.value(action));
    }
  }
  const block::ImageFacts facts = CO_TRY(co_await read_facts(address));
  print_out(snapshot_table(facts.snapshots));
  co_return Result<>();
}

Task<Result<>> run(Globals, std::vector<std::string> arguments) {
  co_return with_status_of_qemu_img(co_await snapshot(std::move(arguments)));
}

}  // namespace

}  // namespace firn::cli::img

namespace firn::cli {

const Command kImgSnapshotCommand = {
    .name = "img snapshot",
    .usage = "[-l | -c NAME | -a NAME | -d NAME] [options] FILE",
    .summary = "List, take, apply or delete an image's internal snapshots",
    .details =
        "For images that no daemon has open; for those of a running one see\n"
        "'firn qmp blockdev-snapshot-internal-sync' and 'firn revert'. Without an action the\n"
        "snapshots are listed.\n"
        "\n"
        "options:\n"
        "  -l, --list         list them (default)\n"
        "  -c, --create NAME  take one\n"
        "  -a, --apply NAME   bring the disk back to one; NAME may be its ID\n"
        "  -d, --delete NAME  delete one\n"
        "  -q, --quiet        print errors alone\n"
        "  --image-opts       FILE is a list of options (driver=qcow2,file.filename=a.qcow2)\n"
        "  -U, --force-share  with -l: don't care who else has it open\n"
        "\n"
        "examples:\n"
        "  firn img snapshot -c before-upgrade disk.qcow2\n"
        "  firn img snapshot -l disk.qcow2\n"
        "  firn img snapshot -a before-upgrade disk.qcow2\n",
    .run = img::run,
};

}  // namespace firn::cli
