#include "apiserver/connection.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <array>

#include "apiserver/openssl.hpp"
#include "base/encoding.hpp"
#include "sys/files.hpp"

namespace skiff::apiserver {

namespace {

constexpr std::string_view kProtocols{"\x08http/1.1", 9};  // ALPN wire form

// Certificates are judged at authentication, where a Status can say what is wrong, not in the handshake.
int accept_any_certificate(int, X509_STORE_CTX*) { return 1; }

int select_protocol(SSL*, const unsigned char** out, unsigned char* out_size, const unsigned char* in,
                    unsigned int in_size, void*) {
  unsigned char* chosen = nullptr;
  int found =
      SSL_select_next_proto(&chosen, out_size, reinterpret_cast<const unsigned char*>(kProtocols.data()),
                            static_cast<unsigned>(kProtocols.size()), in, in_size);
  *out = chosen;
  return found == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

std::vector<std::string> subject_entries(X509* certificate, int nid) {
  std::vector<std::string> values;
  X509_NAME* name = X509_get_subject_name(certificate);
  for (int i = X509_NAME_get_index_by_NID(name, nid, -1); i >= 0;
       i = X509_NAME_get_index_by_NID(name, nid, i)) {
    unsigned char* text = nullptr;
    int size = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, i)));
    if (size < 0) continue;
    values.emplace_back(reinterpret_cast<char*>(text), static_cast<size_t>(size));
    OPENSSL_free(text);
  }
  return values;
}

std::string fingerprint(X509* certificate) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> hash{};
  unsigned int size = 0;
  if (X509_digest(certificate, EVP_sha256(), hash.data(), &size) != 1) return "";
  return hex_encode({reinterpret_cast<const char*>(hash.data()), size});
}

std::string subject_uid(X509* certificate) {
  ASN1_OBJECT* type = OBJ_txt2obj("1.3.6.1.4.1.57683.2", 1);
  X509_NAME* name = X509_get_subject_name(certificate);
  int at = X509_NAME_get_index_by_OBJ(name, type, -1);
  ASN1_OBJECT_free(type);
  unsigned char* text = nullptr;
  int size = at < 0 ? -1 : ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
  if (size < 0) return "";
  std::string uid(reinterpret_cast<char*>(text), static_cast<size_t>(size));
  OPENSSL_free(text);
  return uid;
}

// Whether the chain of the peer's certificate ends in `authority`.
bool rooted_in(SSL* ssl, X509* authority) {
  STACK_OF(X509)* chain = SSL_get0_verified_chain(ssl);
  int size = chain == nullptr ? 0 : sk_X509_num(chain);
  return authority != nullptr && size > 0 && X509_cmp(sk_X509_value(chain, size - 1), authority) == 0;
}

Peer peer_of(SSL* ssl, X509* front_proxy_authority) {
  Peer peer;
  CertificatePtr certificate(SSL_get1_peer_certificate(ssl));
  if (!certificate) return peer;
  if (long verdict = SSL_get_verify_result(ssl); verdict != X509_V_OK) {
    peer.rejection = std::string("x509: ") + X509_verify_cert_error_string(verdict);
    return peer;
  }
  std::vector<std::string> names = subject_entries(certificate.get(), NID_commonName);
  if (names.empty()) {
    peer.rejection = "x509: the client certificate has no common name";
    return peer;
  }
  if (rooted_in(ssl, front_proxy_authority)) {
    peer.front_proxy = names.front();
    return peer;
  }
  peer.identity = PeerIdentity{names.front(), subject_entries(certificate.get(), NID_organizationName),
                               subject_uid(certificate.get()), fingerprint(certificate.get())};
  return peer;
}

Status trust(SSL_CTX* context, const std::string& authority_pem) {
  if (authority_pem.empty()) return ok();
  TRY_ASSIGN(CertificatePtr authority, parse_certificate(authority_pem));
  if (X509_STORE_add_cert(SSL_CTX_get_cert_store(context), authority.get()) != 1 ||
      SSL_CTX_add_client_CA(context, authority.get()) != 1)
    return openssl_error("client authority");
  SSL_CTX_set_purpose(context, X509_PURPOSE_SSL_CLIENT);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, accept_any_certificate);
  return ok();
}

Result<SslContextPtr> make_context(const TlsSettings& settings) {
  SslContextPtr context(SSL_CTX_new(TLS_server_method()));
  if (!context) return openssl_error("SSL_CTX_new");
  TRY_ASSIGN(CertificatePtr certificate, parse_certificate(settings.certificate));
  TRY_ASSIGN(KeyPtr key, parse_private_key(settings.key));
  if (SSL_CTX_use_certificate(context.get(), certificate.get()) != 1 ||
      SSL_CTX_use_PrivateKey(context.get(), key.get()) != 1)
    return openssl_error("server certificate");
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_options(context.get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET);
  // A record's head and body come with one read.
  SSL_CTX_set_read_ahead(context.get(), 1);
  // Buffers are released between records: an idle watch then costs a few kilobytes instead of forty.
  SSL_CTX_set_mode(context.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                      SSL_MODE_RELEASE_BUFFERS);
  // A client certificate is judged in full on every connection, so nothing is resumed.
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(context.get(), 0);
  SSL_CTX_set_alpn_select_cb(context.get(), select_protocol, nullptr);
  TRY(trust(context.get(), settings.client_authority));
  TRY(trust(context.get(), settings.front_proxy_authority));
  return context;
}

