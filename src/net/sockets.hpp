#pragma once
// IPv4 sockets: non-blocking, close-on-exec, in the calling thread's network namespace.

#include <netinet/in.h>

#include "base/fd.hpp"
#include "net/address.hpp"

namespace skiff::net {

sockaddr_in socket_address(Endpoint endpoint);
Endpoint endpoint_of(const sockaddr_in& address);

Result<UniqueFd> open_socket(Protocol protocol);  // TCP or UDP
/// Bound, and listening when it is TCP. System with EADDRINUSE: the port is taken.
Result<UniqueFd> open_listener(Protocol protocol, Endpoint endpoint);
/// A TCP connection may still be under way when this returns.
Status connect_socket(const UniqueFd& socket, Endpoint target);
/// SO_ERROR: how the connection went, 0 when it stands.
int pending_error(const UniqueFd& socket);

}  // namespace skiff::net
