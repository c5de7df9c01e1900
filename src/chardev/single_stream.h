// Character devices that have one stream from the beginning: a file, a FIFO, standard streams.
#pragma once

#include <memory>

#include "base/result.h"
#include "chardev/chardev.h"

namespace firn::chardev {

async::Task<base::Result<std::unique_ptr<Chardev>>> open_file(FileSpec spec);
async::Task<base::Result<std::unique_ptr<Chardev>>> open_pipe(PipeSpec spec);
// Standard input and output. A terminal has its own settings back when the device is closed.
base::Result<std::unique_ptr<Chardev>> open_stdio(StdioSpec spec);

}  // namespace firn::chardev