Connection::Progress progress_of(SSL* ssl, int returned) {
  switch (SSL_get_error(ssl, returned)) {
    case SSL_ERROR_WANT_READ:
      return Connection::Progress::WantRead;
    case SSL_ERROR_WANT_WRITE:
      return Connection::Progress::WantWrite;
    default:
      ERR_clear_error();
      return Connection::Progress::Closed;
  }
}

Connection::Transfer plain_transfer(ssize_t moved, Connection::Progress when_blocked) {
  if (moved > 0) return {Connection::Progress::Done, static_cast<size_t>(moved)};
  if (moved < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return {when_blocked, 0};
  return {Connection::Progress::Closed, 0};
}

}  // namespace

struct TlsAcceptor::Context {
  SslContextPtr ssl;
  CertificatePtr front_proxy_authority;
};

struct Connection::Tls {
  SslPtr ssl;
  std::shared_ptr<const TlsAcceptor::Context> context;
  bool usable = true;  // false after a fatal error, when OpenSSL forbids a shutdown alert
};

TlsAcceptor::TlsAcceptor() = default;
TlsAcceptor::~TlsAcceptor() = default;

Result<std::unique_ptr<TlsAcceptor>> TlsAcceptor::create(const TlsSettings& settings) {
  std::unique_ptr<TlsAcceptor> acceptor(new TlsAcceptor);
  TRY(acceptor->replace(settings));
  return acceptor;
}

Status TlsAcceptor::replace(const TlsSettings& settings) {
  auto fresh = std::make_shared<Context>();
  TRY_ASSIGN(fresh->ssl, make_context(settings));
  if (!settings.front_proxy_authority.empty()) {
    TRY_ASSIGN(fresh->front_proxy_authority, parse_certificate(settings.front_proxy_authority));
  }
  MutexLock lock(mutex_);
  context_ = std::move(fresh);
  return ok();
}

std::shared_ptr<TlsAcceptor::Context> TlsAcceptor::context() const {
  MutexLock lock(mutex_);
  return context_;
}

Result<std::unique_ptr<Connection>> TlsAcceptor::accept(UniqueFd socket, std::string remote_address) const {
  std::unique_ptr<Connection> connection(new Connection(std::move(socket), std::move(remote_address)));
  connection->tls_ = std::make_unique<Connection::Tls>();
  connection->tls_->context = context();
  connection->tls_->ssl.reset(SSL_new(connection->tls_->context->ssl.get()));
  SSL* ssl = connection->tls_->ssl.get();
  if (ssl == nullptr || SSL_set_fd(ssl, connection->fd()) != 1) return openssl_error("SSL_new");
  SSL_set_accept_state(ssl);
  return connection;
}

Connection::Connection(UniqueFd socket, std::string remote_address)
    : socket_(std::move(socket)), remote_address_(std::move(remote_address)) {}
Connection::~Connection() = default;

std::unique_ptr<Connection> Connection::plain(UniqueFd socket, std::string remote_address) {
  return std::unique_ptr<Connection>(new Connection(std::move(socket), std::move(remote_address)));
}

Connection::Progress Connection::handshake() {
  if (!tls_) return Progress::Done;
  ERR_clear_error();
  int returned = SSL_do_handshake(tls_->ssl.get());
  if (returned == 1) {
    peer_ = peer_of(tls_->ssl.get(), tls_->context->front_proxy_authority.get());
    return Progress::Done;
  }
  Progress progress = progress_of(tls_->ssl.get(), returned);
  tls_->usable = progress != Progress::Closed;
  return progress;
}

bool Connection::pending() const { return tls_ && SSL_has_pending(tls_->ssl.get()) == 1; }

Connection::Transfer Connection::read(char* buffer, size_t size) {
  if (!tls_) {
    return plain_transfer(sys::retry_eintr([&] { return ::recv(fd(), buffer, size, MSG_DONTWAIT); }),
                          Progress::WantRead);
  }
  ERR_clear_error();
  int got = SSL_read(tls_->ssl.get(), buffer, static_cast<int>(std::min<size_t>(size, 1U << 30)));
  if (got > 0) return {Progress::Done, static_cast<size_t>(got)};
  Progress progress = progress_of(tls_->ssl.get(), got);
  if (progress == Progress::Closed)
    tls_->usable = (SSL_get_shutdown(tls_->ssl.get()) & SSL_RECEIVED_SHUTDOWN) != 0;
  return {progress, 0};
}

Connection::Transfer Connection::write(std::string_view data) {
  if (!tls_) {
    return plain_transfer(
        sys::retry_eintr([&] { return ::send(fd(), data.data(), data.size(), MSG_NOSIGNAL | MSG_DONTWAIT); }),
        Progress::WantWrite);
  }
  ERR_clear_error();
  int put =
      SSL_write(tls_->ssl.get(), data.data(), static_cast<int>(std::min<size_t>(data.size(), 1U << 30)));
  if (put > 0) return {Progress::Done, static_cast<size_t>(put)};
  Progress progress = progress_of(tls_->ssl.get(), put);
  tls_->usable = progress != Progress::Closed;
  return {progress, 0};
}

void Connection::shut_down() {
  if (tls_ && tls_->usable && SSL_is_init_finished(tls_->ssl.get())) {
    SSL_shutdown(tls_->ssl.get());
    ERR_clear_error();
  }
  ::shutdown(fd(), SHUT_WR);
}

}  // namespace skiff::apiserver
