// change_backing_file: another name for the backing file in the header of an image that is in use.
#pragma once

#include <string>

#include "block/graph.h"

namespace firn::block {

struct BackingFileChange {
  std::string device;        // a device, or the node at the top of the chain
  std::string image_node;    // whose header is written
  std::string backing_file;  // what it is to say; relative names relate to the image's directory
};

// The nodes and what they read stay as they are. A read-only layer is writable for the moment.
// Errors: QEMU's texts; kInvalidArgument if the name does not lead to the file that is open below.
Task<Result<>> change_backing_file(Graph& graph, BackingFileChange change);

}  // namespace firn::block
