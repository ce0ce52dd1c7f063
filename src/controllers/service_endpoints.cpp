#include "controllers/service_endpoints.hpp"

#include <algorithm>

#include "api/pods.hpp"

namespace skiff::controllers {
namespace {

bool selects(const api::Service& service, const api::Pod& pod) {
  if (service.spec.selector.empty()) return false;
  return std::all_of(service.spec.selector.begin(), service.spec.selector.end(), [&](const auto& wanted) {
    auto label = pod.metadata.labels.find(wanted.first);
    return label != pod.metadata.labels.end() && label->second == wanted.second;
  });
}

const api::ContainerPort* named_port(const std::vector<api::Container>& containers,
                                     const api::ServicePort& port, bool only_sidecars) {
  for (const api::Container& container : containers) {
    if (only_sidecars && !api::is_sidecar(container)) continue;
    for (const api::ContainerPort& candidate : container.ports)
      if (candidate.name == port.targetPort->text && candidate.protocol == port.protocol) return &candidate;
  }
  return nullptr;
}

}  // namespace

bool has_endpoint(const api::Pod& pod, bool with_terminating) {
  if (api::is_finished(pod) || pod.status.podIP.empty()) return false;
  return with_terminating || !pod.metadata.deletionTimestamp;
}

bool endpoint_changed(const api::Pod& before, const api::Pod& now) {
  return before.metadata.uid != now.metadata.uid || before.metadata.labels != now.metadata.labels ||
         api::is_ready(before) != api::is_ready(now) ||
         static_cast<bool>(before.metadata.deletionTimestamp) !=
             static_cast<bool>(now.metadata.deletionTimestamp) ||
         before.status.phase != now.status.phase || before.status.podIPs != now.status.podIPs ||
         before.status.podIP != now.status.podIP || before.spec.nodeName != now.spec.nodeName;
}

std::optional<std::int32_t> find_port(const api::Pod& pod, const api::ServicePort& port) {
  if (!port.targetPort) return port.port;
  if (!port.targetPort->is_string) return port.targetPort->number;
  const api::ContainerPort* found = named_port(pod.spec.containers, port, false);
  if (!found) found = named_port(pod.spec.initContainers, port, true);
  if (!found) return std::nullopt;
  return found->containerPort;
}

std::string endpoint_hostname(const api::Pod& pod, const api::Service& service) {
  bool named = !pod.spec.hostname.empty() && pod.spec.subdomain == service.metadata.name &&
               pod.metadata.namespace_ == service.metadata.namespace_;
  return named ? pod.spec.hostname : "";
}

api::ObjectReference endpoint_target(const api::Pod& pod) {
  api::ObjectReference target;
  target.kind = "Pod";
  target.namespace_ = pod.metadata.namespace_;
  target.name = pod.metadata.name;
  target.uid = pod.metadata.uid;
  return target;
}

bool is_headless(const api::Service& service) { return service.spec.clusterIP == "None"; }

std::vector<api::DiscoveryEndpointPort> endpoint_ports(const api::Pod& pod, const api::Service& service) {
  std::vector<api::DiscoveryEndpointPort> ports;
  for (const api::ServicePort& wanted : service.spec.ports) {
    std::optional<std::int32_t> number = find_port(pod, wanted);
    if (!number) continue;
    api::DiscoveryEndpointPort& port = ports.emplace_back();
    port.name = wanted.name;
    port.protocol = wanted.protocol;
    port.port = *number;
    port.appProtocol = wanted.appProtocol;
  }
  return ports;
}

void on_endpoint_change(client::Informer<api::Pod> pods, client::Informer<api::Service> services,
                        std::function<void(const ObjectKey&)> enqueue) {
  pods.on_change(
      [services, enqueue = std::move(enqueue)](const Ref<api::Pod>& before, const Ref<api::Pod>& now) {
        if (before && now && !endpoint_changed(*before, *now)) return;
        const api::Pod& any = now ? *now : *before;
        for (const Ref<api::Service>& service : services.list(any.metadata.namespace_))
          if ((before && selects(*service, *before)) || (now && selects(*service, *now)))
            enqueue(key_of(*service));
      });
}

std::vector<Ref<api::Pod>> selected_pods(const client::Informer<api::Pod>& pods,
                                         const api::Service& service) {
  std::vector<Ref<api::Pod>> selected = pods.list(service.metadata.namespace_);
  std::erase_if(selected, [&](const Ref<api::Pod>& pod) { return !selects(service, *pod); });
  return selected;
}

}  // namespace skiff::controllers
