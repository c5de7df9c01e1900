// Documentation against what it documents: every member and feature that a definition has, and no
// other.
#pragma once

#include <vector>

#include "qapi/declaration.h"

namespace firn::qapi {

class DocCheck {
 public:
  DocCheck(const Pragmas& pragmas, Diagnostics& diagnostics)
      : pragmas_(pragmas), diagnostics_(diagnostics) {}

  // Reports what the definition has and its documentation has not.
  void check_complete(const Declaration& declaration);
  // Reports what the documentation of all definitions seen so far describes without reason.
  void check_superfluous();

 private:
  struct Known;
  void report_undocumented(const Declaration& declaration, const Known& known);

  struct Superfluous {
    const DocPart* part;
    std::string text;
    std::string hint;
  };
  const Pragmas& pragmas_;
  Diagnostics& diagnostics_;
  std::vector<Superfluous> superfluous_;
};

}  // namespace firn::qapi
