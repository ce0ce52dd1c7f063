#pragma once
// The controller of the Gateway API: GatewayClass, Gateway and HTTPRoute, once somebody installs their
// definitions.

#include <map>
#include <set>
#include <string>
#include <vector>

#include "api/gen/core.hpp"
#include "client/informer.hpp"
#include "client/metadata_feed.hpp"
#include "proxy/change_counter.hpp"
#include "proxy/gateway_routes.hpp"
#include "proxy/http_front.hpp"

namespace skiff::proxy {

struct GatewayControllerSpec {
  net::Cidr addresses;            // for gateways; answered in every node
  std::set<net::Address> reserved;   // of those, what others have
  std::vector<net::Address> listen;  // addresses of the host, where a port is opened if it is free
  std::string host = "host";      // the host's name at the HttpProxy
};

/// Who has which address: what a status says is kept, then the older Gateway goes first. Pure.
std::map<client::ObjectKey, net::Address> plan_gateway_addresses(
    std::vector<client::Ref<api::GatewayObject>> gateways, const net::Cidr& range,
    const std::set<net::Address>& reserved);

/// Construct before Informers::start(), start() after.
class GatewayController {
 public:
  struct Parts {
    client::Client& client;
    client::Informers& informers;
    client::Informer<api::Secret> certificates;  // those of type kubernetes.io/tls
    Clock& clock;
    HttpFront& front;
  };
  GatewayController(Parts parts, GatewayControllerSpec spec);
  ~GatewayController() { stop(); }

  /// A namespace that answers on the gateways' addresses. Any thread.
  void add_node(const std::string& network) { nodes_.add(network); }
  void remove_node(const std::string& network) { nodes_.remove(network); }

  void start();
  void stop();

 private:
  template <class T>
  std::vector<client::Ref<T>> objects(const char* kind, const std::vector<const char*>& versions);
  void watch_changes();
  void run(std::stop_token stop);
  bool settle();
  GatewayView view();
  std::vector<net::HttpListener> listeners(const CompiledGateways& compiled);
  Status accept_classes(const std::vector<client::Ref<api::GatewayClassObject>>& classes);
  Status write_statuses(const GatewayView& view, CompiledGateways& compiled);
  Status write_status(const char* kind, const client::ObjectKey& key, const std::string& status);

  Parts parts_;
  const GatewayControllerSpec spec_;
  client::Informer<api::Service> services_;
  client::Informer<api::EndpointSlice> slices_;
  client::Informer<api::Secret> secrets_;
  client::Informer<api::Namespace> namespaces_;
  client::MetadataFeed feed_;
  ChangeCounter changes_;
  std::atomic<bool> used_ = false;  // there is a Gateway
  ServedNetworks nodes_;
  Worker worker_;
};

}  // namespace skiff::proxy
