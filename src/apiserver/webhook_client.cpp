#include "apiserver/webhook_client.hpp"

#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>

#include "api/status.hpp"
#include "apiserver/http_answer.hpp"
#include "apiserver/outbound.hpp"

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

Result<std::string> body_of(const std::string& answer) {
  TRY_ASSIGN(Reply reply, parse_answer(answer));
  if (reply.status < 200 || reply.status > 299)
    return error(Code::Unavailable, "the server responded with the status code {} but did not return more information",
                 reply.status);
  return *reply.body;
}

}  // namespace

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
    TRY_ASSIGN(UniqueFd fd, target.url.empty()
                                ? services_.dial({target.service_namespace, target.service_name}, target.service_port)
                                : dial_url(address, deadline));
    Outbound connection(std::move(fd), deadline);
    TRY(connection.handshake({.name = address.host, .authorities = target.ca_bundle}));
    TRY(connection.send(fmt::format("POST {} HTTP/1.1\r\nHost: {}:{}\r\nAccept: application/json\r\n"
                                    "Content-Type: application/json\r\nContent-Length: {}\r\n"
                                    "User-Agent: kube-apiserver-admission\r\nConnection: close\r\n\r\n",
                                    address.path, address.host, address.port, json.size()) +
                        json));
    TRY_ASSIGN(std::string answer, connection.receive_all(kMaxAnswer));
    return body_of(answer);
  };
  Result<std::string> body = exchange();
  if (body.ok()) return body;
  return Error(body.error().code(), fmt::format("Post \"https://{}:{}{}\": {}", address.host, address.port,
                                                address.path, body.error().message()));
}

}  // namespace skiff::apiserver
