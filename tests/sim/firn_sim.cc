// firn_sim: power cuts by seed, on a simulated machine.

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>

#include "base/canary.h"
#include "base/log.h"
#include "tests/sim/groups.h"
#include "tests/sim/scenario.h"

namespace firn::sim {
namespace {

struct CanaryEntry {
  std::string_view name;
  bool base::Canaries::* flag;
  std::string_view meaning;
};
constexpr std::array kCanaries{
    CanaryEntry{"cow-without-wait", &base::Canaries::cow_without_wait,
                "a copy into the overlay does not wait for a write in flight below"},
    CanaryEntry{"seal-without-flush", &base::Canaries::seal_without_flush,
                "a snapshot is acknowledged without a flush of the old head"},
    CanaryEntry{"l2-before-refcount", &base::Canaries::l2_before_refcount,
                "qcow2 writes L2 entries before the refcounts of their clusters"},
    CanaryEntry{"l2-before-data", &base::Canaries::l2_before_data,
                "qcow2 lets an L2 entry go to disk before the data of its cluster"},
    CanaryEntry{"freed-cluster-reused-early", &base::Canaries::freed_cluster_reused_early,
                "qcow2 uses a freed cluster again before the freeing is durable"},
    CanaryEntry{"flush-head-only", &base::Canaries::flush_head_only,
                "a guest's flush leaves out the old head of an unfinished seal"},
    CanaryEntry{"failed-flush-forgotten", &base::Canaries::failed_flush_forgotten,
                "a flush that follows one that failed succeeds"},
    CanaryEntry{"group-without-gate", &base::Canaries::group_without_gate,
                "a group's disks on several I/O loops pivot without a gate (with --groups)"},
    CanaryEntry{"revert-without-drain", &base::Canaries::revert_without_drain,
                "a revert does not wait for the requests in flight"},
    CanaryEntry{"commit-without-flush", &base::Canaries::commit_without_flush,
                "layers leave a chain before what a commit copied is durable"},
    CanaryEntry{"commit-pivot-without-drain", &base::Canaries::commit_pivot_without_drain,
                "a commit of the head leaves out writes that are in flight at its end"},
    CanaryEntry{"commit-skips-zeroes", &base::Canaries::commit_skips_zeroes,
                "a commit does not zero what reads as zeroes in the layers"},
};

struct Arguments {
  uint64_t first_seed = 1;
  uint64_t seeds = 300;
  double minutes = 0;
  std::string canary;
  bool replay = false;
  bool groups = false;
  ScenarioOptions scenario;
};

void print_help() {
  std::fputs(
      "usage: firn_sim [--seed N] [--seeds COUNT | --minutes M] [--canary NAME] [--trace]\n"
      "                [--dump DIRECTORY] [--groups]\n"
      "\n"
      "Runs the block layer on a simulated machine: clients write, flush and discard, snapshots "
      "are\n"
      "taken, power is cut at a random moment, the chain is opened again and judged. Everything "
      "is\n"
      "decided by the seed; a failure is replayed with --seed.\n"
      "\n"
      "  --seed N       begin with this seed (1); alone, run just this one, twice, and compare\n"
      "  --seeds COUNT  how many seeds (300)\n"
      "  --minutes M    as many seeds as fit into this time\n"
      "  --canary NAME  plant a violation; the run is good if it is found\n"
      "  --trace        print every event, to standard error\n"
      "  --dump DIR     write the images of a failure there\n"
      "  --groups       several disks on several I/O loops, snapshots of all at one point in time\n"
      "\n"
      "Canaries:\n",
      stdout);
  for (const CanaryEntry& canary : kCanaries) {
    fmt::print("  {:<28} {}\n", canary.name, canary.meaning);
  }
}

bool parse_number(std::string_view text, uint64_t& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size();
}

[[noreturn]] void usage_error(const std::string& text) {
  fmt::print(stderr, "firn_sim: {}\nTry 'firn_sim --help'.\n", text);
  std::exit(2);
}

Arguments parse(int argc, char** argv) {
  Arguments arguments;
  bool counted = false;
  bool seeded = false;
  for (int i = 1; i < argc; ++i) {
    const std::string_view name = argv[i];
    if (name == "--help" || name == "-h") {
      print_help();
      std::exit(0);
    }
    if (name == "--trace") {
      arguments.scenario.trace = true;
      continue;
    }
    if (name == "--groups") {
      arguments.groups = true;
      continue;
    }
    if (i + 1 == argc) usage_error(fmt::format("'{}' is unknown or needs a value", name));
    const std::string_view value = argv[++i];
    if (name == "--seed") {
      if (!parse_number(value, arguments.first_seed)) {
        usage_error(fmt::format("'{}' is no seed", value));
      }
      seeded = true;
    } else if (name == "--seeds") {
      if (!parse_number(value, arguments.seeds))
        usage_error(fmt::format("'{}' is no count", value));
      counted = true;
    } else if (name == "--minutes") {
      arguments.minutes = std::strtod(argv[i], nullptr);
      if (arguments.minutes <= 0) usage_error(fmt::format("'{}' is no time", value));
      counted = true;
    } else if (name == "--canary") {
      arguments.canary = value;
    } else if (name == "--dump") {
      arguments.scenario.dump_directory = value;
    } else {
      usage_error(fmt::format("'{}' is unknown", name));
    }
  }
  if (seeded && !counted) {
    arguments.seeds = 1;
    arguments.replay = true;
  }
  return arguments;
}

void plant(const std::string& name) {
  for (const CanaryEntry& canary : kCanaries) {
    if (canary.name != name) continue;
    base::canaries.*canary.flag = true;
    return;
  }
  usage_error(fmt::format("no canary is called '{}'", name));
}

struct Total {
  Counters counters;
  uint64_t seeds = 0;
  uint64_t steps = 0;
  std::optional<uint64_t> failed_seed;
  std::string failure;
  double seconds = 0;
};

Total run_all(const Arguments& arguments) {
  using Clock = std::chrono::steady_clock;
  const auto begun = Clock::now();
  const auto elapsed = [begun] {
    return std::chrono::duration<double>(Clock::now() - begun).count();
  };
  Total total;
  for (uint64_t i = 0; !total.failed_seed; ++i) {
    if (arguments.minutes > 0 ? elapsed() > arguments.minutes * 60 : i >= arguments.seeds) break;
    const uint64_t seed = arguments.first_seed + i;
    const auto run_it = arguments.groups ? &run_group_seed : &run_seed;
    Outcome outcome = run_it(seed, arguments.scenario);
    ++total.seeds;
    total.steps += outcome.steps;
    total.counters.add(outcome.counters);
    // The first seed runs twice: a run that can't be repeated is worth nothing.
    if (i == 0 && !outcome.failure && run_it(seed, {}).trace_hash != outcome.trace_hash) {
      outcome.failure = "two runs by one seed differ";
    }
    if (outcome.failure) {
      total.failed_seed = seed;
      total.failure = *std::move(outcome.failure);
    }
  }
  total.seconds = elapsed();
  return total;
}

void print_summary(const Total& total) {
  const Counters& counters = total.counters;
  fmt::print("{} seeds, {} events, {:.1f} s ({:.0f} seeds/s)\n", total.seeds, total.steps,
             total.seconds, static_cast<double>(total.seeds) / total.seconds);
  fmt::print("power cuts while");
  for (size_t i = 0; i < kPhases; ++i) {
    fmt::print("{} {} {}", i == 0 ? "" : ",", phase_name(static_cast<Phase>(i)),
               counters.power_cuts[i]);
  }
  fmt::print("; processes killed {}; orderly ends {}; I/O errors {}\n", counters.kills,
             counters.orderly_ends, counters.faults);
  fmt::print("writes {}, zeroings {}, discards {}, flushes {}, reads {}\n", counters.writes,
             counters.zeroings, counters.discards, counters.flushes, counters.reads);
  fmt::print("snapshots {} ({} requests carried over), recovered {}, failed {}\n",
             counters.snapshots, counters.carried_requests, counters.snapshots_recovered,
             counters.failed_snapshots);
  fmt::print("reverts {}, recovered {}; forks {}\n", counters.reverts, counters.reverts_recovered,
             counters.forks);
  fmt::print("commits {}, layers that left a chain {}\n", counters.merges, counters.merged_layers);
  fmt::print("images checked {} ({} clusters leaked), frozen layers judged {}\n",
             counters.images_checked, counters.leaked_clusters, counters.frozen_layers_judged);
}

// In GoogleTest's JSON form, where GTEST_OUTPUT asks for it: `./dev test` counts cases there.
void write_report(const std::string& name, bool good, const Total& total) {
  const char* output = std::getenv("GTEST_OUTPUT");
  constexpr std::string_view kPrefix = "json:";
  if (output == nullptr || !std::string_view(output).starts_with(kPrefix)) return;
  std::ofstream out(output + kPrefix.size());
  const std::string failures =
      good ? "" : R"(, "failures": [{"failure": "see the output", "type": ""}])";
  out << fmt::format(
      R"({{"tests": 1, "failures": {}, "testsuites": [{{"name": "sim", "tests": 1, "testsuite": [)"
      R"({{"name": "{}", "classname": "sim", "status": "RUN", "result": "COMPLETED", )"
      R"("time": "{:.3f}s"{}}}]}}]}})",
      good ? 0 : 1, name, total.seconds, failures);
}

int run(const Arguments& arguments) {
  base::set_log_name("firn_sim");
  if (!arguments.canary.empty()) plant(arguments.canary);
  const Total total = run_all(arguments);
  print_summary(total);
  const bool good = total.failed_seed.has_value() != arguments.canary.empty();
  const std::string canary =
      std::string(arguments.groups ? " --groups" : "") +
      (arguments.canary.empty() ? "" : fmt::format(" --canary {}", arguments.canary));
  if (total.failed_seed) {
    fmt::print("seed {}: {}\n", *total.failed_seed, total.failure);
    fmt::print("replay: firn_sim --seed {}{}\n", *total.failed_seed, canary);
  }
  if (arguments.canary.empty()) {
    fmt::print("{}\n", good ? "all held" : "FAILED");
  } else if (good) {
    fmt::print("canary {} found by seed {}, the {}. tried\n", arguments.canary, *total.failed_seed,
               total.seeds);
  } else {
    fmt::print("FAILED: canary {} was not found\n", arguments.canary);
  }
  const char* const kind = arguments.groups ? "groups" : "power_cuts";
  write_report(arguments.canary.empty() ? kind : "canary." + arguments.canary, good, total);
  std::fflush(stdout);
  return good ? 0 : 1;
}

}  // namespace
}  // namespace firn::sim

int main(int argc, char** argv) { return firn::sim::run(firn::sim::parse(argc, argv)); }
