#include "sys/namespaces.hpp"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>

#include "sys/files.hpp"

namespace skiff::sys {
namespace {

std::string_view name_of(Namespace kind) {
  switch (kind) {
    case Namespace::Network:
      return "net";
    case Namespace::Mount:
      return "mnt";
    case Namespace::Uts:
      return "uts";
    case Namespace::Ipc:
      return "ipc";
    case Namespace::Pid:
      return "pid";
    case Namespace::Cgroup:
      return "cgroup";
  }
  return "";
}

}  // namespace

Result<UniqueFd> open_namespace(Namespace kind, pid_t pid) {
  // thread-self, not self: another thread of ours may be visiting a pod's network right now.
  std::string process = pid == 0 ? "thread-self" : std::to_string(pid);
  return open(fmt::format("/proc/{}/ns/{}", process, name_of(kind)), O_RDONLY);
}

Result<UniqueFd> new_network_namespace() {
  TRY_ASSIGN(UniqueFd home, open_namespace(Namespace::Network));
  TRY_ASSIGN(NetworkScope back, NetworkScope::enter(home));  // returns home whatever happens below
  if (::unshare(CLONE_NEWNET) < 0) return errno_error(errno, "unshare network namespace");
  return open_namespace(Namespace::Network);
}

Result<NetworkScope> NetworkScope::enter(const UniqueFd& network) {
  TRY_ASSIGN(UniqueFd home, open_namespace(Namespace::Network));
  if (::setns(network.get(), CLONE_NEWNET) < 0) return errno_error(errno, "setns network namespace");
  return NetworkScope(std::move(home));
}

NetworkScope::~NetworkScope() {
  if (home_ && ::setns(home_.get(), CLONE_NEWNET) < 0)
    die_of_unchecked_result(errno_error(errno, "return from a network namespace"));
}

}  // namespace skiff::sys
