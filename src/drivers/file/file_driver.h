// file and host_device: a regular file, or a block device, of this machine.
//
// Images are locked as QEMU locks them (image_lock.h), so that neither opens for writing what the
// other holds. A descriptor that was opened for writing stays open when the node becomes read-only;
// only the locks say so to others.
#pragma once

#include <string>

#include "block/registry.h"

namespace firn::file {

struct Options final : block::DriverOptions {
  std::string filename;  // relative: to the working directory; nodes know it as absolute
  enum class Locking { kAuto, kOn, kOff } locking = Locking::kAuto;
  // How requests reach the kernel is chosen by the loop, per file system. What was asked for is
  // checked as QEMU checks it: native needs cache.direct.
  enum class Aio { kThreads, kNative, kIoUring } aio = Aio::kThreads;
};

// Adds "file" and "host_device".
void register_drivers(block::Registry& registry);

}  // namespace firn::file
