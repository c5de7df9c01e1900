// Names of backing files, as headers store them.
#pragma once

#include <string>
#include <string_view>

namespace firn::qcow2 {

// True for "nbd:...", "json:{...}": a colon before any slash.
bool has_protocol(std::string_view name);

// What `name`, stored in the image `image_path`, leads to: absolute names and those with a protocol
// are taken as they are, others relate to the image's directory. Empty stays empty.
std::string resolve_backing_path(std::string_view image_path, std::string_view name);

}  // namespace firn::qcow2
