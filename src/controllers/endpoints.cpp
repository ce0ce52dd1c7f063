// Keeps the v1 Endpoints of services with a selector (pkg/controller/endpoint).

#include <map>

#include "controllers/behind.hpp"
#include "controllers/kinds.hpp"
#include "controllers/service_endpoints.hpp"

#include "api/pods.hpp"

namespace skiff::controllers {
namespace {

constexpr size_t kMaxAddresses = 1000;
constexpr char kOverCapacity[] = "endpoints.kubernetes.io/over-capacity";
constexpr char kManagedBy[] = "endpoints.kubernetes.io/managed-by";
constexpr char kHeadless[] = "service.kubernetes.io/headless";
constexpr char kTrigger[] = "endpoints.kubernetes.io/last-change-trigger-time";

api::EndpointAddress address_of(const api::Pod& pod, const api::Service& service) {
  api::EndpointAddress address;
  address.ip = pod.status.podIP;
  address.hostname = endpoint_hostname(pod, service);
  address.nodeName = pod.spec.nodeName;
  address.targetRef = endpoint_target(pod);
  return address;
}

std::vector<api::EndpointPort> plain(const std::vector<api::DiscoveryEndpointPort>& ports) {
  std::vector<api::EndpointPort> plain;
  for (const api::DiscoveryEndpointPort& port : ports) {
    api::EndpointPort& one = plain.emplace_back();
    one.name = port.name.value_or("");
    one.protocol = port.protocol;
    one.port = port.port.value_or(0);
    one.appProtocol = port.appProtocol;
  }
  return plain;
}

// Ports as text, so that pods with the same ones share a subset.
std::string port_key(const std::vector<api::EndpointPort>& ports) {
  std::string key;
  for (const api::EndpointPort& port : ports)
    key += fmt::format("{}/{}/{}/{} ", port.name, port.port, port.protocol, port.appProtocol);
  return key;
}

void sort_by_ip(std::vector<api::EndpointAddress>& addresses) {
  std::sort(addresses.begin(), addresses.end(), [](const auto& a, const auto& b) { return a.ip < b.ip; });
}

// One subset for each combination of ports, addresses in order.
std::vector<api::EndpointSubset> subsets_of(const api::Service& service,
                                            const std::vector<Ref<api::Pod>>& pods) {
  std::map<std::string, api::EndpointSubset> by_ports;
  for (const Ref<api::Pod>& pod : pods) {
    if (!has_endpoint(*pod, service.spec.publishNotReadyAddresses)) continue;
    std::vector<api::EndpointPort> ports = plain(endpoint_ports(*pod, service));
    if (ports.empty() && !(service.spec.ports.empty() && is_headless(service))) continue;
    api::EndpointSubset& subset = by_ports[port_key(ports)];
    subset.ports = std::move(ports);
    bool ready = service.spec.publishNotReadyAddresses || api::is_ready(*pod);
    (ready ? subset.addresses : subset.notReadyAddresses).push_back(address_of(*pod, service));
  }
  std::vector<api::EndpointSubset> subsets;
  for (auto& [key, subset] : by_ports) {
    sort_by_ip(subset.addresses);
    sort_by_ip(subset.notReadyAddresses);
    subsets.push_back(std::move(subset));
  }
  return subsets;
}

// Cuts to the limit, addresses that are not ready first; whether anything was cut.
bool truncate(std::vector<api::EndpointSubset>& subsets) {
  size_t room = kMaxAddresses;
  bool cut = false;
  auto take = [&](std::vector<api::EndpointAddress>& addresses) {
    cut |= addresses.size() > room;
    if (addresses.size() > room) addresses.resize(room);
    room -= addresses.size();
  };
  for (api::EndpointSubset& subset : subsets) take(subset.addresses);
  for (api::EndpointSubset& subset : subsets) take(subset.notReadyAddresses);
  return cut;
}

class EndpointsController final : public Controller {
 public:
  explicit EndpointsController(const Context& context)
      : Controller(context, "endpoint-controller", 2),
        services_(context.informers.of<api::Service>()),
        pods_(context.informers.of<api::Pod>()),
        endpoints_(context.informers.of<api::Endpoints>()) {
    services_.on_change([this](const Ref<api::Service>& before, const Ref<api::Service>& now) {
      queue().add(key_of(now ? *now : *before));
    });
    on_endpoint_change(pods_, services_, [this](const ObjectKey& key) { queue().add(key); });
    endpoints_.on_change([this](const Ref<api::Endpoints>& before, const Ref<api::Endpoints>& now) {
      queue().add(key_of(now ? *now : *before));
    });
  }

  Result<Requeue> reconcile(const ObjectKey& key) override {
    if (!fence_.passed(key, endpoints_.revision())) return behind();
    Ref<api::Service> service = services_.get(key);
    Ref<api::Endpoints> current = endpoints_.get(key);
    if (!service) return remove(key, current);
    if (service->spec.type == "ExternalName" || service->spec.selector.empty()) return Requeue::never();
    api::Endpoints next = current ? *current : api::Endpoints();
    fill(next, *service);
    if (current && next == *current) return Requeue::never();
    Result<Ref<api::Endpoints>> written =
        current ? client_.update(std::move(next)) : client_.create(std::move(next));
    if (!written.ok() && is_gone(written.error())) return Requeue::never();
    TRY(written);
    fence_.wrote(key, client::revision_of(written.value()->metadata));
    return Requeue::never();
  }

 private:
  static bool is_gone(const Error& error) {
    return error.code() == Code::Forbidden || error.code() == Code::NotFound;  // the namespace is going
  }

  Result<Requeue> remove(const ObjectKey& key, const Ref<api::Endpoints>& current) {
    fence_.forget(key);
    // Endpoints that a user keeps without a service are not ours to delete.
    if (!current || !current->metadata.labels.contains(kManagedBy)) return Requeue::never();
    Result<AnyRef> removed = client_.remove<api::Endpoints>(key, {.uid = current->metadata.uid});
    if (!removed.ok() && removed.error().code() != Code::NotFound) return std::move(removed).error();
    return Requeue::never();
  }

  void fill(api::Endpoints& next, const api::Service& service) {
    next.metadata.namespace_ = service.metadata.namespace_;
    next.metadata.name = service.metadata.name;
    next.metadata.labels = service.metadata.labels;
    next.metadata.labels[kManagedBy] = "endpoint-controller";
    if (is_headless(service)) next.metadata.labels[kHeadless] = "";
    std::vector<api::EndpointSubset> subsets = subsets_of(service, selected_pods(pods_, service));
    if (truncate(subsets))
      next.metadata.annotations[kOverCapacity] = "truncated";
    else
      next.metadata.annotations.erase(kOverCapacity);
    if (subsets == next.subsets) return;
    next.subsets = std::move(subsets);
    next.metadata.annotations[kTrigger] = wall_now().text();
  }

  client::Informer<api::Service> services_;
  client::Informer<api::Pod> pods_;
  client::Informer<api::Endpoints> endpoints_;
  client::Fence fence_;
};

}  // namespace

std::unique_ptr<Controller> endpoints(const Context& context) {
  return std::make_unique<EndpointsController>(context);
}

}  // namespace skiff::controllers
