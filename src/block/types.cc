#include "block/types.h"

#include <array>
#include <string_view>

namespace firn::block {

std::string permission_names(Permissions permissions) {
  constexpr std::array<std::string_view, 4> kNames = {"consistent read", "write", "write unchanged",
                                                      "resize"};
  std::string text;
  for (size_t bit = 0; bit < kNames.size(); ++bit) {
    if ((permissions & (1u << bit)) == 0) continue;
    if (!text.empty()) text += ", ";
    text += kNames[bit];
  }
  return text.empty() ? "none" : text;
}

}  // namespace firn::block
