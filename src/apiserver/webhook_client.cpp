#include "apiserver/webhook_client.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>

#include <charconv>

#include "api/gen/core.hpp"
#include "api/gen/nodes.hpp"
#include "api/gen/service.hpp"
#include "api/status.hpp"
#include "apiserver/http.hpp"
#include "apiserver/openssl.hpp"

namespace skiff::apiserver {

namespace {

constexpr size_t kMaxAnswer = 16U << 20;

struct Address {
  std::string host, port = "443", path = "/";
};

// https://host[:port][/path]; the host of an IPv6 address stands in brackets.
Result<Address> parse_url(const std::string& url) {
  if (!url.starts_with("https://")) return error(Code::Invalid, "unsupported URL {}", api::quote(url));
  Address address;
  std::string rest = url.substr(8);
  size_t slash = rest.find('/');
  if (slash != std::string::npos) address.path = rest.substr(slash);
  std::string authority = rest.substr(0, slash);
  size_t colon = authority.find(':', authority.starts_with('[') ? authority.find(']') : 0);
  address.host = authority.substr(0, colon);
  if (colon != std::string::npos) address.port = authority.substr(colon + 1);
  if (address.host.starts_with('[') && address.host.ends_with(']'))
    address.host = address.host.substr(1, address.host.size() - 2);
  if (address.host.empty()) return error(Code::Invalid, "no host in URL {}", api::quote(url));
  return address;
}

/// A TLS connection on a non-blocking socket, every step of which ends by one deadline.
class Exchange {
 public:
  Exchange(UniqueFd fd, std::chrono::steady_clock::time_point deadline) : fd_(std::move(fd)), deadline_(deadline) {
    ::fcntl(fd_.get(), F_SETFL, ::fcntl(fd_.get(), F_GETFL) | O_NONBLOCK);
  }

  Status await(short events) {
    auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline_ - std::chrono::steady_clock::now());
    pollfd waiting{fd_.get(), events, 0};
    if (left.count() <= 0 || ::poll(&waiting, 1, static_cast<int>(left.count())) <= 0)
      return Error(Code::Timeout, "context deadline exceeded");
    return ok();
  }

  /// `name`: what the certificate must be for.
  Status handshake(const std::string& name, const std::string& authorities) {
    context_.reset(SSL_CTX_new(TLS_client_method()));
    SSL_CTX_set_min_proto_version(context_.get(), TLS1_2_VERSION);
    TRY(trust(authorities));
    ssl_.reset(SSL_new(context_.get()));
    SSL_set_verify(ssl_.get(), SSL_VERIFY_PEER, nullptr);
    X509_VERIFY_PARAM* wanted = SSL_get0_param(ssl_.get());
    in6_addr ip{};
    bool numeric = ::inet_pton(AF_INET, name.c_str(), &ip) == 1 || ::inet_pton(AF_INET6, name.c_str(), &ip) == 1;
    if (numeric) X509_VERIFY_PARAM_set1_ip_asc(wanted, name.c_str());
    else X509_VERIFY_PARAM_set1_host(wanted, name.c_str(), name.size());
    // What the macro SSL_set_tlsext_host_name does, without its cast.
    if (!numeric)
      SSL_ctrl(ssl_.get(), SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, const_cast<char*>(name.c_str()));
    SSL_set_fd(ssl_.get(), fd_.get());
    Result<int> done = repeat([this] { return SSL_connect(ssl_.get()); });
    if (done.ok()) return ok();
    long verdict = SSL_get_verify_result(ssl_.get());
    if (verdict != X509_V_OK)
      return error(Code::Unavailable, "tls: failed to verify certificate: x509: {}",
                   X509_verify_cert_error_string(verdict));
    return std::move(done).error();
  }

  Status send(const std::string& text) {
    for (size_t at = 0; at < text.size();) {
      TRY_ASSIGN(int sent, repeat([&] {
                   return SSL_write(ssl_.get(), text.data() + at, static_cast<int>(text.size() - at));
                 }));
      at += static_cast<size_t>(sent);
    }
    return ok();
  }

