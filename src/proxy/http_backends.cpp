#include "proxy/http_backends.hpp"

namespace skiff::proxy {
namespace {

/// Any port of it can be meant by number: it needs none of its own.
Result<std::shared_ptr<const net::HttpBackends>> external_backends(const ServiceLookup& lookup, const api::Service& service,
                                                                   const client::ObjectKey& key, const PortWish& wish) {
  if (!lookup.external)
    return error(Code::Invalid, "Service {} is a name for something outside (ExternalName)", key.str());
  std::int32_t number = wish.number;
  for (const api::ServicePort& port : service.spec.ports)
    if (number == 0 && port.name == wish.name) number = port.port;
  if (number == 0) return error(Code::NotFound, "Service {} has no TCP port '{}'", key.str(), wish.name);
  auto backends = std::make_shared<net::HttpBackends>();
  for (net::Address address : lookup.external(service.spec.externalName))
    backends->endpoints.push_back({address, static_cast<std::uint16_t>(number)});
  backends->http2 = wish.http2;
  return std::shared_ptr<const net::HttpBackends>(std::move(backends));
}

}  // namespace

Result<std::shared_ptr<const net::HttpBackends>> http_backends(const ServiceLookup& lookup,
                                                               const client::ObjectKey& key,
                                                               const PortWish& wish) {
  client::Ref<api::Service> service = lookup.service(key);
  if (!service) return error(Code::NotFound, "Service {} does not exist", key.str());
  if (service->spec.type == "ExternalName") return external_backends(lookup, *service, key, wish);
  for (const api::ServicePort& port : service->spec.ports) {
    bool wanted = wish.number != 0 ? port.port == wish.number : port.name == wish.name;
    if (!wanted || port.protocol != "TCP") continue;
    auto backends = std::make_shared<net::HttpBackends>();
    backends->endpoints = port_endpoints(*service, lookup.slices(key), port);
    backends->http2 = wish.http2 || port.appProtocol == "kubernetes.io/h2c" || port.appProtocol == "grpc";
    return std::shared_ptr<const net::HttpBackends>(std::move(backends));
  }
  return error(Code::NotFound, "Service {} has no TCP port {}", key.str(),
               wish.number != 0 ? std::to_string(wish.number) : "'" + wish.name + "'");
}

}  // namespace skiff::proxy
