// The command line of firnd, in qemu-storage-daemon's form.
//
// Reading takes two passes, as there: what concerns the process itself (help, version, daemonize,
// pidfile, compat) is taken from anywhere on the line first; the rest is carried out in its order.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "block/space_guard.h"
#include "chardev/listen_fds.h"

namespace firn::daemon {

enum class OptionKind : uint8_t {
  kBlockdev,
  kChardev,
  kDevice,
  kExport,
  kMonitor,
  kNbdServer,
  kObject,
};

// One option of the second pass.
struct Option {
  OptionKind kind;
  std::string name;  // "--blockdev"
  std::string text;  // its argument

  // "--blockdev driver=file,...": what errors are prefixed with.
  std::string shown() const { return name + " " + text; }
};

struct Options {
  std::vector<Option> actions;  // in their order
  bool daemonize = false;
  std::optional<std::string> pidfile;    // absolute: daemonizing changes the directory
  std::optional<std::string> audit;      // --audit's argument
  std::optional<std::string> state;      // --state's file, absolute
  bool plain_overlays = false;           // --compat overlay=plain
  block::SpaceReserve snapshot_reserve;  // --snapshot-reserve
  // What the process was started with; main's to fill in.
  chardev::InheritedSockets inherited_sockets;
  // Set: print this on standard output and exit with success (help, version).
  std::optional<std::string> print_and_exit;
};

// `arguments` is without the program's name. Errors are texts to put behind "firnd: ".
base::Result<Options> parse_options(std::span<const std::string> arguments);

std::string help_text();
std::string version_text();

// Every option's long name with its dashes, for the test that holds the manual page to them.
std::vector<std::string> option_names();

}  // namespace firn::daemon
