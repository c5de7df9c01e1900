// The handlers of QMP's commands: each turns what the schema's types say into calls of the block
// layer, the exports and the objects, and back. One class for each module of the schema; the
// command line's options use them too.
//
// All belong to the control loop. What they refer to outlives them.
#pragma once

#include <string>
#include <vector>

#include "api/commands.h"
#include "block/graph.h"
#include "block/snapshot.h"
#include "chardev/chardevs.h"
#include "daemon/chardev_options.h"
#include "daemon/exports.h"
#include "daemon/sockets.h"
#include "qmp/events.h"

namespace firn::daemon {

class BlockHandlers final : public api::BlockCoreCommands {
 public:
  BlockHandlers(block::Graph& graph, qmp::EventHub& events) : graph_(graph), events_(events) {}

  async::Task<base::Result<>> blockdev_add(api::BlockdevOptions args) override;
  async::Task<base::Result<>> blockdev_del(api::BlockdevDelArgs args) override;
  async::Task<base::Result<std::vector<api::BlockDeviceInfo>>> query_named_block_nodes(
      api::QueryNamedBlockNodesArgs args) override;
  async::Task<base::Result<std::vector<api::BlockInfo>>> query_block() override;
  async::Task<base::Result<>> block_resize(api::BlockResizeArgs args) override;
  async::Task<base::Result<>> blockdev_snapshot_sync(api::BlockdevSnapshotSync args) override;
  async::Task<base::Result<>> blockdev_snapshot(api::BlockdevSnapshot args) override;
  async::Task<base::Result<>> blockdev_snapshot_seal(api::BlockdevSnapshotSealArgs args) override;

 private:
  async::Task<base::Result<>> take_snapshot(block::SnapshotRequest request);

  block::Graph& graph_;
  qmp::EventHub& events_;
};

class TransactionHandlers final : public api::TransactionCommands {
 public:
  TransactionHandlers(block::Graph& graph, qmp::EventHub& events)
      : graph_(graph), events_(events) {}

  async::Task<base::Result<>> transaction(api::TransactionArgs args) override;

 private:
  block::Graph& graph_;
  qmp::EventHub& events_;
};

class DeviceHandlers final : public api::BlockDeviceCommands {
 public:
  explicit DeviceHandlers(block::Graph& graph) : graph_(graph) {}

  async::Task<base::Result<>> block_device_add(api::BlockDeviceAddArgs args) override;
  async::Task<base::Result<>> block_device_del(api::BlockDeviceDelArgs args) override;

 private:
  block::Graph& graph_;
};

class BlockSnapshotHandlers final : public api::BlockSnapshotCommands {
 public:
  BlockSnapshotHandlers(block::Graph& graph, qmp::EventHub& events)
      : graph_(graph), events_(events) {}

  async::Task<base::Result<>> blockdev_snapshot_internal_sync(
      api::BlockdevSnapshotInternal args) override;
  async::Task<base::Result<api::SnapshotInfo>> blockdev_snapshot_delete_internal_sync(
      api::BlockdevSnapshotDeleteInternalSyncArgs args) override;

 private:
  block::Graph& graph_;
  qmp::EventHub& events_;
};

class RevertHandlers final : public api::BlockRevertCommands {
 public:
  RevertHandlers(block::Graph& graph, qmp::EventHub& events) : graph_(graph), events_(events) {}

  async::Task<base::Result<>> blockdev_snapshot_revert(api::BlockdevSnapshotRevert args) override;
  async::Task<base::Result<>> block_device_fork(api::BlockDeviceFork args) override;

 private:
  block::Graph& graph_;
  qmp::EventHub& events_;
};

class ReopenHandlers final : public api::BlockReopenCommands {
 public:
  explicit ReopenHandlers(block::Graph& graph) : graph_(graph) {}

  async::Task<base::Result<>> change_backing_file(api::ChangeBackingFileArgs args) override;
  async::Task<base::Result<>> blockdev_reopen(api::BlockdevReopenArgs args) override;

