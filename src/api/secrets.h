// Hiding secrets: what generated code makes hide_secrets(T&) of.
//
// A member that the schema marks `secret` is overwritten; everything else stays as it is.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "api/boxed.h"

namespace firn::api {

inline constexpr const char* kHiddenSecret = "***";

inline void hide_secret(std::string& secret) { secret = kHiddenSecret; }
inline void hide_secret(std::optional<std::string>& secret) {
  if (secret) secret = kHiddenSecret;
}

template <typename T>
void hide_secrets(std::optional<T>& value) {
  if (value) hide_secrets(*value);
}
template <typename T>
void hide_secrets(std::vector<T>& values) {
  for (T& value : values) hide_secrets(value);
}
template <typename T>
void hide_secrets(Boxed<T>& value) {
  if (value) hide_secrets(*value);
}

}  // namespace firn::api
