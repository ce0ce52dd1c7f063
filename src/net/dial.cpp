#include "net/dial.hpp"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include "net/sockets.hpp"
#include "sys/namespaces.hpp"

namespace skiff::net {

Result<UniqueFd> start_dial_in(const UniqueFd& network, Endpoint target) {
  return sys::in_network(network, [&]() -> Result<UniqueFd> {
    TRY_ASSIGN(UniqueFd socket, open_socket(Protocol::Tcp, target.address.family));
    TRY(connect_socket(socket, target));
    return socket;
  });
}

Result<UniqueFd> dial_in(const UniqueFd& network, Endpoint target, TimePoint deadline) {
  TRY_ASSIGN(UniqueFd socket, start_dial_in(network, target));
  for (;;) {
    auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()).count();
    if (left <= 0) return error(Code::Timeout, "dial tcp {}: i/o timeout", target.str());
    pollfd waiting{.fd = socket.get(), .events = POLLOUT};
    int ready = ::poll(&waiting, 1, static_cast<int>(std::min<long long>(left, 1 << 30)));
    if (ready < 0 && errno != EINTR) return errno_error(errno, "poll");
    if (ready > 0) break;
  }
  if (int failure = pending_error(socket); failure != 0)
    return errno_error(failure, "dial tcp {}: connect", target.str());
  return socket;
}

}  // namespace skiff::net
