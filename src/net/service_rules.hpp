#pragma once
// Services as packet rules: one nft table a family in a node's namespace, whose maps lead from (address, protocol,
// port) to a chain that picks a backend. What a packet and what a change costs does not depend on how many
// services there are.

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/fd.hpp"
#include "base/mutex.hpp"
#include "net/address.hpp"

namespace skiff::sys {
class NftSession;
}

namespace skiff::net {

/// Where packets are caught. Without an address: on every address of the node (NodePort, hostPort).
struct Frontend {
  std::optional<Address> address;
  std::uint16_t port = 0;
  auto operator<=>(const Frontend&) const = default;
};

struct ServiceRule {
  std::string id;  // of two rules for one frontend the one with the smaller id has it
  Protocol protocol = Protocol::Tcp;
  std::vector<Frontend> frontends;
  std::vector<Endpoint> backends;  // none: connections are refused
  /// What clients outside of the cluster get instead; nothing in it: their packets are dropped.
  std::optional<std::vector<Endpoint>> outside;
  std::uint32_t affinity_seconds = 0;  // so long after its last connection a client keeps its backend; 0: not
  std::vector<Cidr> sources;           // clients outside of the node that are let in; none: all
  bool operator==(const ServiceRule&) const = default;
};

/// Rules that change together, by a name of the caller's.
using RuleGroups = std::map<std::string, std::vector<ServiceRule>>;

struct ServiceRulesSpec {
  Cidr services;                  // what is sent here and is no service is refused; its family is the table's
  std::optional<Cidr> balancers;  // another such range
  Cidr pods{};                    // clients inside; all others are outside
  std::string uplink =
      "sk-host";         // packets that come and leave by it are masqueraded, so that replies return
  std::set<Address> local;  // addresses in the ranges that the node itself answers (DNS)

  Family family() const { return services.family(); }
};

/// The rules of one family. Calls are serialised; any thread. Rules outlive this object; the first call replaces what it finds.
class ServiceRules {
 public:
  /// `node` is the node's namespace.
  static Result<std::unique_ptr<ServiceRules>> open(UniqueFd node, ServiceRulesSpec spec);
  ~ServiceRules();

  /// Makes the node's rules be `all`, in one transaction: after a failure the old ones are in place.
  Status replace(const RuleGroups& all);
  /// Makes these groups be as given (an empty one goes) and leaves the others alone, in one transaction that
  /// holds only what changed. Flows of UDP that lead to a backend that is gone are forgotten.
  Status change(const RuleGroups& groups);
  Status remove();

  Family family() const { return spec_.family(); }

 private:
  struct State;
  ServiceRules(UniqueFd node, std::unique_ptr<sys::NftSession> nft, ServiceRulesSpec spec);
  std::string table() const;
  Status write_all(const RuleGroups& all) REQUIRES(mutex_);

  const UniqueFd node_;
  const std::unique_ptr<sys::NftSession> nft_;
  const ServiceRulesSpec spec_;
  Mutex mutex_;
  std::unique_ptr<State> applied_ GUARDED_BY(mutex_);  // null before the first call
};

}  // namespace skiff::net
