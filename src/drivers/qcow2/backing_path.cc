#include "drivers/qcow2/backing_path.h"

namespace firn::qcow2 {

bool has_protocol(std::string_view name) {
  const size_t at = name.find_first_of(":/");
  return at != std::string_view::npos && name[at] == ':';
}

std::string resolve_backing_path(std::string_view image_path, std::string_view name) {
  if (name.empty() || name.front() == '/' || has_protocol(name)) return std::string(name);
  const size_t slash = image_path.rfind('/');
  if (slash == std::string_view::npos) return std::string(name);
  return std::string(image_path.substr(0, slash + 1)) + std::string(name);
}

}  // namespace firn::qcow2
