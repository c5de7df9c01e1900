#include "daemon/job_recorder.h"

#include <fmt/format.h>

#include <boost/json/object.hpp>
#include <utility>
#include <vector>

#include "base/log.h"

namespace firn::daemon {

namespace json = boost::json;
namespace kind = state::kind;
using async::Task;
using base::ErrorKind;
using base::fail;
using base::JsonValue;
using base::Result;

namespace {

constexpr std::string_view kExecute = "execute";
constexpr std::string_view kArguments = "arguments";
constexpr std::string_view kPaused = "paused";

std::string text_of(const json::object& object, std::string_view name) {
  const JsonValue* value = object.if_contains(name);
  return value == nullptr || !value->is_string() ? std::string() : std::string(value->get_string());
}

// The id of the job that a command has started; empty: of none that can be started anew.
std::string job_id_of(std::string_view command, const json::object& arguments) {
  if (command != "block-commit") return {};
  std::string id = text_of(arguments, "job-id");
  return id.empty() ? text_of(arguments, "device") : id;
}

// A job that is over has nothing left to do; one that is ready has, since it is not completed.
bool is_at_work(const jobs::Job& job) { return job.status() < jobs::JobStatus::kAborting; }

// What starts the job as it is set now.
std::string definition_of(JsonValue start, const jobs::Job& job) {
  json::object& members = start.get_object();
  json::object& arguments = members[kArguments].get_object();
  arguments["job-id"] = job.id();
  if (job.speed_bytes_per_s() != 0 || arguments.contains("speed")) {
    arguments["speed"] = job.speed_bytes_per_s();
  }
  if (job.is_pause_wanted()) members[kPaused] = true;
  return base::print_json(start);
}

}  // namespace

Task<Result<>> JobRecorder::note(std::string_view command, const JsonValue& arguments) {
  if (!recorder_.has_store() || !arguments.is_object()) co_return Result<>();
  if (const std::string id = job_id_of(command, arguments.get_object()); !id.empty()) {
    starts_.insert_or_assign(id, json::object{{kExecute, command}, {kArguments, arguments}});
  }
  if (starts_.empty()) co_return Result<>();
  co_return co_await sync();  // a pause or a speed, too, is recorded before its command is answered
}

Task<Result<>> JobRecorder::sync() {
  const auto turn = co_await turn_.lock();
  std::vector<std::string> ended;
  std::vector<state::Thing> changed;
  std::erase_if(starts_, [&](const auto& entry) {
    auto job = jobs_.find(entry.first);
    if (job && is_at_work(**job)) {
      std::string definition = definition_of(entry.second, **job);
      std::string& recorded = recorded_[entry.first];
      if (recorded == definition) return false;
      recorded = definition;
      changed.push_back({.kind = std::string(kind::kJob),
                         .id = entry.first,
                         .definition = std::move(definition),
                         .node = {}});
      return false;
    }
    return true;
  });
  std::erase_if(recorded_, [&](const auto& entry) {
    if (starts_.contains(entry.first)) return false;
    ended.push_back(entry.first);
    return true;
  });
  for (state::Thing& thing : changed) CO_TRY(co_await recorder_.put(std::move(thing)));
  for (std::string& id : ended) CO_TRY(co_await recorder_.remove(kind::kJob, std::move(id)));
  co_return Result<>();
}

void JobRecorder::on_change() {
  if (starts_.empty()) return;
  changed_ = true;
  if (!syncing_) tasks_.spawn(sync_in_background());
}

// A later turn, so that whoever tells of a change is done with it.
Task<void> JobRecorder::sync_in_background() {
  syncing_ = true;
  co_await async::Loop::current().yield();
  while (std::exchange(changed_, false)) {
    if (auto written = co_await sync(); !written) {
      base::log_warning(fmt::format("jobs: {}", written.error().text()));
    }
  }
  syncing_ = false;
}

Task<Result<>> JobRecorder::restore(const state::Contents& contents, qmp::Commands& commands) {
  for (const state::Thing& thing : contents.things) {
    if (thing.kind != kind::kJob) continue;
    recorded_[thing.id] = thing.definition;
    if (auto started = co_await start_anew(thing, commands); !started) {
      base::log_warning(fmt::format("job '{}' of before the restart is not started again: {}",
                                    thing.id, started.error().text()));
    }
  }
  co_return co_await sync();
}

Task<Result<>> JobRecorder::start_anew(const state::Thing& thing, qmp::Commands& commands) {
  const JsonValue definition = CO_TRY(base::parse_json(thing.definition));
  const JsonValue* arguments = nullptr;
  const api::CommandEntry* command = nullptr;
  bool paused = false;
  if (definition.is_object()) {
    const json::object& members = definition.get_object();
    arguments = members.if_contains(kArguments);
    command = commands.find(text_of(members, kExecute));
    paused = members.contains(kPaused);
  }
  if (arguments == nullptr || !arguments->is_object() || command == nullptr) {
    co_return fail(ErrorKind::kCorrupt, "the state does not say how it was started");
  }
  json::object copy = arguments->get_object();
  CO_TRY(co_await commands.run(*command, std::move(copy)));
  if (auto job = jobs_.find(thing.id); paused && job) CO_TRY(jobs_.pause(**job));
  co_return Result<>();
}

}  // namespace firn::daemon