  /// Up to the end of the connection.
  Result<std::string> receive() {
    std::string answer;
    char piece[16384];
    for (;;) {
      Result<int> got = repeat([&] { return SSL_read(ssl_.get(), piece, sizeof piece); });
      if (!got.ok() && got.error().code() == Code::Timeout) return std::move(got).error();
      if (!got.ok()) return answer;  // closed, with or without TLS's good-bye
      answer.append(piece, static_cast<size_t>(got.value()));
      if (answer.size() > kMaxAnswer) return error(Code::Unavailable, "the answer is larger than {} bytes", kMaxAnswer);
    }
  }

 private:
  Status trust(const std::string& authorities) {
    if (authorities.empty()) {
      SSL_CTX_set_default_verify_paths(context_.get());
      return ok();
    }
    BioPtr reader(BIO_new_mem_buf(authorities.data(), static_cast<int>(authorities.size())));
    int taken = 0;
    while (X509* certificate = PEM_read_bio_X509(reader.get(), nullptr, nullptr, nullptr)) {
      X509_STORE_add_cert(SSL_CTX_get_cert_store(context_.get()), certificate);
      X509_free(certificate);
      ++taken;
    }
    ERR_clear_error();
    if (taken == 0) return Error(Code::Invalid, "unable to load root certificates: unable to parse bytes as PEM block");
    return ok();
  }

  template <class Step>
  Result<int> repeat(Step step) {
    for (;;) {
      int result = step();
      if (result > 0) return result;
      switch (SSL_get_error(ssl_.get(), result)) {
        case SSL_ERROR_WANT_READ: TRY(await(POLLIN)); break;
        case SSL_ERROR_WANT_WRITE: TRY(await(POLLOUT)); break;
        case SSL_ERROR_ZERO_RETURN: return Error(Code::Unavailable, "EOF");
        default: return openssl_error("tls");
      }
    }
  }

  UniqueFd fd_;
  std::chrono::steady_clock::time_point deadline_;
  SslContextPtr context_;
  SslPtr ssl_;
};

Result<UniqueFd> dial_url(const Address& address, std::chrono::steady_clock::time_point deadline) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (int failure = ::getaddrinfo(address.host.c_str(), address.port.c_str(), &hints, &found); failure != 0)
    return error(Code::Unavailable, "dial tcp: lookup {}: {}", address.host, ::gai_strerror(failure));
  std::unique_ptr<addrinfo, void (*)(addrinfo*)> all(found, ::freeaddrinfo);
  Error last(Code::Unavailable, "dial tcp: no address");
  for (const addrinfo* one = found; one; one = one->ai_next) {
    UniqueFd fd(::socket(one->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd) continue;
    int failure = ::connect(fd.get(), one->ai_addr, one->ai_addrlen) == 0 ? 0 : errno;
    if (failure == EINPROGRESS) {
      auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
      pollfd waiting{fd.get(), POLLOUT, 0};
      if (left.count() <= 0 || ::poll(&waiting, 1, static_cast<int>(left.count())) <= 0)
        return Error(Code::Timeout, "context deadline exceeded");
      socklen_t size = sizeof failure;
      ::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &failure, &size);
    }
    if (failure == 0) return fd;
    last = errno_error(failure, "dial tcp {}:{}: connect", address.host, address.port);
  }
  return Error(Code::Unavailable, last.message());
}

bool is_chunked(const std::string& head) {
  for (size_t at = head.find("\r\n"); at != std::string::npos; at = head.find("\r\n", at + 2)) {
    std::string line = head.substr(at + 2, head.find("\r\n", at + 2) - at - 2);
    for (char& c : line) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    if (line.starts_with("transfer-encoding:") && line.find("chunked") != std::string::npos) return true;
  }
  return false;
}

