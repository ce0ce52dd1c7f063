#include "apiserver/service_dialer.hpp"

#include "api/gen/core.hpp"
#include "api/gen/nodes.hpp"
#include "api/gen/service.hpp"
#include "api/status.hpp"

namespace skiff::apiserver {

std::shared_ptr<client::NodeAccess> any_node(client::Client& cluster, const client::NodeAccessByName& nodes) {
  Result<std::vector<client::Ref<api::Node>>> all = cluster.list<api::Node>();
  if (!all.ok()) return nullptr;
  for (const client::Ref<api::Node>& node : all.value())
    if (std::shared_ptr<client::NodeAccess> access = nodes(node->metadata.name)) return access;
  return nullptr;
}

Result<UniqueFd> ServiceDialer::dial(const client::ObjectKey& key, std::int32_t number) const {
  Result<client::Ref<api::Service>> service = cluster_.get<api::Service>(key);
  if (!service.ok()) return error(Code::Unavailable, "service {} not found", api::quote(key.name));
  const api::ServicePort* chosen = nullptr;
  for (const api::ServicePort& port : service.value()->spec.ports)
    if (port.port == number) chosen = &port;
  if (!chosen)
    return error(Code::Unavailable, "no service port {} found for service {}", number, api::quote(key.name));
  Error none = error(Code::Unavailable, "no endpoints available for service {}", api::quote(key.name));
  Result<client::Ref<api::Endpoints>> endpoints = cluster_.get<api::Endpoints>(key);
  std::shared_ptr<client::NodeAccess> node = any_node(cluster_, nodes_);
  if (!endpoints.ok() || !node) return none;
  for (const auto& subset : endpoints.value()->subsets) {
    for (const auto& port : subset.ports) {
      if (port.name != chosen->name) continue;
      for (const auto& address : subset.addresses) {
        Result<UniqueFd> dialled = node->dial(address.ip, static_cast<std::uint16_t>(port.port));
        if (dialled.ok()) return dialled;
        none = Error(Code::Unavailable, dialled.error().message());
      }
    }
  }
  return none;
}

}  // namespace skiff::apiserver
