// A check of qcow2 images that shares no code with the driver that wrote them: it counts references
// in the bytes of a whole file.
//
// Leaks (a refcount above the references) are legal after a power cut. Everything else that
// `qemu-img check` calls a corruption is an error here. Images with compressed clusters, internal
// snapshots or external data are not understood; the simulation makes none.
//
// Format: QEMU, docs/interop/qcow2.txt.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/bytes.h"

namespace firn::sim {

struct ImageReport {
  std::optional<std::string> corruption;  // the first one, for people
  uint64_t leaked_clusters = 0;
  uint64_t data_clusters = 0;
};

ImageReport check_qcow2(base::ConstByteSpan file);

}  // namespace firn::sim
