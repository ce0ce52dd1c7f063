#pragma once
// The least that an HTTPS client can do, so that what is measured on the same cores is mostly the server: one keep-alive
// connection, one request at a time, one write and one read each.

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <cstdlib>
#include <stdexcept>
#include <string>

#include "client/kubeconfig.hpp"

namespace skiff::bench {

class LeanClient {
 public:
  explicit LeanClient(const client::KubeconfigEntry& entry) : host_(entry.server.substr(entry.server.find("//") + 2)) {
    context_ = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_read_ahead(context_, 1);
    BIO* certificate = BIO_new_mem_buf(entry.certificate.data(), static_cast<int>(entry.certificate.size()));
    BIO* key = BIO_new_mem_buf(entry.key.data(), static_cast<int>(entry.key.size()));
    X509* identity = PEM_read_bio_X509(certificate, nullptr, nullptr, nullptr);
    EVP_PKEY* secret = PEM_read_bio_PrivateKey(key, nullptr, nullptr, nullptr);
    SSL_CTX_use_certificate(context_, identity);
    SSL_CTX_use_PrivateKey(context_, secret);
    X509_free(identity);
    EVP_PKEY_free(secret);
    BIO_free(certificate);
    BIO_free(key);
    socket_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(std::atoi(host_.c_str() + host_.rfind(':') + 1)));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int on = 1;
    ::setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (::connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) throw std::runtime_error("connect");
    ssl_ = SSL_new(context_);
    SSL_set_fd(ssl_, socket_);
    if (SSL_connect(ssl_) != 1) throw std::runtime_error("TLS handshake");
  }
  ~LeanClient() {
    SSL_free(ssl_);
    SSL_CTX_free(context_);
    ::close(socket_);
  }
  LeanClient(const LeanClient&) = delete;
  LeanClient& operator=(const LeanClient&) = delete;

  /// Bytes of the last answer, head and all.
  size_t received() const { return received_; }
  /// The answer's status; 0 when the connection broke.
  int request(const char* method, const std::string& path, const std::string& body = "") {
    std::string out = std::string(method) + " " + path + " HTTP/1.1\r\nHost: " + host_ + "\r\nAccept: application/json\r\n";
    if (!body.empty())
      out += "Content-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) + "\r\n";
    out += "\r\n" + body;
    if (SSL_write(ssl_, out.data(), static_cast<int>(out.size())) <= 0) return 0;
    return read_answer();
  }

 private:
  int read_answer() {
    std::string in;
    size_t head = std::string::npos, wanted = 0;
    std::array<char, 16384> buffer;
    while (head == std::string::npos || in.size() < wanted) {
      int got = SSL_read(ssl_, buffer.data(), static_cast<int>(buffer.size()));
      if (got <= 0) return 0;
      in.append(buffer.data(), static_cast<size_t>(got));
      if (head != std::string::npos || (head = in.find("\r\n\r\n")) == std::string::npos) continue;
      size_t length = 0, at = in.find("Content-Length: ");
      if (at < head) std::from_chars(in.data() + at + 16, in.data() + head, length);
      wanted = head + 4 + length;
      in.reserve(wanted);
    }
    received_ = in.size();
    return std::atoi(in.c_str() + 9);
  }

  const std::string host_;
  SSL_CTX* context_;
  SSL* ssl_;
  int socket_;
  size_t received_ = 0;
};

}  // namespace skiff::bench
