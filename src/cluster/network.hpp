#pragma once
// The cluster-wide network services: rules for Services in every node, cluster DNS, load balancers, ports on the host.

#include <map>
#include <memory>
#include <string>

#include "base/random.hpp"
#include "client/event_recorder.hpp"
#include "cluster/state.hpp"
#include "net/dns_server.hpp"
#include "net/host_network.hpp"
#include "net/relays.hpp"
#include "net/policy_rules.hpp"
#include "net/service_rules.hpp"
#include "proxy/dns_config.hpp"
#include "proxy/dns_records.hpp"
#include "proxy/gateway_controller.hpp"
#include "proxy/health_checks.hpp"
#include "proxy/host_relays.hpp"
#include "proxy/ingress_controller.hpp"
#include "proxy/load_balancers.hpp"
#include "proxy/network_policies.hpp"
#include "proxy/service_proxy.hpp"

namespace skiff::cluster {

class ClusterNetwork {
 public:
  struct Uses {
    client::Client& client;
    client::Informers& informers;
    Clock& clock;
    Random& random;
    net::HostNetwork& host_network;
  };
  /// Registers informer handlers: before Informers::start(). `host` is the host's network namespace.
  static Result<std::unique_ptr<ClusterNetwork>> create(const Uses& uses, const Settings& settings);
  ~ClusterNetwork();

  /// A node that joins; its addresses are one a family, the main one first.
  struct JoiningNode {
    std::string name;
    int index;
    const UniqueFd& network;
    std::vector<net::Address> addresses;
  };
  /// Serves a node from now on; the first one added is where connections from the host enter.
  Status add_node(const JoiningNode& node);
  /// Before a node goes: connections from the host enter through another one, if there is one.
  Status leave_node(const std::string& name);
  /// The node is gone.
  void remove_node(const std::string& name);

  /// For a pod that got its address: returns when its network policies are in force.
  Status admit_pod(const std::string& uid, const std::vector<net::Address>& addresses) {
    return policies_.admit(uid, addresses);
  }
  void forget_pod(const std::string& uid) { policies_.forget(uid); }

  /// After Informers::start().
  Status start();
  void stop();

  /// Asks the node's DNS server for `name` as a pod would, until it answers. Timeout.
  Status wait_dns(const UniqueFd& network, Duration patience);

 private:
  ClusterNetwork(const Uses& uses, const Settings& settings);
  Status add_rules(const JoiningNode& node);
  Status enter_by(const JoiningNode& node);
  Status serve_host(const JoiningNode& node);
  Status serve_http(const JoiningNode& node, const std::vector<net::Address>& listen);
  std::map<net::Address, net::Address> by_address(const proxy::LoadBalancers::Paths& paths);

  const Uses uses_;
  const Settings& settings_;
  UniqueFd host_;
  client::EventRecorder events_, ingress_events_;
  proxy::DnsRecords records_;
  std::unique_ptr<net::DnsServer> dns_;
  std::unique_ptr<proxy::DnsConfig> dns_config_;
  std::map<std::string, std::vector<std::unique_ptr<net::ServiceRules>>> rules_;  // one a family
  proxy::ServiceProxy proxy_;
  std::map<std::string, std::vector<std::unique_ptr<net::PolicyRules>>> policy_rules_;
  proxy::NetworkPolicies policies_;
  std::unique_ptr<net::Relays> relays_;
  std::unique_ptr<proxy::HostRelays> host_relays_;
  Mutex mutex_;
  struct KnownNode {
    int index;
    UniqueFd network;
    std::vector<net::Address> addresses;
  };
  std::map<std::string, KnownNode> nodes_ GUARDED_BY(mutex_);
  std::string entry_;  // the node by which connections from the host enter; of the callers of add_node() and the like
  proxy::LoadBalancers balancers_;
  std::unique_ptr<net::HttpProxy> http_;
  client::AnyInformer certificates_;  // Secrets of this type alone: others may be many
  std::unique_ptr<proxy::HttpFront> front_;
  std::unique_ptr<proxy::IngressController> ingress_;
  std::unique_ptr<proxy::GatewayController> gateways_;
  std::unique_ptr<proxy::HealthChecks> health_checks_;
};

}  // namespace skiff::cluster
