#pragma once
// One accepted socket, with TLS or without, always non-blocking.

#include <memory>
#include <string>
#include <string_view>

#include "apiserver/message.hpp"
#include "base/error.hpp"
#include "base/fd.hpp"
#include "base/mutex.hpp"

namespace skiff::apiserver {

/// What the server shows and whom it trusts (PEM).
struct TlsSettings {
  std::string certificate;
  std::string key;
  std::string client_authority;  // client certificates are asked for and checked against it; none is required
  std::string front_proxy_authority = {};  // the same for proxies that speak for others; may be empty
};

class Connection;

/// Makes server sides of TLS 1.2 and 1.3 connections. HTTP/1.1 is the only protocol it offers. Any thread.
class TlsAcceptor {
 public:
  static Result<std::unique_ptr<TlsAcceptor>> create(const TlsSettings& settings);
  ~TlsAcceptor();

  /// New connections use `settings` from now on (a renewed certificate). The old ones stay in force on error.
  Status replace(const TlsSettings& settings);

  /// `socket` is connected and non-blocking.
  Result<std::unique_ptr<Connection>> accept(UniqueFd socket, std::string remote_address) const;

 private:
  friend class Connection;
  struct Context;
  TlsAcceptor();
  std::shared_ptr<Context> context() const;
  mutable Mutex mutex_;
  std::shared_ptr<Context> context_ GUARDED_BY(mutex_);
};

/// One thread at a time.
class Connection {
 public:
  enum class Progress { Done, WantRead, WantWrite, Closed };
  struct Transfer {
    Progress progress = Progress::Done;  // Done: `bytes` (> 0) were moved
    size_t bytes = 0;
  };

  /// Without TLS: for tests and Unix sockets.
  static std::unique_ptr<Connection> plain(UniqueFd socket, std::string remote_address);
  ~Connection();

  /// To be called until Done before anything else (immediately Done on a plain connection).
  Progress handshake();
  Transfer read(char* buffer, size_t size);
  Transfer write(std::string_view data);
  /// Whether bytes have been received that read() would give without asking the socket.
  bool pending() const;
  /// Tells the peer, as far as that goes without waiting, that nothing more will come.
  void shut_down();

  int fd() const { return socket_.get(); }
  const std::string& remote_address() const { return remote_address_; }
  /// Known after the handshake.
  const Peer& peer() const { return peer_; }

 private:
  friend class TlsAcceptor;
  struct Tls;
  Connection(UniqueFd socket, std::string remote_address);
  UniqueFd socket_;
  std::unique_ptr<Tls> tls_;  // declared after the socket it uses
  std::string remote_address_;
  Peer peer_;
};

}  // namespace skiff::apiserver
