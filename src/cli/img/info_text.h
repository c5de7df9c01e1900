// An image's facts as `qemu-img info` prints them, for people and as JSON (QAPI's ImageInfo).
#pragma once

#include <boost/json/fwd.hpp>
#include <string>
#include <vector>

#include "block/types.h"

namespace firn::cli::img {

// "1.5 GiB": three digits that count, as qemu-img rounds them.
std::string short_size(uint64_t bytes);

// The table of internal snapshots with its heading; empty if there are none. Dates are local.
std::string snapshot_table(const std::vector<block::InternalSnapshotFacts>& snapshots);

// One image, line by line.
std::string info_text(const block::ImageFacts& facts);

boost::json::value info_json(const block::ImageFacts& facts);

}  // namespace firn::cli::img
