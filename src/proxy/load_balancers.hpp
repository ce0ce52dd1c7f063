#pragma once
// Addresses for Services of type LoadBalancer: what a cloud's controller does elsewhere.

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "api/gen/discovery.hpp"
#include "api/gen/service.hpp"
#include "client/event_recorder.hpp"
#include "client/informer.hpp"
#include "net/address.hpp"
#include "proxy/change_counter.hpp"

namespace skiff::proxy {

/// Whether a Service is ours to serve: a LoadBalancer of no class or of this one.
inline constexpr std::string_view kLoadBalancerClass = "skiff.io/load-balancer";
bool is_ours(const api::Service& service);

struct BalancerAddress {
  std::optional<net::Address> address;  // none: the range is used up
  std::string refused;               // why spec.loadBalancerIP was not heeded; empty: it was
};

/// Who has which address of the range's family. Services keep what their status says while they can; wishes go first, then the
/// older Service. Addresses of `reserved` are given to nobody. Pure.
std::map<client::ObjectKey, BalancerAddress> plan_balancer_addresses(
    std::vector<client::Ref<api::Service>> services, const net::Cidr& range,
    const std::set<net::Address>& reserved);

struct LoadBalancersSpec {
  std::vector<net::Cidr> ranges;  // one a family
  std::set<net::Address> reserved;
};

/// Writes status.loadBalancer. Construct before Informers::start(), start() after.
class LoadBalancers {
 public:
  /// By which node clients outside reach an address: only Services that keep to a node's endpoints
  /// (externalTrafficPolicy Local) are named. Called when it changes, on the thread of this object.
  using Paths = std::map<net::Address, std::string>;
  using SetPaths = std::function<Status(const Paths&)>;
  struct Parts {
    client::Client& client;
    client::Informers& informers;
    client::EventRecorder& events;
    Clock& clock;
    SetPaths set_paths;
  };
  LoadBalancers(Parts parts, LoadBalancersSpec spec);
  ~LoadBalancers() { stop(); }

  void start();
  void stop();

 private:
  void run(std::stop_token stop);
  bool settle(const std::vector<client::Ref<api::Service>>& services);
  using Given = std::vector<BalancerAddress>;  // in the order of the Service's families
  std::map<client::ObjectKey, Given> plan(const std::vector<client::Ref<api::Service>>& services) const;
  std::string problem_of(const api::Service& service, const Given& given) const;
  Status write(const api::Service& service, const std::vector<std::string>& addresses);
  bool settle_paths(const std::vector<client::Ref<api::Service>>& services);

  Parts parts_;
  const LoadBalancersSpec spec_;
  client::Informer<api::Service> services_;
  client::Informer<api::EndpointSlice> slices_;
  ChangeCounter changes_;
  std::map<std::string, std::string> told_;  // by the Service's UID: what its owner was told last
  std::optional<Paths> paths_;
  Worker worker_;
};

}  // namespace skiff::proxy
