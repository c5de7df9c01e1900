// The human monitor's lines about jobs, and what was read and written. Lines as those of QEMU.
#pragma once

#include <string>

#include "async/task.h"
#include "qmp/hmp_args.h"
#include "qmp/hmp_caller.h"

namespace firn::qmp {

async::Task<std::string> block_job_cancel(HmpCaller& caller, const HmpArgs& args);
async::Task<std::string> block_job_complete(HmpCaller& caller, const HmpArgs& args);
async::Task<std::string> block_job_pause(HmpCaller& caller, const HmpArgs& args);
async::Task<std::string> block_job_resume(HmpCaller& caller, const HmpArgs& args);
async::Task<std::string> block_job_set_speed(HmpCaller& caller, const HmpArgs& args);
async::Task<std::string> info_block_jobs(HmpCaller& caller, const HmpArgs& args);
async::Task<std::string> info_blockstats(HmpCaller& caller, const HmpArgs& args);

}  // namespace firn::qmp
