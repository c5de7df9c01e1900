// Keeping secrets out of what is recorded. What is a secret, the schema says (`secret`), and what
// has credentials in it by its form (URIs, key=value lists, json: texts) is found here. In doubt
// more is hidden than need be.
#pragma once

#include <boost/json/value.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "api/dispatch.h"
#include "base/json.h"

namespace firn::daemon {

inline constexpr std::string_view kHidden = "***";

// `text` without what may be credentials in it: what stands before the `@` of a URI, behind its `?`
// or `#`, behind `password=` and its like up to the end, and in a `json:` text behind an unknown
// member or one marked secret.
std::string hide_credentials(std::string_view text);

// One command's arguments and errors, as a record may hold them.
class Redaction final {
 public:
  Redaction(const api::CommandEntry& command, const base::JsonValue& arguments);

  // Null: nobody understood them.
  const base::JsonValue& arguments() const { return arguments_; }
  // An error's text, without the secrets of the arguments; where those are not understood or hold
  // secrets, without anything that is quoted.
  std::string error_text(std::string text) const;

 private:
  void find_secrets(const base::JsonValue& given, const base::JsonValue& shown);

  base::JsonValue arguments_;
  std::vector<std::string> secrets_;
  bool hides_quotes_ = false;
};

}  // namespace firn::daemon
