// The schema compiler as one call, from a file to the model.
#pragma once

#include <string>

#include "qapi/check.h"

namespace firn::qapi {

// Reads, parses and checks. Whatever is wrong, the file that can't be read included, is in
// `diagnostics`; the model is empty unless that is ok().
Schema compile(SourceManager& sources, const std::string& path, const CheckOptions& options,
               Diagnostics& diagnostics);

// Only fills `diagnostics`.
void check_file(SourceManager& sources, const std::string& path, const CheckOptions& options,
                Diagnostics& diagnostics);

}  // namespace firn::qapi
