#pragma once
// Connections that the API server opens itself: to webhooks, aggregated API servers, and what it proxies to.

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "apiserver/certificates.hpp"
#include "base/error.hpp"
#include "base/fd.hpp"

namespace skiff::apiserver {

/// Who is called, and how the caller proves who it is.
struct TlsPeer {
  std::string name;           // what the certificate must be for: a DNS name or an IP address
  std::string authorities;    // PEM; "": the system's
  bool verify = true;
  CertificatePair identity = {};  // shown when asked for; may be empty
};

/// A connection on a socket, in the clear until handshake(), every step of which ends by one deadline: Timeout "context
/// deadline exceeded". One thread at a time, but for interrupt().
class Outbound {
 public:
  using Deadline = std::chrono::steady_clock::time_point;

  Outbound(UniqueFd socket, Deadline deadline);
  ~Outbound();

  /// Speaks TLS from here on.
  Status handshake(const TlsPeer& peer);
  Status send(std::string_view text);
  /// Something of what comes; "" at its end.
  Result<std::string> receive();
  /// The same without waiting: nullopt when there is nothing yet.
  Result<std::optional<std::string>> receive_now();
  /// All that comes. Unavailable: more than `limit` bytes.
  Result<std::string> receive_all(size_t limit);

  int fd() const { return socket_.get(); }
  void set_deadline(Deadline deadline) { deadline_ = deadline; }
  /// Ends the connection under whoever waits for it. Any thread.
  void interrupt();

 private:
  struct Session;
  Status await(short events) const;
  template <class Step>
  Result<int> repeat(Step step);
  Result<int> write_some(std::string_view text);
  Result<int> read_some(char* into, int size);

  UniqueFd socket_;
  Deadline deadline_;
  std::unique_ptr<Session> session_;  // null in the clear
};

}  // namespace skiff::apiserver
