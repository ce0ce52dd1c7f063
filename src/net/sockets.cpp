#include "net/sockets.hpp"

#include <errno.h>
#include <sys/socket.h>

#include "sys/files.hpp"

namespace skiff::net {

sockaddr_in socket_address(Endpoint endpoint) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(endpoint.port);
  address.sin_addr.s_addr = endpoint.address.network_order();
  return address;
}

Endpoint endpoint_of(const sockaddr_in& address) {
  return {Ipv4::from_network_order(address.sin_addr.s_addr), ntohs(address.sin_port)};
}

Result<UniqueFd> open_socket(Protocol protocol) {
  int type = protocol == Protocol::Udp ? SOCK_DGRAM : SOCK_STREAM;
  UniqueFd socket(::socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return errno_error(errno, "{} socket", to_string(protocol));
  return socket;
}

Result<UniqueFd> open_listener(Protocol protocol, Endpoint endpoint) {
  TRY_ASSIGN(UniqueFd socket, open_socket(protocol));
  // A restarted skiff takes its TCP ports back at once. For UDP the option would let two programs share a
  // port.
  int one = 1;
  if (protocol == Protocol::Tcp) ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  sockaddr_in address = socket_address(endpoint);
  if (::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) < 0)
    return errno_error(errno, "listen {} {}: bind", to_string(protocol), endpoint.str());
  if (protocol == Protocol::Tcp && ::listen(socket.get(), SOMAXCONN) < 0)
    return errno_error(errno, "listen {} {}", to_string(protocol), endpoint.str());
  return socket;
}

Status connect_socket(const UniqueFd& socket, Endpoint target) {
  sockaddr_in address = socket_address(target);
  int done = sys::retry_eintr(
      [&] { return ::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address); });
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
