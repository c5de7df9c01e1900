// The work of blockdev-create: making a file, or laying out an image in a node.
//
// Texts are those of qemu-storage-daemon's jobs. Progress counts one step. Until it is done it
// can't be cut short; a cancelled job removes the file that it made.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "block/graph.h"
#include "block/registry.h"
#include "jobs/job.h"

namespace firn::jobs {

// A regular file of zeroes. One that exists is emptied first, once it is locked; not if a node of
// the graph has it open.
struct FileToCreate {
  std::string filename;
  uint64_t size_bytes = 0;
  std::string preallocation;  // "off", "falloc", "full"; "metadata" is refused
};
std::unique_ptr<Work> create_file(block::Graph& graph, FileToCreate file);

// An image of a format that has DriverEntry::create, in a node of the graph (by the name of a node
// or device) or in one that is opened for it. A regular file is emptied first.
struct ImageToCreate {
  std::string format;
  block::ChildSpec file;  // not by address
  block::DriverEntry::CreateRequest request;
  // What creating would refuse whatever the file is: asked before anything is touched. May be null.
  Result<> (*check)(const block::DriverEntry::CreateRequest& request) = nullptr;
};
std::unique_ptr<Work> create_image(block::Graph& graph, ImageToCreate image);

}  // namespace firn::jobs
