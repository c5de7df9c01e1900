// A QMP client: one connection to a daemon's monitor.
#pragma once

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "async/socket.h"
#include "async/task.h"
#include "base/json.h"
#include "base/result.h"

namespace firn::cli {

class QmpClient final {
 public:
  // Connects, takes the greeting and leaves negotiation. On the current loop. Errors say which
  // socket and what to do.
  static async::Task<base::Result<std::unique_ptr<QmpClient>>> connect(std::string socket_path);

  // Runs one command and gives its `return`. An error of the daemon keeps its `desc` as the text;
  // its class and data are in last_error(). Events that arrive meanwhile are kept for
  // take_events().
  async::Task<base::Result<boost::json::value>> execute(std::string command,
                                                        boost::json::object arguments = {});

  // One step each, for callers that read replies and events themselves: sends a command with an
  // `id`, unless that is null; and gives the next message of whatever kind. Not beside execute().
  async::Task<base::Result<>> send(std::string command, boost::json::object arguments,
                                   boost::json::value id = {});
  async::Task<base::Result<boost::json::object>> receive();

  // Ends the connection: what waits gives kCancelled.
  void close() { stream_->close(); }

  // The `error` object of the last command that the daemon refused.
  const boost::json::object& last_error() const { return last_error_; }

  // Events since the last call, oldest first, as they came.
  std::vector<boost::json::object> take_events() { return std::exchange(events_, {}); }

  const std::string& socket_path() const { return socket_path_; }

 private:
  QmpClient(std::string socket_path, std::unique_ptr<async::Stream> stream)
      : socket_path_(std::move(socket_path)), stream_(std::move(stream)) {}
  base::Error gone() const;

  static constexpr size_t kReceiveBytes = size_t{64} << 10;

  std::string socket_path_;
  std::unique_ptr<async::Stream> stream_;
  // A daemon is trusted; a chain of a thousand layers nests as deep in query-block's answer.
  base::JsonParser parser_{base::JsonParser::Limits{
      .token_bytes = size_t{1} << 30, .tokens = size_t{1} << 26, .depth = size_t{1} << 16}};
  std::string received_;  // not parsed yet
  std::vector<boost::json::object> events_;
  boost::json::object last_error_;
};

}  // namespace firn::cli
