// EndpointSlices and Endpoints.

#include <set>

#include "api/gen/discovery.hpp"
#include "api/gen/service.hpp"
#include "registry/kinds/kind.hpp"
#include "registry/kinds/kinds.hpp"
#include "registry/kinds/volumes.hpp"

namespace skiff::registry {
namespace {

using api::quote;

constexpr size_t kMostEndpoints = 1000, kMostAddresses = 100, kMostPorts = 20000;

void check_address(const std::string& address, const std::string& type, const Path& path, FieldErrors& errors) {
  if (type == "FQDN") return check_dns_subdomain(address, path, errors);
  bool ipv6 = address.find(':') != std::string::npos;
  if (!api::is_ip(address)) check_ip(address, path, errors);
  else if (type == "IPv4" && ipv6) errors.invalid(path, quote(address), "must be an IPv4 address");
  else if (type == "IPv6" && !ipv6) errors.invalid(path, quote(address), "must be an IPv6 address");
  else check_not_special_ip(address, path, errors);
}

void check_slice_ports(const api::EndpointSlice& slice, FieldErrors& errors) {
  const Path root("");
  if (slice.ports.size() > kMostPorts) errors.too_many("ports", slice.ports.size(), kMostPorts);
  std::set<std::string_view> names;
  for (size_t i = 0; i < slice.ports.size(); ++i) {
    const api::DiscoveryEndpointPort& port = slice.ports[i];
    const Path at = root.child("ports", i);
    const std::string_view name = port.name ? std::string_view(*port.name) : std::string_view();
    if (!name.empty()) check_dns_label(name, at.child("name"), errors);
    if (!names.insert(name).second) errors.duplicate(at.child("name"), quote(name));
    require_one_of(port.protocol, at.child("protocol"), {"SCTP", "TCP", "UDP"}, errors);
    if (port.port) require_between(*port.port, 1, 65535, at.child("port"), errors);
    if (!port.appProtocol.empty()) check_qualified_name(port.appProtocol, at.child("appProtocol"), errors);
  }
}

void validate_slice(const api::EndpointSlice& slice, const api::EndpointSlice* old, FieldErrors& errors) {
  const Path root("");
  require_one_of(slice.addressType, Path("addressType"), {"FQDN", "IPv4", "IPv6"}, errors);
  if (slice.endpoints.size() > kMostEndpoints) errors.too_many("endpoints", slice.endpoints.size(), kMostEndpoints);
  for (size_t i = 0; i < slice.endpoints.size(); ++i) {
    const api::Endpoint& endpoint = slice.endpoints[i];
    const Path at = root.child("endpoints", i);
    if (endpoint.addresses.empty()) errors.required(at.child("addresses"), "must contain at least 1 address");
    if (endpoint.addresses.size() > kMostAddresses)
      errors.too_many(at.child("addresses"), endpoint.addresses.size(), kMostAddresses);
    for (size_t j = 0; j < endpoint.addresses.size(); ++j)
      check_address(endpoint.addresses[j], slice.addressType, at.child("addresses", j), errors);
    if (!endpoint.nodeName.empty()) check_dns_subdomain(endpoint.nodeName, at.child("nodeName"), errors);
    if (!endpoint.hostname.empty()) check_dns_label(endpoint.hostname, at.child("hostname"), errors);
  }
  check_slice_ports(slice, errors);
  if (old) require_same(slice.addressType, old->addressType, Path("addressType"), errors);
}

void check_endpoint_addresses(const std::vector<api::EndpointAddress>& addresses, const char* list, const Path& subset,
                              FieldErrors& errors) {
  for (size_t i = 0; i < addresses.size(); ++i) {
    const Path at = subset.child(list, i);
    if (!api::is_ip(addresses[i].ip)) check_ip(addresses[i].ip, at.child("ip"), errors);
    else check_not_special_ip(addresses[i].ip, at.child("ip"), errors);
    if (!addresses[i].hostname.empty()) check_dns_label(addresses[i].hostname, at.child("hostname"), errors);
    if (!addresses[i].nodeName.empty()) check_dns_subdomain(addresses[i].nodeName, at.child("nodeName"), errors);
  }
}

void validate_endpoints(const api::Endpoints& endpoints, const api::Endpoints*, FieldErrors& errors) {
  const Path root("");
  for (size_t i = 0; i < endpoints.subsets.size(); ++i) {
    const api::EndpointSubset& subset = endpoints.subsets[i];
    const Path at = root.child("subsets", i);
    if (subset.addresses.empty() && subset.notReadyAddresses.empty())
      errors.required(at, "must specify `addresses` or `notReadyAddresses`");
    check_endpoint_addresses(subset.addresses, "addresses", at, errors);
    check_endpoint_addresses(subset.notReadyAddresses, "notReadyAddresses", at, errors);
    for (size_t j = 0; j < subset.ports.size(); ++j) {
      const api::EndpointPort& port = subset.ports[j];
      const Path to = at.child("ports", j);
      if (subset.ports.size() > 1 && port.name.empty()) errors.required(to.child("name"));
      else if (!port.name.empty()) check_dns_label(port.name, to.child("name"), errors);
      check_port(port.port, to.child("port"), errors);
      require_one_of(port.protocol, to.child("protocol"), {"SCTP", "TCP", "UDP"}, errors);
      if (!port.appProtocol.empty()) check_qualified_name(port.appProtocol, to.child("appProtocol"), errors);
    }
  }
}

}  // namespace

std::vector<Resource> endpoints() {
  Rules<api::EndpointSlice> slices;
  slices.validate = validate_slice;
  slices.counts_generation = true;
  Rules<api::Endpoints> endpoints;
  endpoints.validate = validate_endpoints;
  endpoints.create_on_update = true;
  endpoints.warning = "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice";
  return {define(slices), define(endpoints)};
}

}  // namespace skiff::registry
