#pragma once
// Accepts connections and serves requests. See README.md for its threads.

#include <memory>

#include "apiserver/connection.hpp"
#include "apiserver/http.hpp"
#include "apiserver/message.hpp"
#include "base/error.hpp"
#include "base/fd.hpp"

namespace skiff::apiserver {

struct ListenerSettings {
  HttpLimits http;
  size_t max_connections = 8192;  // further ones are closed as they come
  size_t min_workers = 2;
  size_t max_workers = 32;
  size_t max_sessions = 1024;              // upgrades and followed logs, a thread each
  size_t stream_buffer_bytes = 64U << 20;  // per streaming answer; what it holds is mostly shared with others
  Duration handshake_timeout = 10s;
  Duration request_timeout = 60s;  // from a request's first byte to its last
  Duration idle_timeout = 120s;    // between requests
  Duration write_timeout = 60s;    // without progress
  Duration stop_patience = 2s;     // for streams to be read to their end
};

struct ListenerStats {
  size_t connections = 0;  // open, of all kinds
  size_t workers = 0;
  size_t streams = 0;
  size_t sessions = 0;
};

class Listener {
 public:
  using SocketId = std::uint64_t;

  /// `tls` outlives the listener; null serves without TLS (tests). `handler` may be called until stop()
  /// returns.
  static Result<std::unique_ptr<Listener>> create(ListenerSettings settings, const TlsAcceptor* tls,
                                                  Handler handler);
  ~Listener();

  /// Serves what is accepted from `socket`, which is listening (in whatever network namespace it was made).
  /// Any thread, any time before stop().
  Result<SocketId> listen(UniqueFd socket);
  /// Closes that socket; its connections live on.
  void unlisten(SocketId socket);

  /// Accepts nothing more, lets running requests finish, ends streams cleanly, stops sessions, joins all
  /// threads.
  void stop();

  ListenerStats stats() const;

 private:
  struct Core;
  explicit Listener(std::unique_ptr<Core> core);
  std::unique_ptr<Core> core_;
};

}  // namespace skiff::apiserver
