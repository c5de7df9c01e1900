// How an image is named on the command line of `firn img`, and opening it in this process.
#pragma once

#include <boost/json/object.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "async/task.h"
#include "base/result.h"
#include "block/registry.h"

namespace firn::cli::img {

using async::Task;
using base::Result;

// The formats and protocols that `firn img` has: those that firnd opens files with.
const block::Registry& registry();

// The pairs of "a=1,b.c=2"; a comma in a value is written twice. A name alone is "on".
std::vector<std::pair<std::string, std::string>> split_options(std::string_view text);

// The same as a tree, by the dots in the names. kInvalidArgument where a name stands for a value
// and for an object.
Result<boost::json::object> options_tree(std::string_view text);

struct ImageAddress {
  std::string name;          // a file name, "json:{...}", or options (has_options)
  std::string format;        // empty: found out from the first bytes
  bool has_options = false;  // --image-opts
  bool force_share = false;  // -U
};

// What error texts and `info` call the image: the file name as it was typed where that says
// everything, else the options as "json:{...}".
Result<std::string> shown_name(const ImageAddress& address);

enum class Access {
  kReadOnly,  // the image alone: its backing file is not opened
  kReadOnlyChain,
  kWritable,  // the image alone, locked
};

// On the current loop; close it with block::close_tree.
Task<Result<block::OpenedTree>> open_image(ImageAddress address, Access access);

// "Could not open 'NAME'": stands before errors of opening an image that the user named.
std::string opening_context(const ImageAddress& address);

// What `info` says of an image, as it is opened alone. `filename` and the backing file's names are
// those of the command line: relative where that was.
Task<Result<block::ImageFacts>> read_facts(ImageAddress address);

}  // namespace firn::cli::img
