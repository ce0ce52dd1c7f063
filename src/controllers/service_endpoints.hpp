#pragma once
// What Endpoints and EndpointSlices have in common: which pods stand behind a service, and on which ports
// (k8s.io/endpointslice/util).

#include <optional>
#include <string>
#include <vector>

#include "api/gen/discovery.hpp"
#include "api/gen/pod.hpp"
#include "api/gen/service.hpp"
#include "client/informer.hpp"
#include "controllers/controller.hpp"

namespace skiff::controllers {

/// Has an address and has not finished; those that are being deleted only when `with_terminating`.
bool has_endpoint(const api::Pod& pod, bool with_terminating);
/// Whether a change of a pod can matter to any service.
bool endpoint_changed(const api::Pod& before, const api::Pod& now);
/// The number of `port.targetPort` in this pod; nothing when no container names it.
std::optional<std::int32_t> find_port(const api::Pod& pod, const api::ServicePort& port);
/// The name DNS gives the pod under `service`, or "".
std::string endpoint_hostname(const api::Pod& pod, const api::Service& service);
api::ObjectReference endpoint_target(const api::Pod& pod);
bool is_headless(const api::Service& service);

/// Ports of one pod behind a service, in the service's order; ports that the pod does not name are left out.
std::vector<api::DiscoveryEndpointPort> endpoint_ports(const api::Pod& pod, const api::Service& service);

/// Calls `enqueue` with the key of each service that selects the pod before or after a change that matters.
void on_endpoint_change(client::Informer<api::Pod> pods, client::Informer<api::Service> services,
                        std::function<void(const ObjectKey&)> enqueue);
/// The pods that `service` selects.
std::vector<Ref<api::Pod>> selected_pods(const client::Informer<api::Pod>& pods, const api::Service& service);

}  // namespace skiff::controllers
