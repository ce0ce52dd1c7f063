#pragma once
// The loop of an upgraded connection: waits for the connection, some plain descriptors and the stop token at
// once.

#include <poll.h>

#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "apiserver/connection.hpp"
#include "base/error.hpp"
#include "base/fd.hpp"

namespace skiff::apiserver {

/// Used by one session thread.
class Wire {
 public:
  /// `early` counts as received first.
  static Result<std::unique_ptr<Wire>> create(Connection& connection, std::string early,
                                              std::stop_token stop);

  struct Round {
    std::string received;
    bool closed = false;   // the peer has closed or the connection broke
    bool stopped = false;  // the server is shutting down
  };

  /// Writes what it can of `output` (taken off its front), then waits until the peer sent something (if
  /// `reading`), `output` can be written on, one of `others` is ready (see their revents) or `timeout` has
  /// passed.
  Round wait(std::vector<pollfd>& others, std::string& output, bool reading,
             std::optional<Duration> timeout = std::nullopt);

  /// Writes all of `output` and then waits for the peer to close, so that nothing of it is lost; gives up
  /// after `patience` in all.
  void finish(std::string& output, Duration patience);

 private:
  Wire(Connection& connection, std::string early, UniqueFd wake, std::stop_token stop);
  bool write_some(std::string& output);
  void read_some(Round& round);

  Connection& connection_;
  std::string early_;
  UniqueFd wake_;  // eventfd, readable once `stop` was requested
  std::stop_token stop_;
  std::stop_callback<std::function<void()>> on_stop_;
};

/// Output waiting for a slow peer above which sessions stop reading from the other side.
constexpr size_t kSessionBuffer = 256U << 10;

}  // namespace skiff::apiserver
