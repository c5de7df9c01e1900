// firn img create: a new image file.
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>

#include "async/file.h"
#include "base/units.h"
#include "block/overlay.h"
#include "cli/command.h"
#include "cli/img/create_options.h"
#include "cli/img/image_address.h"
#include "cli/img/img_commands.h"
#include "cli/img/new_image.h"
#include "cli/options.h"
#include "drivers/qcow2/backing_path.h"

namespace firn::cli::img {

using base::Error;
using base::ErrorKind;
using base::fail;

namespace {

constexpr std::string_view kName = "img create";

struct Request {
  std::string file;
  std::string format;
  OptionValues options;  // with the size and the backing file, however they were given
  bool unsafe = false;   // -u
  bool quiet = false;
};

std::string option(const OptionValues& options, std::string_view name) {
  const auto found = std::ranges::find(options, name, &OptionValues::value_type::first);
  return found != options.end() ? found->second : "";
}

void set_option(OptionValues& options, const std::string& name, std::string value) {
  std::erase_if(options, [&](const auto& pair) { return pair.first == name; });
  options.emplace_back(name, std::move(value));
}

Result<std::string> parse_image_size(const std::string& text) {
  const auto size = base::parse_size(text);
  if (size && *size <= uint64_t{INT64_MAX}) return fmt::format("{}", *size);
  if (size || size.error().kind() == ErrorKind::kOutOfRange) {
    return fail(ErrorKind::kInvalidArgument,
                fmt::format("Invalid image size specified. Must be between 0 and {}.", INT64_MAX));
  }
  return fail(ErrorKind::kInvalidArgument,
              "Invalid image size specified. You may use k, M, G, T, P or E suffixes for "
              "kilobytes, megabytes, gigabytes, terabytes, petabytes and exabytes.");
}

bool has_backing(std::string_view format) {
  const block::DriverEntry* entry = registry().find(format);
  return entry != nullptr && entry->supports_backing;
}

// What the command line says, before any file is looked at.
Task<Result<Request>> merge(const Options& given, OptionValues values) {
  Request request{.file = given.operands()[0],
                  .format = given.value("format", "raw"),
                  .options = std::move(values),
                  .unsafe = given.has("unsafe"),
                  .quiet = given.has("quiet")};
  // Speaks up for a protocol that is not here.
  (void)CO_TRY(co_await block::file_spec(registry(), request.file, {}));
  if (given.operands().size() == 2) {
    if (!option(request.options, "size").empty()) {
      co_return fail(ErrorKind::kInvalidArgument, "The image size must be specified only once");
    }
    set_option(request.options, "size", CO_TRY(parse_image_size(given.operands()[1])));
  }
  for (const auto& [flag, name, word] : {std::tuple{"backing", "backing_file", "file"},
                                         {"backing-format", "backing_fmt", "format"}}) {
    if (!given.has(flag)) continue;
    if (!has_backing(request.format)) {
      co_return fail(
          ErrorKind::kInvalidArgument,
          fmt::format("Backing {} not supported for file format '{}'", word, request.format));
    }
    set_option(request.options, name, given.value(flag));
  }
  co_return request;
}

// The backing image's size, from the image itself. Everything below it has to be there.
Task<Result<uint64_t>> size_of_backing(std::string path, std::string format) {
  constexpr std::string_view kWhere = "\nCould not open backing image.";
  auto tree = co_await open_image({.name = path, .format = format, .force_share = true},
                                  Access::kReadOnlyChain);
  if (!tree) {
    co_return fail(Error(tree.error().kind(), tree.error().text() + std::string(kWhere)));
  }
  const uint64_t size = tree->top->driver().size_bytes();
  CO_TRY(co_await block::close_tree(std::move(*tree)));
  co_return size;
}

Task<Result<>> check_backing(Request& request) {
  const std::string backing = option(request.options, "backing_file");
  if (backing.empty()) {
    // An unset variable in a script, and no image that stands alone.
    const auto named =
        std::ranges::find(request.options, "backing_file", &OptionValues::value_type::first);
    if (named == request.options.end()) co_return Result<>();
    co_return fail(ErrorKind::kInvalidArgument, "Expected backing file name, got empty string");
  }
  const std::string format = option(request.options, "backing_fmt");
  const std::string path = qcow2::resolve_backing_path(block::plain_path(request.file), backing);
  async::FileSystem& files = async::Loop::current().files();
  const auto own = co_await files.stat(block::plain_path(request.file));
  const auto below = co_await files.stat(block::plain_path(path));
  if (backing == request.file || (own && below && block::is_same_file(*own, *below))) {
    co_return fail(ErrorKind::kInvalidArgument,
                   "Error: Trying to create an image with the same filename as the backing file");
  }
  constexpr std::string_view kNoFormat = "Backing file specified without backing format";
  if (request.unsafe) {
    if (format.empty()) co_return fail(ErrorKind::kInvalidArgument, std::string(kNoFormat));
    co_return Result<>();
  }
  const uint64_t size = CO_TRY(co_await size_of_backing(path, format));
  if (format.empty()) {
    const block::ImageFacts facts =
        CO_TRY(co_await read_facts({.name = path, .force_share = true}));
    co_return fail(ErrorKind::kInvalidArgument,
                   fmt::format("{}\nDetected format of {}.", kNoFormat, facts.format));
  }
  if (option(request.options, "size").empty()) {
    set_option(request.options, "size", fmt::format("{}", base::round_up(size, 512)));
  }
  co_return Result<>();
}

Task<Result<>> create_file(Request request) {
  CO_TRY(co_await check_backing(request));
  const std::string size = option(request.options, "size");
  if (size.empty()) {
    co_return fail(ErrorKind::kInvalidArgument, "Image creation needs a size parameter");
  }
  if (!request.quiet) {
    print_out(fmt::format("Formatting '{}', {}\n", request.file,
                          create_summary(request.format, request.options)));
  }
  NewImage image{.path = request.file, .format = request.format};
  // qemu-img's sizes are of whole sectors.
  image.request.size_bytes = base::round_up(CO_TRY(base::parse_size(size)), 512);
  image.request.backing_filename = option(request.options, "backing_file");
  image.request.backing_format = option(request.options, "backing_fmt");
  for (const auto& pair : request.options) {
    if (pair.first == "size" || pair.first == "backing_file" || pair.first == "backing_fmt")
      continue;
    image.request.options.push_back(pair);
  }
  co_return co_await make_image(std::move(image));
}

Task<Result<>> create(std::vector<std::string> arguments) {
  const Options given = CO_TRY(Options::parse(kName,
                                              {{"format", 'f'},
                                               {"backing", 'b'},
                                               {"backing-format", 'F'},
                                               {"options", 'o'},
                                               {"unsafe", 'u', false},
                                               {"quiet", 'q', false},
                                               {"object"}},
                                              arguments));
  CO_TRY(refuse_objects(kName, given));
  const std::string format = given.value("format", "raw");
  const bool is_named = !given.operands().empty();
  // -o help comes before all else, as there.
  const bool is_known = !create_options(format).empty();
  std::optional<OptionValues> values = OptionValues();
  Result<std::optional<OptionValues>> read = read_create_options(format, given.values("options"));
  if (is_known && read) values = *read;
  if (!values) {
    print_out(create_options_help(format));
    co_return Result<>();
  }
  if (!is_named) co_return fail(usage_error(kName, "Expecting image file name"));
  if (given.operands().size() > 2) {
    co_return fail(usage_error(kName, fmt::format("Unexpected argument: {}", given.operands()[2])));
  }
  const std::string& file = given.operands()[0];
  // The size's errors don't name the file, as there.
  if (given.operands().size() == 2) CO_TRY(parse_image_size(given.operands()[1]));
  if (!is_known) {
    co_return fail(
        ErrorKind::kInvalidBlockFormat,
        registry().find(format) == nullptr
            ? fmt::format("{}: Unknown file format '{}'", file, format)
            : fmt::format("{}: Format driver '{}' does not support image creation", file, format));
  }
  CO_TRY_CONTEXT(std::move(read), file);
  Request request = CO_TRY_CONTEXT(co_await merge(given, *std::move(values)), file);
  co_return CO_TRY_CONTEXT(co_await create_file(std::move(request)), file), Result<>();
}

Task<Result<>> run(Globals, std::vector<std::string> arguments) {
  co_return with_status_of_qemu_img(co_await create(std::move(arguments)));
}

}  // namespace

}  // namespace firn::cli::img

namespace firn::cli {

const Command kImgCreateCommand = {
    .name = "img create",
    .usage = "[options] FILE [SIZE]",
    .summary = "Create an image file",
    .details =
        "Flags and output are those of 'qemu-img create'. SIZE may have a suffix (64k, 1.5G);\n"
        "with a backing file it may be left out. A file that exists is overwritten, unless\n"
        "somebody has it open; on an error nothing is left behind.\n"
        "\n"
        "options:\n"
        "  -f, --format FORMAT          raw (default) or qcow2\n"
        "  -b, --backing FILE           the image's backing file; relative: to the new image\n"
        "  -F, --backing-format FORMAT  its format; required with -b\n"
        "  -u, --unsafe                 don't look whether the backing file is there\n"
        "  -o, --options NAME=VALUE,... options of the format; '-o help' lists them\n"
        "  -q, --quiet                  print errors alone\n"
        "\n"
        "examples:\n"
        "  firn img create -f qcow2 disk.qcow2 20G\n"
        "  firn img create -f qcow2 -b disk.qcow2 -F qcow2 -o extended_l2=on work.qcow2\n"
        "  firn img create -f raw -o preallocation=falloc disk.raw 4G\n",
    .run = img::run,
};

}  // namespace firn::cli
