#pragma once
// The cluster-wide network services: rules for Services in every node, cluster DNS, NodePorts on the host.

#include <map>
#include <memory>
#include <string>

#include "base/random.hpp"
#include "client/event_recorder.hpp"
#include "cluster/state.hpp"
#include "net/dns_server.hpp"
#include "net/relays.hpp"
#include "net/service_rules.hpp"
#include "proxy/dns_records.hpp"
#include "proxy/node_port_relays.hpp"
#include "proxy/service_proxy.hpp"

namespace skiff::cluster {

class ClusterNetwork {
 public:
  struct Uses {
    client::Client& client;
    client::Informers& informers;
    Clock& clock;
    Random& random;
  };
  /// Registers informer handlers: before Informers::start(). `host` is the host's network namespace.
  static Result<std::unique_ptr<ClusterNetwork>> create(const Uses& uses, const Settings& settings);
  ~ClusterNetwork();

  /// Serves a node from now on; the first one added is where NodePort connections from the host enter.
  Status add_node(const std::string& name, const UniqueFd& network, net::Ipv4 address);
  void remove_node(const std::string& name);

  /// After Informers::start().
  Status start();
  void stop();

  /// Asks the node's DNS server for `name` as a pod would, until it answers. Timeout.
  Status wait_dns(const UniqueFd& network, Duration patience);

 private:
  ClusterNetwork(const Uses& uses, const Settings& settings);

  const Uses uses_;
  const Settings& settings_;
  UniqueFd host_;
  client::EventRecorder events_;
  proxy::DnsRecords records_;
  std::unique_ptr<net::DnsServer> dns_;
  std::map<std::string, std::unique_ptr<net::ServiceRules>> rules_;
  proxy::ServiceProxy proxy_;
  std::unique_ptr<net::Relays> relays_;
  std::unique_ptr<proxy::NodePortRelays> node_ports_;
};

}  // namespace skiff::cluster
