#pragma once
// Namespaces as open descriptors. A socket belongs to the network namespace it was opened in, so one process
// can serve many of them: open the socket inside in_network(), use it anywhere.

#include <sys/types.h>

#include <cstdint>

#include "base/error.hpp"
#include "base/fd.hpp"

namespace skiff::sys {

enum class Namespace : std::uint8_t { Network, Mount, Uts, Ipc, Pid, Cgroup };

/// The namespace of process `pid`, or of the calling thread when `pid` is 0.
Result<UniqueFd> open_namespace(Namespace kind, pid_t pid = 0);

/// A fresh network namespace that no process is in; it lives as long as the descriptor. Any thread.
Result<UniqueFd> new_network_namespace();

/// The calling thread is inside another network namespace while this lives. Destroy it on the same thread.
class NetworkScope {
 public:
  static Result<NetworkScope> enter(const UniqueFd& network);
  NetworkScope(NetworkScope&&) = default;
  ~NetworkScope();  // aborts if the thread cannot return: it would go on in a pod's network

 private:
  explicit NetworkScope(UniqueFd home) : home_(std::move(home)) {}
  UniqueFd home_;
};

/// Runs `call` (which returns a Result) with the calling thread inside `network`.
template <class Call>
auto in_network(const UniqueFd& network, Call&& call) -> decltype(call()) {
  TRY_ASSIGN(NetworkScope scope, NetworkScope::enter(network));
  return call();
}

}  // namespace skiff::sys
