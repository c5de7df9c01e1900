#include <utility>

#include "daemon/handlers.h"
#include "daemon/sockets.h"
#include "daemon/unsupported.h"

namespace firn::daemon {

using async::Task;
using base::Result;

namespace {

template <typename Options>
Result<nbd::ServerOptions> server_options(const Options& options, const DescriptorLookup& fds) {
  if (options.tls_creds) return unsupported("tls-creds", "the server does not speak TLS");
  if (options.tls_authz) return unsupported("tls-authz", "the server does not speak TLS");
  nbd::ServerOptions result;
  result.address = TRY(socket_address(options.addr, fds));
  result.max_connections = options.max_connections.value_or(0);
  return result;
}

}  // namespace

Task<Result<>> ExportHandlers::nbd_server_start(api::NbdServerStartArgs args) {
  // Before a socket is taken by its name.
  CO_TRY(exports_.check_no_server());
  co_return co_await exports_.start_server(CO_TRY(server_options(args, fds_)));
}

Task<Result<>> ExportHandlers::start_server(api::NbdServerOptions options,
                                            const DescriptorLookup& fds) {
  CO_TRY(exports_.check_no_server());
  co_return co_await exports_.start_server(CO_TRY(server_options(options, fds)));
}

Task<Result<>> ExportHandlers::nbd_server_stop() { return exports_.stop_server(); }

Task<Result<>> ExportHandlers::nbd_server_add(api::NbdServerAddOptions args) {
  return exports_.add_nbd(std::move(args));
}

Task<Result<>> ExportHandlers::nbd_server_remove(api::NbdServerRemoveArgs args) {
  return block_export_del({.id = std::move(args.name), .mode = args.mode});
}

Task<Result<>> ExportHandlers::block_export_add(api::BlockExportOptions args) {
  return exports_.add(std::move(args));
}

Task<Result<>> ExportHandlers::block_export_del(api::BlockExportDelArgs args) {
  bool hard =
      args.mode.value_or(api::BlockExportRemoveMode::kSafe) == api::BlockExportRemoveMode::kHard;
  return exports_.remove(std::move(args.id),
                         hard ? nbd::RemoveMode::kHard : nbd::RemoveMode::kSafe);
}

Task<Result<std::vector<api::BlockExportInfo>>> ExportHandlers::query_block_exports() {
  return exports_.list();
}

}  // namespace firn::daemon
