#include "apiserver/outbound.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <limits>

#include "apiserver/openssl.hpp"

namespace skiff::apiserver {

struct Outbound::Session {
  SslContextPtr context{SSL_CTX_new(TLS_client_method())};
  SslPtr ssl;
};

namespace {

Status trust(SSL_CTX* context, const std::string& authorities) {
  if (authorities.empty()) {
    SSL_CTX_set_default_verify_paths(context);
    return ok();
  }
  BioPtr reader(BIO_new_mem_buf(authorities.data(), static_cast<int>(authorities.size())));
  int taken = 0;
  while (X509* certificate = PEM_read_bio_X509(reader.get(), nullptr, nullptr, nullptr)) {
    X509_STORE_add_cert(SSL_CTX_get_cert_store(context), certificate);
    X509_free(certificate);
    ++taken;
  }
  ERR_clear_error();
  if (taken == 0) return Error(Code::Invalid, "unable to load root certificates: unable to parse bytes as PEM block");
  return ok();
}

Status show(SSL_CTX* context, const CertificatePair& identity) {
  if (identity.certificate.empty()) return ok();
  TRY_ASSIGN(CertificatePtr certificate, parse_certificate(identity.certificate));
  TRY_ASSIGN(KeyPtr key, parse_private_key(identity.key));
  if (SSL_CTX_use_certificate(context, certificate.get()) != 1 || SSL_CTX_use_PrivateKey(context, key.get()) != 1)
    return openssl_error("use the client certificate");
  return ok();
}

// The name that the certificate must be for, and the server is asked for.
void expect(SSL* ssl, const std::string& name) {
  X509_VERIFY_PARAM* wanted = SSL_get0_param(ssl);
  in6_addr ip{};
  bool numeric = ::inet_pton(AF_INET, name.c_str(), &ip) == 1 || ::inet_pton(AF_INET6, name.c_str(), &ip) == 1;
  if (numeric) X509_VERIFY_PARAM_set1_ip_asc(wanted, name.c_str());
  else X509_VERIFY_PARAM_set1_host(wanted, name.c_str(), name.size());
  // What the macro SSL_set_tlsext_host_name does, without its cast.
  if (!numeric)
    SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, const_cast<char*>(name.c_str()));
}

}  // namespace

Outbound::Outbound(UniqueFd socket, Deadline deadline)
    : socket_(std::move(socket)), deadline_(deadline) {
  ::fcntl(socket_.get(), F_SETFL, ::fcntl(socket_.get(), F_GETFL) | O_NONBLOCK);
}

Outbound::~Outbound() = default;

Status Outbound::await(short events) const {
  int timeout = -1;
  if (deadline_ != Deadline::max()) {
    auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline_ - std::chrono::steady_clock::now());
    if (left.count() <= 0) return Error(Code::Timeout, "context deadline exceeded");
    timeout = static_cast<int>(std::min<std::int64_t>(left.count(), std::numeric_limits<int>::max()));
  }
  pollfd waiting{socket_.get(), events, 0};
  if (::poll(&waiting, 1, timeout) <= 0) return Error(Code::Timeout, "context deadline exceeded");
  return ok();
}

template <class Step>
Result<int> Outbound::repeat(Step step) {
  for (;;) {
    int result = step();
    if (result > 0) return result;
    switch (SSL_get_error(session_->ssl.get(), result)) {
      case SSL_ERROR_WANT_READ: TRY(await(POLLIN)); break;
      case SSL_ERROR_WANT_WRITE: TRY(await(POLLOUT)); break;
      case SSL_ERROR_ZERO_RETURN: return Error(Code::Unavailable, "EOF");
      default: return openssl_error("tls");
    }
  }
}

Status Outbound::handshake(const TlsPeer& peer) {
  session_ = std::make_unique<Session>();
  SSL_CTX* context = session_->context.get();
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  if (peer.verify) TRY(trust(context, peer.authorities));
  TRY(show(context, peer.identity));
  session_->ssl.reset(SSL_new(context));
  SSL* ssl = session_->ssl.get();
  SSL_set_verify(ssl, peer.verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nullptr);
  expect(ssl, peer.name);
  SSL_set_fd(ssl, socket_.get());
  Result<int> done = repeat([ssl] { return SSL_connect(ssl); });
  if (done.ok()) return ok();
  long verdict = SSL_get_verify_result(ssl);
  if (peer.verify && verdict != X509_V_OK)
    return error(Code::Unavailable, "tls: failed to verify certificate: x509: {}",
                 X509_verify_cert_error_string(verdict));
  return std::move(done).error();
}

Result<int> Outbound::write_some(std::string_view text) {
  int size = static_cast<int>(std::min<size_t>(text.size(), 1U << 20));
  if (session_) return repeat([&] { return SSL_write(session_->ssl.get(), text.data(), size); });
  for (;;) {
    ssize_t sent = ::send(socket_.get(), text.data(), static_cast<size_t>(size), MSG_NOSIGNAL);
    if (sent > 0) return static_cast<int>(sent);
    if (errno == EINTR) continue;
    if (errno != EAGAIN) return errno_error(errno, "write");
    TRY(await(POLLOUT));
  }
}

Status Outbound::send(std::string_view text) {
  while (!text.empty()) {
    TRY_ASSIGN(int sent, write_some(text));
    text.remove_prefix(static_cast<size_t>(sent));
  }
  return ok();
}

// 0 at the end, with or without TLS's good-bye.
Result<int> Outbound::read_some(char* into, int size) {
  if (session_) {
    Result<int> got = repeat([&] { return SSL_read(session_->ssl.get(), into, size); });
    if (got.ok() || got.error().code() == Code::Timeout) return got;
    return 0;
  }
  for (;;) {
    ssize_t got = ::recv(socket_.get(), into, static_cast<size_t>(size), 0);
    if (got >= 0) return static_cast<int>(got);
    if (errno == EINTR) continue;
    if (errno != EAGAIN) return errno_error(errno, "read");
    TRY(await(POLLIN));
  }
}

Result<std::string> Outbound::receive() {
  char piece[16384];
  TRY_ASSIGN(int got, read_some(piece, sizeof piece));
  return std::string(piece, static_cast<size_t>(got));
}

Result<std::optional<std::string>> Outbound::receive_now() {
  char piece[16384];
  bool later = false;
  ssize_t got = 0;
  if (session_) {
    int result = SSL_read(session_->ssl.get(), piece, sizeof piece);
    int why = result > 0 ? SSL_ERROR_NONE : SSL_get_error(session_->ssl.get(), result);
    later = why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE;
    if (result <= 0 && !later) ERR_clear_error();
    got = result;
  } else {
    got = ::recv(socket_.get(), piece, sizeof piece, MSG_DONTWAIT);
    later = got < 0 && (errno == EAGAIN || errno == EINTR);
  }
  if (later) return std::optional<std::string>();
  return std::optional(std::string(piece, static_cast<size_t>(std::max<ssize_t>(got, 0))));
}

Result<std::string> Outbound::receive_all(size_t limit) {
  std::string all;
  for (;;) {
    TRY_ASSIGN(std::string piece, receive());
    if (piece.empty()) return all;
    all.append(piece);
    if (all.size() > limit) return error(Code::Unavailable, "the answer is larger than {} bytes", limit);
  }
}

void Outbound::interrupt() { ::shutdown(socket_.get(), SHUT_RDWR); }

}  // namespace skiff::apiserver
