#include "qmp/hmp_jobs.h"

#include <fmt/format.h>

#include <boost/json/object.hpp>
#include <iterator>
#include <utility>
#include <vector>

#include "api/codec.h"

namespace firn::qmp {
namespace {

namespace json = boost::json;
using async::Task;

json::object of_device(const HmpArgs& args) { return {{"device", args.text_or_empty("device")}}; }

}  // namespace

Task<std::string> block_job_cancel(HmpCaller& caller, const HmpArgs& args) {
  json::object arguments = of_device(args);
  arguments["force"] = args.flag("f");
  co_return co_await caller.call_for_text("block-job-cancel", std::move(arguments));
}

Task<std::string> block_job_complete(HmpCaller& caller, const HmpArgs& args) {
  return caller.call_for_text("block-job-complete", of_device(args));
}

Task<std::string> block_job_pause(HmpCaller& caller, const HmpArgs& args) {
  return caller.call_for_text("block-job-pause", of_device(args));
}

Task<std::string> block_job_resume(HmpCaller& caller, const HmpArgs& args) {
  return caller.call_for_text("block-job-resume", of_device(args));
}

Task<std::string> block_job_set_speed(HmpCaller& caller, const HmpArgs& args) {
  json::object arguments = of_device(args);
  arguments["speed"] = *args.size_bytes("speed");
  co_return co_await caller.call_for_text("block-job-set-speed", std::move(arguments));
}

Task<std::string> info_block_jobs(HmpCaller& caller, const HmpArgs&) {
  auto answer = co_await caller.call("query-block-jobs", {});
  if (!answer) co_return shown_error(answer.error());
  auto jobs = api::decode_as<std::vector<api::BlockJobInfo>>(*answer);
  if (!jobs) co_return shown_error(jobs.error());
  if (jobs->empty()) co_return "No active jobs\n";
  std::string out;
  for (const api::BlockJobInfo& job : *jobs) {
    fmt::format_to(std::back_inserter(out),
                   "Type {}, device {}: Completed {} of {} bytes, speed limit {} bytes/s, {}{}{}\n",
                   job.type, job.device, job.offset, job.len, job.speed, api::to_string(job.status),
                   job.error ? ": " : "", job.error.value_or(""));
  }
  co_return out;
}

Task<std::string> info_blockstats(HmpCaller& caller, const HmpArgs&) {
  auto answer = co_await caller.call("query-blockstats", {});
  if (!answer) co_return shown_error(answer.error());
  auto devices = api::decode_as<std::vector<api::BlockStats>>(*answer);
  if (!devices) co_return shown_error(devices.error());
  std::string out;
  for (const api::BlockStats& device : *devices) {
    const api::BlockDeviceStats& stats = device.stats;
    fmt::format_to(std::back_inserter(out),
                   "{}: rd_bytes={} wr_bytes={} rd_operations={} wr_operations={} "
                   "flush_operations={} wr_total_time_ns={} rd_total_time_ns={} "
                   "flush_total_time_ns={} rd_merged={} wr_merged={} idle_time_ns={}\n",
                   device.device.value_or(""), stats.rd_bytes, stats.wr_bytes, stats.rd_operations,
                   stats.wr_operations, stats.flush_operations, stats.wr_total_time_ns,
                   stats.rd_total_time_ns, stats.flush_total_time_ns, stats.rd_merged,
                   stats.wr_merged, stats.idle_time_ns.value_or(0));
  }
  co_return out;
}

}  // namespace firn::qmp
