// "did you mean 'x'?"
#pragma once

#include <string>
#include <string_view>

namespace firn::qapi {

// Finds, among the names offered, the one that was likely meant by another.
class Suggestion {
 public:
  explicit Suggestion(std::string_view given);

  void offer(std::string_view name);
  // "did you mean 'x'?", or nothing.
  std::string hint() const;

 private:
  std::string_view given_;
  std::string_view best_;
  size_t best_distance_;  // the next one has to be closer than this
};

// How many letters have to be put in, left out, changed or swapped with their neighbours, without
// regard for case and for '-' against '_', to make one name from the other; `limit` if it is no
// less.
size_t edit_distance(std::string_view from, std::string_view to, size_t limit);

}  // namespace firn::qapi
