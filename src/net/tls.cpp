#include "net/tls.hpp"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>

#include <algorithm>

namespace skiff::net {
namespace {

template <auto Free>
struct Freed {
  template <class T>
  void operator()(T* object) const {
    Free(object);
  }
};
using X509Ptr = std::unique_ptr<X509, Freed<X509_free>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, Freed<EVP_PKEY_free>>;
using BioPtr = std::unique_ptr<BIO, Freed<BIO_free_all>>;
using SslPtr = std::unique_ptr<SSL, Freed<SSL_free>>;
using ContextPtr = std::unique_ptr<SSL_CTX, Freed<SSL_CTX_free>>;
struct FreeChain {
  void operator()(STACK_OF(X509) * chain) const { sk_X509_pop_free(chain, X509_free); }
};
using ChainPtr = std::unique_ptr<STACK_OF(X509), FreeChain>;

Error ssl_error(const char* doing) {
  char text[256] = "unknown";
  if (unsigned long code = ERR_get_error(); code != 0) ERR_error_string_n(code, text, sizeof text);
  ERR_clear_error();
  return error(Code::Invalid, "{}: {}", doing, text);
}

BioPtr reader_of(const std::string& text) {
  return BioPtr(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

}  // namespace

struct TlsCertificate::Parts {
  X509Ptr leaf;
  ChainPtr chain;
  KeyPtr key;
};

TlsCertificate::TlsCertificate(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
TlsCertificate::~TlsCertificate() = default;

Result<std::shared_ptr<const TlsCertificate>> TlsCertificate::parse(const std::string& chain,
                                                                    const std::string& key) {
  auto parts = std::make_unique<Parts>();
  BioPtr certificates = reader_of(chain), keys = reader_of(key);
  parts->leaf.reset(PEM_read_bio_X509(certificates.get(), nullptr, nullptr, nullptr));
  if (!parts->leaf) return ssl_error("certificate");
  parts->chain.reset(sk_X509_new_null());
  while (X509* next = PEM_read_bio_X509(certificates.get(), nullptr, nullptr, nullptr))
    sk_X509_push(parts->chain.get(), next);
  ERR_clear_error();  // the end of the text is one
  parts->key.reset(PEM_read_bio_PrivateKey(keys.get(), nullptr, nullptr, nullptr));
  if (!parts->key) return ssl_error("private key");
  if (X509_check_private_key(parts->leaf.get(), parts->key.get()) != 1) return ssl_error("private key");
  return std::shared_ptr<const TlsCertificate>(std::make_shared<TlsCertificate>(std::move(parts)));
}

Result<std::shared_ptr<const TlsCertificate>> TlsCertificate::self_signed(const std::string& common_name) {
  auto parts = std::make_unique<Parts>();
  parts->key.reset(EVP_EC_gen("P-256"));
  parts->leaf.reset(X509_new());
  parts->chain.reset(sk_X509_new_null());
  if (!parts->key || !parts->leaf) return ssl_error("self-signed certificate");
  X509* leaf = parts->leaf.get();
  X509_set_version(leaf, X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(leaf), 1);
  X509_gmtime_adj(X509_getm_notBefore(leaf), -3600);
  X509_gmtime_adj(X509_getm_notAfter(leaf), 10L * 365 * 24 * 3600);
  X509_set_pubkey(leaf, parts->key.get());
  X509_NAME* name = X509_get_subject_name(leaf);
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(common_name.c_str()), -1, -1, 0);
  X509_set_issuer_name(leaf, name);
  if (X509_sign(leaf, parts->key.get(), EVP_sha256()) == 0) return ssl_error("self-signed certificate");
  return std::shared_ptr<const TlsCertificate>(std::make_shared<TlsCertificate>(std::move(parts)));
}

namespace {

class PlainChannel final : public Channel {
 public:
  explicit PlainChannel(UniqueFd socket) : socket_(std::move(socket)) {}
  std::ptrdiff_t read(char* data, size_t size) override {
    return outcome(::recv(socket_.get(), data, size, 0));
  }
  std::ptrdiff_t write(const char* data, size_t size) override {
    return outcome(::send(socket_.get(), data, size, MSG_NOSIGNAL));
  }
  void shut_down() override { ::shutdown(socket_.get(), SHUT_WR); }
  int fd() const override { return socket_.get(); }

 private:
  static std::ptrdiff_t outcome(ssize_t done) {
    if (done >= 0) return done;
    return errno == EAGAIN || errno == EINTR ? kAgain : kBroken;
  }
  UniqueFd socket_;
};

class TlsChannel final : public Channel {
 public:
  TlsChannel(UniqueFd socket, SslPtr ssl, ChooseCertificate choose)
      : socket_(std::move(socket)), choose_(std::move(choose)), ssl_(std::move(ssl)) {
    SSL_set_cert_cb(ssl_.get(), &TlsChannel::on_certificate, this);
  }

  std::ptrdiff_t read(char* data, size_t size) override {
    ERR_clear_error();
    return outcome(SSL_read(ssl_.get(), data, static_cast<int>(std::min<size_t>(size, 1 << 30))));
  }
  std::ptrdiff_t write(const char* data, size_t size) override {
    ERR_clear_error();
    return outcome(SSL_write(ssl_.get(), data, static_cast<int>(std::min<size_t>(size, 1 << 30))));
  }
  void shut_down() override {
    ERR_clear_error();
    SSL_shutdown(ssl_.get());
    ::shutdown(socket_.get(), SHUT_WR);
  }
  bool has_pending() const override { return SSL_pending(ssl_.get()) > 0; }
  bool wants_write() const override { return wants_write_; }
  int fd() const override { return socket_.get(); }

 private:
  std::ptrdiff_t outcome(int done) {
    wants_write_ = false;
    if (done > 0) return done;
    switch (SSL_get_error(ssl_.get(), done)) {
      case SSL_ERROR_WANT_WRITE:
        wants_write_ = true;
        return kAgain;
      case SSL_ERROR_WANT_READ:
        return kAgain;
      case SSL_ERROR_ZERO_RETURN:
        return kEnd;
      default:
        return kBroken;
    }
  }

  static int on_certificate(SSL* ssl, void* self) {
    const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    std::string wanted = name == nullptr ? "" : name;
    std::transform(wanted.begin(), wanted.end(), wanted.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
    std::shared_ptr<const TlsCertificate> certificate = static_cast<TlsChannel*>(self)->choose_(wanted);
    if (!certificate) return 0;
    const TlsCertificate::Parts& parts = certificate->parts();
    return SSL_use_cert_and_key(ssl, parts.leaf.get(), parts.key.get(), parts.chain.get(), 1);
  }

  UniqueFd socket_;
  ChooseCertificate choose_;
  bool wants_write_ = false;
  SslPtr ssl_;
};

/// A client that offers both gets HTTP/2; which one it is shows in its first bytes.
int choose_protocol(SSL*, const unsigned char** out, unsigned char* length, const unsigned char* in,
                    unsigned int size, void*) {
  static const unsigned char kHttp[] = "\x02h2\x08http/1.1";
  unsigned char* chosen = nullptr;
  if (SSL_select_next_proto(&chosen, length, kHttp, sizeof kHttp - 1, in, size) != OPENSSL_NPN_NEGOTIATED)
    return SSL_TLSEXT_ERR_NOACK;
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

}  // namespace

struct TlsServer::Context {
  ContextPtr context;
};

TlsServer::TlsServer(std::unique_ptr<Context> context) : context_(std::move(context)) {}
TlsServer::~TlsServer() = default;

std::unique_ptr<Channel> plain_channel(UniqueFd socket) {
  return std::make_unique<PlainChannel>(std::move(socket));
}

Result<std::unique_ptr<TlsServer>> TlsServer::create() {
  ContextPtr context(SSL_CTX_new(TLS_server_method()));
  if (!context) return ssl_error("TLS");
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_options(context.get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
  SSL_CTX_set_mode(context.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                      SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_alpn_select_cb(context.get(), choose_protocol, nullptr);
  return std::unique_ptr<TlsServer>(new TlsServer(std::make_unique<Context>(Context{std::move(context)})));
}

Result<std::unique_ptr<Channel>> TlsServer::accept(UniqueFd socket, ChooseCertificate choose) const {
  SslPtr ssl(SSL_new(context_->context.get()));
  if (!ssl || SSL_set_fd(ssl.get(), socket.get()) != 1) return ssl_error("TLS");
  SSL_set_accept_state(ssl.get());
  return std::unique_ptr<Channel>(
      std::make_unique<TlsChannel>(std::move(socket), std::move(ssl), std::move(choose)));
}

}  // namespace skiff::net
