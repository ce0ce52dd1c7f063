#pragma once
// Services as packet rules: one nft table in a node's namespace, whose maps lead from (address, protocol,
// port) to a chain that picks a backend. Lookups take constant time in the number of services.

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/fd.hpp"
#include "base/mutex.hpp"
#include "net/address.hpp"

namespace skiff::net {

/// Where packets are caught. Without an address: on every address of the node (NodePort, hostPort).
struct Frontend {
  std::optional<Ipv4> address;
  std::uint16_t port = 0;
  auto operator<=>(const Frontend&) const = default;
};

struct ServiceRule {
  std::string id;  // unique and stable: what a later apply() compares by
  Protocol protocol = Protocol::Tcp;
  std::vector<Frontend> frontends;
  std::vector<Endpoint> backends;  // none: connections are refused
  bool client_affinity = false;    // one client, one backend (while the backends stay the same)
  bool operator==(const ServiceRule&) const = default;
};

struct ServiceRulesSpec {
  Cidr services;  // what is sent here and is no service is refused
  std::string uplink =
      "sk-host";         // packets that come and leave by it are masqueraded, so that replies return
  std::set<Ipv4> local;  // addresses in `services` that the node itself answers (DNS)
};

/// Calls are serialised; any thread. Rules outlive this object; the first apply() replaces what it finds.
class ServiceRules {
 public:
  /// `node` is the node's namespace.
  static Result<std::unique_ptr<ServiceRules>> open(UniqueFd node, ServiceRulesSpec spec);
  ~ServiceRules();

  /// Makes the node's rules be `wanted`, in one transaction that holds only what changed: all or nothing.
  /// When two rules claim one frontend the first (in the given order) has it.
  Status apply(const std::vector<ServiceRule>& wanted);
  Status remove();

 private:
  struct State;
  ServiceRules(UniqueFd node, ServiceRulesSpec spec);

  const UniqueFd node_;
  const ServiceRulesSpec spec_;
  Mutex mutex_;
  std::unique_ptr<State> applied_ GUARDED_BY(mutex_);  // null before the first apply
};

}  // namespace skiff::net
