// Boxed<T>: a T on the heap that is copied and compared as a value. Generated types use it where a
// type contains itself (a node's options hold a node's options), and in alternates.
#pragma once

#include <memory>
#include <utility>

#include "base/check.h"

namespace firn::api {

template <typename T>
class Boxed {
 public:
  // Empty; only assigning to it and bool may be used.
  Boxed() = default;
  Boxed(T value) : value_(std::make_unique<T>(std::move(value))) {}  // NOLINT: converts on purpose
  Boxed(Boxed&&) noexcept = default;
  Boxed& operator=(Boxed&&) noexcept = default;
  Boxed(const Boxed& other) : value_(other.value_ ? std::make_unique<T>(*other.value_) : nullptr) {}
  Boxed& operator=(const Boxed& other) {
    if (this != &other) value_ = other.value_ ? std::make_unique<T>(*other.value_) : nullptr;
    return *this;
  }
  ~Boxed() = default;

  explicit operator bool() const { return value_ != nullptr; }
  T& operator*() { return checked(); }
  const T& operator*() const { return checked(); }
  T* operator->() { return &checked(); }
  const T* operator->() const { return &checked(); }
  T& emplace() {
    value_ = std::make_unique<T>();
    return *value_;
  }

 private:
  T& checked() const {
    CHECK(value_);
    return *value_;
  }
  std::unique_ptr<T> value_;
};

}  // namespace firn::api
