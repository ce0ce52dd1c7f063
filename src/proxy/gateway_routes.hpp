#pragma once
// Gateways and HTTPRoutes as rules of the HTTP proxy. Pure.

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "api/gen/gateway.hpp"
#include "client/object.hpp"
#include "proxy/http_backends.hpp"
#include "proxy/http_table.hpp"

namespace skiff::proxy {

inline constexpr std::string_view kGatewayController = "skiff.io/gateway-controller";
inline constexpr std::string_view kGatewayGroup = "gateway.networking.k8s.io";

struct GatewayView {
  std::vector<client::Ref<api::GatewayObject>> gateways;  // those of our classes
  std::vector<client::Ref<api::GatewayHttpRoute>> routes;
  std::map<std::string, std::map<std::string, std::string>> namespaces;  // their labels
  std::vector<client::Ref<api::GatewayReferenceGrant>> grants{};
  std::map<client::ObjectKey, net::Address> addresses;                      // of the gateways that have one
  ServiceLookup lookup;
  std::function<Result<CertificateTable::Certificate>(const client::ObjectKey&)> certificate;
  std::string now;  // RFC 3339, for conditions
};

/// A port that is to be open, at the gateway's address. Its name leads to the table: "gateway/NS/NAME/PORT".
struct GatewayPort {
  client::ObjectKey gateway;
  net::Endpoint listen;
  bool tls;
  std::string name;
};

/// What answers on the gateways' ports.
class GatewayRoutes final : public net::HttpRoutes {
 public:
  struct Listener {
    std::unique_ptr<HttpTable> table =
        std::make_unique<HttpTable>(HttpTable::Options{.wildcard_is_one_label = false});
    CertificateTable certificates;
  };
  explicit GatewayRoutes(std::map<std::string, Listener> listeners) : listeners_(std::move(listeners)) {}

  net::HttpDecision decide(const net::HttpQuestion& question) const override;
  CertificateTable::Certificate certificate(const std::string& listener,
                                            const std::string& name) const override;

 private:
  const std::map<std::string, Listener> listeners_;
};

struct CompiledGateways {
  std::shared_ptr<const GatewayRoutes> routes;
  std::vector<GatewayPort> ports;
  std::map<client::ObjectKey, api::GatewayStatus> gateways;
  std::map<client::ObjectKey, std::vector<api::GatewayRouteParentStatus>> parents;  // of routes; ours only
};

CompiledGateways compile_gateways(const GatewayView& view);

/// "1h30m", "250ms": a duration of the Gateway API. nullopt: it is none.
std::optional<Duration> gateway_duration(std::string_view text);

/// What two hosts (a listener's and a route's, "" for all) have in common; nullopt: nothing.
std::optional<std::string> common_host(const std::string& listener, const std::string& route);

}  // namespace skiff::proxy
