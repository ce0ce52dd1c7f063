#include "net/sockets.hpp"

#include <errno.h>
#include <string.h>

#include "sys/files.hpp"

namespace skiff::net {

SocketAddress::SocketAddress(const Endpoint& endpoint) {
  std::string bytes = endpoint.address.bytes();
  if (endpoint.address.is_v6()) {
    auto& v6 = reinterpret_cast<sockaddr_in6&>(raw);
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(endpoint.port);
    memcpy(&v6.sin6_addr, bytes.data(), sizeof v6.sin6_addr);
    size = sizeof v6;
  } else {
    auto& v4 = reinterpret_cast<sockaddr_in&>(raw);
    v4.sin_family = AF_INET;
    v4.sin_port = htons(endpoint.port);
    memcpy(&v4.sin_addr, bytes.data(), sizeof v4.sin_addr);
    size = sizeof v4;
  }
}

Endpoint SocketAddress::endpoint() const {
  auto bytes = [](const auto& address) {
    return Address::from_bytes({reinterpret_cast<const char*>(&address), sizeof address});
  };
  if (raw.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(raw);
    return {bytes(v6.sin6_addr), ntohs(v6.sin6_port)};
  }
  const auto& v4 = reinterpret_cast<const sockaddr_in&>(raw);
  return {bytes(v4.sin_addr), ntohs(v4.sin_port)};
}

Result<UniqueFd> open_socket(Protocol protocol, Family family) {
  int type = protocol == Protocol::Udp ? SOCK_DGRAM : SOCK_STREAM;
  int domain = family == Family::V6 ? AF_INET6 : AF_INET;
  int transport = protocol == Protocol::Sctp ? IPPROTO_SCTP : 0;
  UniqueFd socket(::socket(domain, type | SOCK_CLOEXEC | SOCK_NONBLOCK, transport));
  if (!socket) return errno_error(errno, "{} socket", to_string(protocol));
  return socket;
}

Result<UniqueFd> open_listener(Protocol protocol, Endpoint endpoint) {
  TRY_ASSIGN(UniqueFd socket, open_socket(protocol, endpoint.address.family));
  // A restarted skiff takes its TCP ports back at once. For UDP the option would let two programs share a
  // port.
  int one = 1;
  if (protocol == Protocol::Tcp) ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (endpoint.address.is_v6()) ::setsockopt(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
  SocketAddress address(endpoint);
  if (::bind(socket.get(), address.get(), address.size) < 0)
    return errno_error(errno, "listen {} {}: bind", to_string(protocol), endpoint.str());
  if (protocol != Protocol::Udp && ::listen(socket.get(), SOMAXCONN) < 0)
    return errno_error(errno, "listen {} {}", to_string(protocol), endpoint.str());
  return socket;
}

Status connect_socket(const UniqueFd& socket, Endpoint target) {
  SocketAddress address(target);
  int done = sys::retry_eintr([&] { return ::connect(socket.get(), address.get(), address.size); });
  if (done < 0 && errno != EINPROGRESS) return errno_error(errno, "dial {}: connect", target.str());
  return ok();
}

int pending_error(const UniqueFd& socket) {
  int failure = 0;
  socklen_t size = sizeof failure;
  if (::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &failure, &size) < 0) return errno;
  return failure;
}

}  // namespace skiff::net
