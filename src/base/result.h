// Result<T>: a T, or the Error that says why not.
#pragma once

#include <expected>
#include <string>
#include <utility>

#include "base/error.h"

namespace firn::base {

template <typename T = void>
using Result = std::expected<T, Error>;

// return fail(ErrorKind::kBusy, fmt::format(...));
inline std::unexpected<Error> fail(ErrorKind kind, std::string text) {
  return std::unexpected<Error>(Error(kind, std::move(text)));
}
inline std::unexpected<Error> fail(Error error) { return std::unexpected<Error>(std::move(error)); }

}  // namespace firn::base

// The value of a Result, or leave the function with its error. TRY is for functions, CO_TRY for
// coroutines. Both are expressions:  auto size = TRY(parse_size(text));
// A Result<void> gives void.
#define TRY(expression)                                                                \
  ({                                                                                   \
    auto firn_try_result = (expression);                                               \
    if (!firn_try_result) [[unlikely]]                                                 \
      return std::unexpected<::firn::base::Error>(std::move(firn_try_result).error()); \
    std::move(firn_try_result).value();                                                \
  })
#define CO_TRY(expression)                                                                \
  ({                                                                                      \
    auto firn_try_result = (expression);                                                  \
    if (!firn_try_result) [[unlikely]]                                                    \
      co_return std::unexpected<::firn::base::Error>(std::move(firn_try_result).error()); \
    std::move(firn_try_result).value();                                                   \
  })
// As TRY and CO_TRY, with a context put before the error's text.
#define TRY_CONTEXT(expression, context)                             \
  ({                                                                 \
    auto firn_try_result = (expression);                             \
    if (!firn_try_result) [[unlikely]]                               \
      return std::unexpected<::firn::base::Error>(                   \
          std::move(firn_try_result).error().with_context(context)); \
    std::move(firn_try_result).value();                              \
  })
#define CO_TRY_CONTEXT(expression, context)                          \
  ({                                                                 \
    auto firn_try_result = (expression);                             \
    if (!firn_try_result) [[unlikely]]                               \
      co_return std::unexpected<::firn::base::Error>(                \
          std::move(firn_try_result).error().with_context(context)); \
    std::move(firn_try_result).value();                              \
  })
