#pragma once
// TCP connections from inside a namespace: what probes, port-forward and relays use.

#include "base/clock.hpp"
#include "base/fd.hpp"
#include "net/address.hpp"

namespace skiff::net {

/// A connected, non-blocking TCP socket that belongs to `network`. Waits for the connection until `deadline`
/// (of the system's steady clock), on the calling thread, which is back in its own namespace before it waits.
/// Timeout: not connected in time. System: refused, unreachable, ... (sys_errno() says which).
Result<UniqueFd> dial_in(const UniqueFd& network, Endpoint target, TimePoint deadline);

/// The same without waiting: the connection is under way (writable once it stands or failed).
Result<UniqueFd> start_dial_in(const UniqueFd& network, Endpoint target);

}  // namespace skiff::net