Result<std::string> body_of(const std::string& answer) {
  size_t end = answer.find("\r\n\r\n");
  int status = 0;
  bool well_formed = end != std::string::npos && answer.starts_with("HTTP/1.") && answer.size() > 12 &&
                     std::from_chars(answer.data() + 9, answer.data() + 12, status).ec == std::errc();
  if (!well_formed) return Error(Code::Unavailable, answer.empty() ? "EOF" : "malformed HTTP response");
  std::string body = answer.substr(end + 4);
  if (is_chunked(answer.substr(0, end))) {
    ChunkedDecoder decoder(kMaxAnswer);
    std::string_view rest = body;
    if (decoder.feed(rest) != ChunkedDecoder::State::Done) return Error(Code::Unavailable, "unexpected EOF");
    body = decoder.take_body();
  }
  if (status < 200 || status > 299)
    return error(Code::Unavailable, "the server responded with the status code {} but did not return more information",
                 status);
  return body;
}

}  // namespace

std::shared_ptr<client::NodeAccess> WebhookClient::any_node() const {
  Result<std::vector<client::Ref<api::Node>>> nodes = cluster_.list<api::Node>();
  if (!nodes.ok()) return nullptr;
  for (const client::Ref<api::Node>& node : nodes.value())
    if (std::shared_ptr<client::NodeAccess> access = nodes_(node->metadata.name)) return access;
  return nullptr;
}

Result<UniqueFd> WebhookClient::dial_service(const registry::WebhookTarget& target) const {
  client::ObjectKey key{target.service_namespace, target.service_name};
  Result<client::Ref<api::Service>> service = cluster_.get<api::Service>(key);
  if (!service.ok()) return error(Code::Unavailable, "service {} not found", api::quote(target.service_name));
  const api::ServicePort* chosen = nullptr;
  for (const api::ServicePort& port : service.value()->spec.ports)
    if (port.port == target.service_port) chosen = &port;
  if (!chosen)
    return error(Code::Unavailable, "no service port {} found for service {}", target.service_port,
                 api::quote(target.service_name));
  Error none = error(Code::Unavailable, "no endpoints available for service {}", api::quote(target.service_name));
  Result<client::Ref<api::Endpoints>> endpoints = cluster_.get<api::Endpoints>(key);
  std::shared_ptr<client::NodeAccess> node = any_node();
  if (!endpoints.ok() || !node) return none;
  for (const auto& subset : endpoints.value()->subsets) {
    for (const auto& port : subset.ports) {
      if (port.name != chosen->name) continue;
      for (const auto& address : subset.addresses) {
        Result<UniqueFd> dialled = node->dial(address.ip, static_cast<std::uint16_t>(port.port));
        if (dialled.ok()) return dialled;
        none = Error(Code::Unavailable, dialled.error().message());
      }
    }
  }
  return none;
}

Result<std::string> WebhookClient::post(const registry::WebhookTarget& target, const std::string& json,
                                        Duration timeout) {
  auto deadline = std::chrono::steady_clock::now() + timeout;
  Address address;
  if (target.url.empty()) {
    address.host = fmt::format("{}.{}.svc", target.service_name, target.service_namespace);
    address.port = std::to_string(target.service_port);
    address.path = target.service_path.empty() ? "/" : target.service_path;
  } else {
    TRY_ASSIGN(address, parse_url(target.url));
  }
  auto seconds = std::chrono::duration_cast<std::chrono::seconds>(timeout).count();
  address.path += fmt::format("?timeout={}s", seconds);
  auto exchange = [&]() -> Result<std::string> {
    TRY_ASSIGN(UniqueFd fd, target.url.empty() ? dial_service(target) : dial_url(address, deadline));
    Exchange connection(std::move(fd), deadline);
    TRY(connection.handshake(address.host, target.ca_bundle));
    TRY(connection.send(fmt::format("POST {} HTTP/1.1\r\nHost: {}:{}\r\nAccept: application/json\r\n"
                                    "Content-Type: application/json\r\nContent-Length: {}\r\n"
                                    "User-Agent: kube-apiserver-admission\r\nConnection: close\r\n\r\n",
                                    address.path, address.host, address.port, json.size()) +
                        json));
    TRY_ASSIGN(std::string answer, connection.receive());
    return body_of(answer);
  };
  Result<std::string> body = exchange();
  if (body.ok()) return body;
  return Error(body.error().code(), fmt::format("Post \"https://{}:{}{}\": {}", address.host, address.port,
                                                address.path, body.error().message()));
}

}  // namespace skiff::apiserver
