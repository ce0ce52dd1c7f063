#pragma once
// A listener with certificates on a loopback port, and TLS clients for it.

#include <netinet/in.h>
#include <sys/socket.h>

#include <memory>
#include <string>

#include "apiserver/certificates.hpp"
#include "apiserver/listener.hpp"
#include "apiserver/openssl.hpp"

namespace skiff::test {

/// REQUIRE for helper threads, on which Catch2's own is not safe.
inline void must(bool done) {
  if (!done) std::abort();
}

inline UniqueFd listening_socket() {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) < 0) std::abort();
  if (::listen(fd.get(), 1024) < 0) std::abort();
  return fd;
}

inline std::uint16_t port_of(const UniqueFd& fd) {
  sockaddr_in address{};
  socklen_t size = sizeof address;
  if (::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) < 0) std::abort();
  return ntohs(address.sin_port);
}

inline UniqueFd connect_to(std::uint16_t port) {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) < 0) return {};
  timeval limit{10, 0};  // so that a broken server fails a test instead of hanging it
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  return fd;
}

/// A blocking TLS client that trusts any server (its test checks the authority elsewhere).
class TlsClient {
 public:
  explicit TlsClient(std::uint16_t port, const apiserver::CertificatePair* identity = nullptr)
      : fd_(connect_to(port)), context_(SSL_CTX_new(TLS_client_method())) {
    if (identity != nullptr) {
      auto certificate = apiserver::parse_certificate(identity->certificate).value();
      auto key = apiserver::parse_private_key(identity->key).value();
      SSL_CTX_use_certificate(context_.get(), certificate.get());
      SSL_CTX_use_PrivateKey(context_.get(), key.get());
    }
    ssl_.reset(SSL_new(context_.get()));
    SSL_set_fd(ssl_.get(), fd_.get());
    connected_ = SSL_connect(ssl_.get()) == 1;
  }
  bool connected() const { return connected_; }
  SSL* ssl() { return ssl_.get(); }
  const UniqueFd& fd() const { return fd_; }

  bool send(std::string_view bytes) {
    return SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size())) ==
           static_cast<int>(bytes.size());
  }
  /// What has been received so far, after reading until it contains `end` (or the connection ended).
  const std::string& read_until(std::string_view end) {
    char buffer[4096];
    while (received.find(end) == std::string::npos) {
      int got = SSL_read(ssl_.get(), buffer, sizeof buffer);
      if (got <= 0) break;
      received.append(buffer, static_cast<size_t>(got));
    }
    return received;
  }
  /// True when the server ends the connection within the socket's time limit.
  bool at_end() {
    char buffer[4096];
    int got = 0;
    while ((got = SSL_read(ssl_.get(), buffer, sizeof buffer)) > 0)
      received.append(buffer, static_cast<size_t>(got));
    return SSL_get_error(ssl_.get(), got) != SSL_ERROR_WANT_READ && errno != EAGAIN;
  }
  std::string received;

 private:
  UniqueFd fd_;
  apiserver::SslContextPtr context_;
  apiserver::SslPtr ssl_;
  bool connected_ = false;
};

struct TestServer {
  explicit TestServer(apiserver::Handler handler, apiserver::ListenerSettings settings = {}) {
    WallTime now = SystemClock().wall_now();
    authority = apiserver::make_authority("test-ca", {now, 1h}).value();
    auto server = apiserver::issue_server(authority, "test", {"127.0.0.1", "localhost"}, {now, 1h}).value();
    tls = apiserver::TlsAcceptor::create({server.certificate, server.key, authority.certificate}).value();
    listener = apiserver::Listener::create(settings, tls.get(), std::move(handler)).value();
    UniqueFd socket = listening_socket();
    port = port_of(socket);
    socket_id = listener->listen(std::move(socket)).value();
  }
  apiserver::CertificatePair client_certificate(const std::string& user,
                                                const std::vector<std::string>& groups) {
    return apiserver::issue_client(authority, user, groups, {SystemClock().wall_now(), 1h}).value();
  }

  apiserver::CertificatePair authority;
  std::unique_ptr<apiserver::TlsAcceptor> tls;
  std::unique_ptr<apiserver::Listener> listener;
  std::uint16_t port = 0;
  apiserver::Listener::SocketId socket_id = 0;
};

}  // namespace skiff::test
