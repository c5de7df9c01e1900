// What `info block` and `info version` show, made from the answers of the QMP commands.
#pragma once

#include <string>

#include "base/json.h"
#include "base/result.h"

namespace firn::qmp {

struct BlockListView {
  bool nodes = false;    // the answer is query-named-block-nodes', else query-block's
  bool verbose = false;  // the images too
  std::string only;      // a device's name, or a node's with `nodes`; empty: all
};
base::Result<std::string> show_block_list(const base::JsonValue& answer, const BlockListView& view);

base::Result<std::string> show_version(const base::JsonValue& answer);

}  // namespace firn::qmp
