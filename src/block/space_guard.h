// The space guard: no snapshot where the overlay's store is about to be full, since a guest whose
// writes find no space stops.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "async/task.h"
#include "base/result.h"

namespace firn::block {

// What a store must have free for a snapshot to be taken onto it; both hold. 0: nothing.
struct SpaceReserve {
  uint64_t bytes = 0;
  unsigned percent = 0;  // of the store's size, 0 to 100
  bool none() const { return bytes == 0 && percent == 0; }
};

// "2G", "512M" (suffixes as in --blockdev), "5%". Errors: kInvalidArgument.
base::Result<SpaceReserve> parse_space_reserve(std::string_view text);

// `directory` is on the store, `shown` is what the error names: kNoSpace, "The store of
// '/d/s1' has 1.2 GiB left, less than the 2 GiB that are to stay free". A store that can't be asked
// passes.
async::Task<base::Result<>> check_space(SpaceReserve reserve, std::string directory,
                                        std::string shown);

}  // namespace firn::block