 private:
  block::Graph& graph_;
};

class ExportHandlers final : public api::BlockExportCommands {
 public:
  // `fds` finds the sockets that addresses of type `fd` name.
  ExportHandlers(Exports& exports, DescriptorLookup fds)
      : exports_(exports), fds_(std::move(fds)) {}

  async::Task<base::Result<>> nbd_server_start(api::NbdServerStartArgs args) override;
  async::Task<base::Result<>> nbd_server_stop() override;
  async::Task<base::Result<>> nbd_server_add(api::NbdServerAddOptions args) override;
  async::Task<base::Result<>> nbd_server_remove(api::NbdServerRemoveArgs args) override;
  async::Task<base::Result<>> block_export_add(api::BlockExportOptions args) override;
  async::Task<base::Result<>> block_export_del(api::BlockExportDelArgs args) override;
  async::Task<base::Result<std::vector<api::BlockExportInfo>>> query_block_exports() override;

  // --nbd-server: the same, with the address in its newer form, and sockets of its own.
  async::Task<base::Result<>> start_server(api::NbdServerOptions options,
                                           const DescriptorLookup& fds);

 private:
  Exports& exports_;
  DescriptorLookup fds_;
};

class ChardevHandlers final : public api::ChardevCommands {
 public:
  // `fds` as above. A wait for a server's first client is given up once `cancel` is asked.
  ChardevHandlers(chardev::Chardevs& chardevs, DescriptorLookup fds, async::CancelToken cancel)
      : chardevs_(chardevs), fds_(std::move(fds)), cancel_(cancel) {}

  async::Task<base::Result<std::vector<api::ChardevInfo>>> query_chardev() override;
  async::Task<base::Result<std::vector<api::ChardevBackendInfo>>> query_chardev_backends() override;
  async::Task<base::Result<>> ringbuf_write(api::RingbufWriteArgs args) override;
  async::Task<base::Result<std::string>> ringbuf_read(api::RingbufReadArgs args) override;
  async::Task<base::Result<api::ChardevReturn>> chardev_add(api::ChardevAddArgs args) override;
  async::Task<base::Result<api::ChardevReturn>> chardev_change(
      api::ChardevChangeArgs args) override;
  async::Task<base::Result<>> chardev_remove(api::ChardevRemoveArgs args) override;
  async::Task<base::Result<>> chardev_send_break(api::ChardevSendBreakArgs args) override;

  // --chardev. Errors have no context here: the option's text is it.
  async::Task<base::Result<>> add_option(ChardevOption option);

 private:
  chardev::Chardevs& chardevs_;
  DescriptorLookup fds_;
  async::CancelToken cancel_;
};

class ObjectHandlers final : public api::QomCommands {
 public:
  explicit ObjectHandlers(block::Graph& graph) : graph_(graph) {}

  async::Task<base::Result<>> object_add(api::ObjectOptions args) override;
  async::Task<base::Result<>> object_del(api::ObjectDelArgs args) override;

 private:
  block::Graph& graph_;
};

class ClientCommands;
struct CommandContext;

// One for each client: `commands` are its own.
class ControlHandlers final : public api::ControlCommands {
 public:
  // The context's on_quit is called once for each quit command; it only notes the wish. `commands`
  // is what the human monitor's lines are carried out by.
  ControlHandlers(ClientCommands& commands, CommandContext& context)
      : commands_(commands), context_(context) {}

  async::Task<base::Result<>> qmp_capabilities(api::QmpCapabilitiesArgs args) override;
  async::Task<base::Result<api::VersionInfo>> query_version() override;
  async::Task<base::Result<std::vector<api::CommandInfo>>> query_commands() override;
  async::Task<base::Result<>> quit() override;
  async::Task<base::Result<std::string>> human_monitor_command(
      api::HumanMonitorCommandArgs args) override;
  async::Task<base::Result<base::JsonValue>> query_qmp_schema() override;
  async::Task<base::Result<std::vector<api::MonitorInfo>>> query_monitors() override;

 private:
  ClientCommands& commands_;
  CommandContext& context_;
};

// The version that clients are told: QEMU's, whose behaviour this is, and ours beside it.
api::VersionInfo version_info();

}  // namespace firn::daemon
