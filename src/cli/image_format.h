// What `firn` finds out about a disk before a daemon has it open.
#pragma once

#include <string>

#include "async/task.h"
#include "base/result.h"

namespace firn::cli {

// The format whose mark stands in the file's first bytes; "raw" if none does. Errors: the file
// can't be read.
async::Task<base::Result<std::string>> detect_format(std::string path);

// True if `path` is a directory, not a symbolic link, of the calling user's, that nobody else may
// write.
bool owned_by_us(const std::string& path);

}  // namespace firn::cli
