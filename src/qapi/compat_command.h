// `qapic compat OLD NEW`, as a function.
#pragma once

#include <string>

#include "qapi/check.h"
#include "qapi/compat.h"

namespace firn::qapi {

enum class ReportStyle : uint8_t { kText, kJson };

// Compares two files (load_wire_schema() tells of which kinds); the report goes to `out`, what is
// wrong with the files to `err`. Returns the exit status: 0 compatible, 1 not, 2 one of the files
// can't be used.
int run_compat(const std::string& old_path, const std::string& new_path,
               const CheckOptions& check_options, const CompatOptions& options, ReportStyle style,
               std::string& out, std::string& err);

}  // namespace firn::qapi
