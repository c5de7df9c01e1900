// What a state file holds, as values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "block/state_store.h"
#include "state/files.h"

namespace firn::state {

// How far a node's seal is. The numbers are those of the file.
enum class Seal : int64_t {
  kNone = 0,      // not below a snapshot, or written to again since
  kSealed = 1,    // durable and read-only; its file must stay as it is
  kUnsealed = 2,  // its seal failed: nobody knows what is durable, until an operator resolves it
  kToSeal = 3,    // a crash came before the seal: to be done before anything is served
};
std::string_view seal_name(Seal seal);  // "none", "sealed", ...

// One node of the graph, with its children by name.
struct NodeRecord {
  std::string name;
  std::string driver;
  std::string own = "{}";      // the driver's own options, a JSON object with the schema's names
  std::string options = "{}";  // those of every node but read-only, likewise
  bool read_only = false;
  std::string file;     // its `file` child; empty: none
  std::string backing;  // its `backing` child; empty: none
  bool added = false;   // by a user or a snapshot; else it closes with the last that uses it
  bool made_by_snapshot = false;  // goes when a commit has merged it away
  std::string io_thread;
  std::string path;  // protocol nodes: absolute; empty: none
  Seal seal = Seal::kNone;
  std::optional<FileIdentity> identity;  // protocol nodes: as the file must be
};

// Anything else that a user has defined.
struct Thing {
  std::string kind;        // "device", "export", ...: see below
  std::string id;          // unique among its kind
  std::string definition;  // a JSON object: the arguments that made it
  std::string node;        // the node that it uses, which changes with pivots; empty: none
};
namespace kind {
inline constexpr std::string_view kObject = "object";
inline constexpr std::string_view kChardev = "chardev";
inline constexpr std::string_view kDevice = "device";
inline constexpr std::string_view kServer = "server";
inline constexpr std::string_view kExport = "export";
inline constexpr std::string_view kMonitor = "monitor";
inline constexpr std::string_view kJob = "job";
}  // namespace kind

// An option of the command line that has been carried out.
struct OptionRecord {
  std::string name;        // "--blockdev"
  std::string definition;  // in a form that does not depend on how it was written

  bool operator==(const OptionRecord&) const = default;
};

// A change that was under way.
struct Intent {
  uint64_t number = 0;
  int64_t recorded_us = 0;   // since 1970-01-01 UTC
  int64_t recovered_us = 0;  // when a start carried it out; 0: it has not been
  block::GraphChange change;
};

struct Contents {
  std::vector<NodeRecord> nodes;  // in the order in which they came
  std::vector<Thing> things;      // likewise
  std::vector<OptionRecord> options;
  std::vector<Intent> intents;
  std::vector<Intent> recovered;
  bool complete = false;  // a start with this file has been completed
  bool clean = false;     // the last daemon ended in order
  std::string boot_id;    // of the machine's run in which the identities were taken

  const NodeRecord* find_node(std::string_view name) const;
  const Thing* find_thing(std::string_view kind, std::string_view id) const;
};

// A change as a JSON object, and back. Errors: kCorrupt.
std::string print_change(const block::GraphChange& change);
base::Result<block::GraphChange> parse_change(std::string_view text);
// "the snapshot of 'vda' into '/d/s1.qcow2' (node 's1')": for people.
std::string describe(const block::GraphChange& change);

// The options of every node but read-only, as a JSON object with the schema's names.
std::string print_options(const block::NodeOptions& options);

// Why the file is not what it was: "it is 2 MiB long and was 1 MiB"; empty if it is. Numbers of
// devices count within one run of the machine only (`same_boot`).
std::string difference(const FileIdentity& was, const FileIdentity& is, bool same_boot);

}  // namespace firn::state
