// Memory for coroutine frames: freed frames are kept by size, per thread, so that the data path
// allocates nothing once it is warm. Sanitized builds go to the heap each time, so that a use after
// the end of a frame is seen.
#pragma once

#include <cstddef>

namespace firn::async {

void* frame_allocate(size_t size);
void frame_free(void* frame, size_t size) noexcept;

}  // namespace firn::async
