#pragma once
// Sockets of either family: non-blocking, close-on-exec, in the calling thread's network namespace.

#include <netinet/in.h>
#include <sys/socket.h>

#include "base/fd.hpp"
#include "net/address.hpp"

namespace skiff::net {

/// An endpoint as the kernel takes and gives it.
struct SocketAddress {
  sockaddr_storage raw{};
  socklen_t size = sizeof raw;

  SocketAddress() = default;
  explicit SocketAddress(const Endpoint& endpoint);
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&raw); }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&raw); }
  Endpoint endpoint() const;
};

/// System with EPROTONOSUPPORT: the kernel has no such protocol (SCTP).
Result<UniqueFd> open_socket(Protocol protocol, Family family);
/// Bound, and listening unless it is UDP. One on [::] leaves IPv4 to others. System with EADDRINUSE: the port is taken.
Result<UniqueFd> open_listener(Protocol protocol, Endpoint endpoint);
/// A TCP connection may still be under way when this returns.
Status connect_socket(const UniqueFd& socket, Endpoint target);
/// SO_ERROR: how the connection went, 0 when it stands.
int pending_error(const UniqueFd& socket);

}  // namespace skiff::net
