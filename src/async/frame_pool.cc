#include "async/frame_pool.h"

#include <array>
#include <new>

namespace firn::async {

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(memory_sanitizer)
#define FIRN_FRAMES_ON_HEAP 1
#endif
#endif

#ifdef FIRN_FRAMES_ON_HEAP

void* frame_allocate(size_t size) { return ::operator new(size); }
void frame_free(void* frame, size_t) noexcept { ::operator delete(frame); }

#else

namespace {

constexpr size_t kClassBytes = 64;
constexpr size_t kClasses = 64;  // frames up to 4 KiB; larger ones are rare and go to the heap
constexpr size_t kKeptPerClass = 1024;

struct FreeFrame {
  FreeFrame* next;
};

struct FreeList {
  FreeFrame* head = nullptr;
  size_t length = 0;
};

struct Pool {
  std::array<FreeList, kClasses> lists;
  ~Pool() {
    for (FreeList& list : lists) {
      while (list.head != nullptr) {
        FreeFrame* frame = list.head;
        list.head = frame->next;
        ::operator delete(frame);
      }
      list.length = kKeptPerClass;  // frames freed after this thread's end go to the heap
    }
  }
};

thread_local Pool t_pool;

size_t class_of(size_t size) { return (size + kClassBytes - 1) / kClassBytes; }

}  // namespace

void* frame_allocate(size_t size) {
  const size_t index = class_of(size);
  if (index >= kClasses) return ::operator new(size);
  FreeList& list = t_pool.lists[index];
  if (list.head == nullptr) return ::operator new(index * kClassBytes);
  FreeFrame* frame = list.head;
  list.head = frame->next;
  --list.length;
  return frame;
}

void frame_free(void* frame, size_t size) noexcept {
  const size_t index = class_of(size);
  if (index < kClasses) {
    FreeList& list = t_pool.lists[index];
    if (list.length < kKeptPerClass) {
      list.head = new (frame) FreeFrame{list.head};
      ++list.length;
      return;
    }
  }
  ::operator delete(frame);
}

#endif

}  // namespace firn::async
