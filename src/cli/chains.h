// The chains of layers that a daemon has, as its query commands tell them.
#pragma once

#include <boost/json/object.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "async/task.h"
#include "base/result.h"
#include "cli/qmp_client.h"

namespace firn::cli {

struct InternalSnapshot {
  std::string id;
  std::string name;
  int64_t date_s = 0;
};

struct Layer {
  std::string node_name;  // empty: the layer has no node that the daemon names
  std::string filename;
  std::string format;
  uint64_t virtual_bytes = 0;
  uint64_t actual_bytes = 0;
  bool read_only = true;
  std::vector<InternalSnapshot> snapshots;
  // When the file was changed last: of a sealed layer, about when the snapshot was taken. Not set
  // where nobody asked (look_at_files), or the file is not to be seen from here.
  std::optional<int64_t> modified_s;
  // What the layer has that those below it have not: its own data, and what reads as zeroes. Not
  // set where nobody asked (measure_layers), or the server can't tell.
  std::optional<uint64_t> own_data_bytes;
  std::optional<uint64_t> own_zero_bytes;
};

struct Chain {
  std::string device;  // empty: a head that no device names
  std::string head;
  std::vector<Layer> layers;  // the head first
  std::vector<std::string> exports;
};

// All of them: those of devices, then of exports without one, then of what nobody uses.
async::Task<base::Result<std::vector<Chain>>> load_chains(QmpClient& client);

// Fills in what the files themselves tell.
async::Task<void> look_at_files(std::vector<Chain>& chains);

// Fills in what takes a walk through the images' tables.
async::Task<base::Result<>> measure_layers(QmpClient& client, std::vector<Chain>& chains);

// The chain of a device or of a head by its name. kDeviceNotFound.
base::Result<const Chain*> find_chain(const std::vector<Chain>& chains, const std::string& name);

// The node of a layer that is named by its node-name or by its file, relative to this directory.
// kDeviceNotFound.
async::Task<base::Result<std::string>> find_layer(const std::vector<Chain>& chains,
                                                  std::string name);

// The members that name a disk: `device`, or `node-name` for a node that no device is called as.
// What there is not goes as a device, so that the daemon says it in its own words.
boost::json::object address_of(const std::vector<Chain>& chains, const std::string& name);

// "2026-11-23 21:30:01", in local time.
std::string local_time(int64_t seconds);

// A member in nanoseconds as milliseconds; 0 where there is none.
double milliseconds_of(const boost::json::object& data, std::string_view member);

}  // namespace firn::cli
