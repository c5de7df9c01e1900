// firn img info: what is known of an image, and of those below it.
#include <fmt/format.h>

#include <boost/json/array.hpp>
#include <boost/json/value.hpp>
#include <set>
#include <utility>

#include "async/file.h"
#include "base/json.h"
#include "block/overlay.h"
#include "cli/command.h"
#include "cli/img/image_address.h"
#include "cli/img/img_commands.h"
#include "cli/img/info_text.h"
#include "cli/options.h"

namespace firn::cli::img {

namespace {

constexpr std::string_view kName = "img info";

// The image and, if `whole_chain`, all below it, the top first.
Task<Result<std::vector<block::ImageFacts>>> collect(ImageAddress address, bool whole_chain) {
  std::vector<block::ImageFacts> images;
  std::set<std::pair<uint64_t, uint64_t>> seen;
  for (;;) {
    if (whole_chain) {
      const std::string name = CO_TRY(shown_name(address));
      const auto stat = co_await async::Loop::current().files().stat(name);
      if (stat && !seen.emplace(stat->device, stat->inode).second) {
        co_return base::fail(base::ErrorKind::kCorrupt,
                             fmt::format("Backing file '{}' creates an infinite loop.", name));
      }
    }
    images.push_back(CO_TRY(co_await read_facts(address)));
    const block::ImageFacts& image = images.back();
    if (!whole_chain || image.backing_filename.empty()) break;
    address = {.name = image.backing_filename_full,
               .format = image.backing_format,
               .force_share = address.force_share};
  }
  co_return images;
}

Task<Result<>> info(std::vector<std::string> arguments) {
  const Options options = CO_TRY(Options::parse(kName,
                                                {{"format", 'f'},
                                                 {"output"},
                                                 {"backing-chain", 0, false},
                                                 {"image-opts", 0, false},
                                                 {"force-share", 'U', false},
                                                 {"object"}},
                                                arguments));
  CO_TRY(refuse_objects(kName, options));
  if (options.operands().size() != 1) {
    co_return base::fail(usage_error(kName, "Expecting one image file name"));
  }
  const std::string output = options.value("output", "human");
  if (output != "human" && output != "json") {
    co_return base::fail(
        usage_error(kName, "--output must be used with human or json as argument."));
  }
  if (options.has("format") && options.has("image-opts")) {
    co_return base::fail(usage_error(kName, "--image-opts and --format are mutually exclusive"));
  }
  const bool whole_chain = options.has("backing-chain");
  const auto images = CO_TRY(co_await collect({.name = options.operands()[0],
                                               .format = options.value("format"),
                                               .has_options = options.has("image-opts"),
                                               .force_share = options.has("force-share")},
                                              whole_chain));
  if (output == "json") {
    boost::json::array all;
    for (const block::ImageFacts& image : images) all.push_back(info_json(image));
    const boost::json::value value =
        whole_chain ? boost::json::value(std::move(all)) : std::move(all.front());
    print_out(base::print_json(value, base::JsonStyle::kPretty) + "\n");
    co_return Result<>();
  }
  std::string text;
  for (const block::ImageFacts& image : images) {
    if (!text.empty()) text += '\n';
    text += info_text(image);
  }
  print_out(text);
  co_return Result<>();
}

Task<Result<>> run(Globals, std::vector<std::string> arguments) {
  co_return with_status_of_qemu_img(co_await info(std::move(arguments)));
}

}  // namespace

}  // namespace firn::cli::img

namespace firn::cli {

const Command kImgInfoCommand = {
    .name = "img info",
    .usage = "[options] FILE",
    .summary = "Show what is known of an image file",
    .details =
        "Format, sizes, backing file, internal snapshots, and what the format adds, as\n"
        "'qemu-img info' prints them. The image is opened for reading, and refused while\n"
        "somebody writes to it.\n"
        "\n"
        "options:\n"
        "  -f, --format FORMAT  the image's format (default: found out from its first bytes)\n"
        "  --image-opts         FILE is a list of options (driver=qcow2,file.filename=a.qcow2)\n"
        "  --backing-chain      show the images below it too\n"
        "  -U, --force-share    don't care who else has it open\n"
        "  --output human|json  how to print it\n"
        "\n"
        "examples:\n"
        "  firn img info disk.qcow2\n"
        "  firn img info -U --backing-chain --output json /var/lib/disks/monday.qcow2\n",
    .run = img::run,
};

}  // namespace firn::cli
