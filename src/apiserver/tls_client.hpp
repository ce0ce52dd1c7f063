#pragma once
// The client's side of TLS, for what the API server calls: webhooks and aggregated API servers.

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

/// A TLS connection on a socket, every step of which ends by one deadline: Timeout "context deadline exceeded".
/// One thread at a time, but for interrupt().
class TlsClient {
 public:
  using Deadline = std::chrono::steady_clock::time_point;

  TlsClient(UniqueFd socket, Deadline deadline);
  ~TlsClient();

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

  UniqueFd socket_;
  Deadline deadline_;
  std::unique_ptr<Session> session_;
};

}  // namespace skiff::apiserver
