// Keeps the EndpointSlices of services with a selector (pkg/controller/endpointslice).

#include "controllers/behind.hpp"
#include "controllers/kinds.hpp"
#include "controllers/service_endpoints.hpp"
#include "controllers/slice_writer.hpp"

#include "api/gen/nodes.hpp"
#include "api/pods.hpp"

namespace skiff::controllers {
namespace {

constexpr char kManager[] = "endpointslice-controller.k8s.io";
constexpr char kHeadless[] = "service.kubernetes.io/headless";
constexpr char kZone[] = "topology.kubernetes.io/zone";

std::vector<std::string> addresses_of(const api::Pod& pod, const std::string& family) {
  std::vector<std::string> addresses;
  auto add = [&](const std::string& ip) {
    bool six = ip.find(':') != std::string::npos;
    if (!ip.empty() && six == (family == "IPv6")) addresses.push_back(ip);
  };
  for (const api::PodIP& ip : pod.status.podIPs) add(ip.ip);
  if (pod.status.podIPs.empty()) add(pod.status.podIP);
  return addresses;
}

api::Endpoint endpoint_of(const api::Pod& pod, const api::Service& service) {
  bool serving = api::is_ready(pod), terminating = static_cast<bool>(pod.metadata.deletionTimestamp);
  api::Endpoint endpoint;
  api::EndpointConditions& conditions = endpoint.conditions.emplace();
  conditions.ready = service.spec.publishNotReadyAddresses || (serving && !terminating);
  conditions.serving = serving;
  conditions.terminating = terminating;
  endpoint.targetRef = endpoint_target(pod);
  endpoint.nodeName = pod.spec.nodeName;
  endpoint.hostname = endpoint_hostname(pod, service);
  return endpoint;
}

class EndpointSlices final : public Controller {
 public:
  explicit EndpointSlices(const Context& context)
      : Controller(context, "endpointslice-controller", 2),
        services_(context.informers.of<api::Service>()),
        pods_(context.informers.of<api::Pod>()),
        nodes_(context.informers.of<api::Node>()),
        slices_(context.informers.of<api::EndpointSlice>()) {
    index_slices(slices_);
    services_.on_change([this](const Ref<api::Service>& before, const Ref<api::Service>& now) {
      queue().add(key_of(now ? *now : *before));
    });
    on_endpoint_change(pods_, services_, [this](const ObjectKey& key) { queue().add(key); });
    slices_.on_change([this](const Slice& before, const Slice& now) {
      ObjectKey key = service_key(now ? *now : *before, kManager);
      if (!key.name.empty()) queue().add(key);
    });
  }

  Result<Requeue> reconcile(const ObjectKey& key) override {
    if (!fence_.passed(key, slices_.revision())) return behind();
    Ref<api::Service> service = services_.get(key);
    if (!service) {  // the garbage collector takes the slices
      fence_.forget(key);
      return Requeue::never();
    }
    std::vector<Slice> existing = slices_of(slices_, key, kManager);
    if (service->spec.type == "ExternalName" || service->spec.selector.empty()) {
      SlicePlan none;
      none.remove = existing;
      TRY(write_slices(client_, key, std::move(none), fence_));
      return Requeue::never();
    }
    std::vector<Ref<api::Pod>> pods = selected_pods(pods_, *service);
    std::vector<std::string> families = service->spec.ipFamilies;
    if (families.empty()) families = {"IPv4"};
    for (const std::string& family : families) {
      std::vector<Slice> of_family;
      std::erase_if(existing, [&](const Slice& slice) {
        if (slice->addressType != family) return false;
        of_family.push_back(slice);
        return true;
      });
      TRY(write_slices(client_, key, plan(*service, pods, family, of_family), fence_));
    }
    SlicePlan stale;  // of families that the service no longer has
    stale.remove = std::move(existing);
    TRY(write_slices(client_, key, std::move(stale), fence_));
    return Requeue::never();
  }

 private:
  SlicePlan plan(const api::Service& service, const std::vector<Ref<api::Pod>>& pods,
                 const std::string& family, const std::vector<Slice>& existing) {
    EndpointGroups groups;
    for (const Ref<api::Pod>& pod : pods) {
      if (!has_endpoint(*pod, true)) continue;
      std::vector<std::string> addresses = addresses_of(*pod, family);
      if (addresses.empty()) continue;
      api::Endpoint endpoint = endpoint_of(*pod, service);
      endpoint.addresses = std::move(addresses);
      endpoint.zone = zone_of(pod->spec.nodeName);
      groups.add(endpoint_ports(*pod, service), std::move(endpoint));
    }
    return plan_slices(model(service, family), groups.take(), existing);
  }

  std::string zone_of(const std::string& node_name) {
    Ref<api::Node> node = nodes_.get({"", node_name});
    if (!node) return "";
    auto zone = node->metadata.labels.find(kZone);
    return zone == node->metadata.labels.end() ? "" : zone->second;
  }

  static api::EndpointSlice model(const api::Service& service, const std::string& family) {
    api::EndpointSlice slice;
    slice.metadata.generateName = service.metadata.name + "-";
    slice.metadata.namespace_ = service.metadata.namespace_;
    slice.metadata.ownerReferences = {client::controller_ref(service)};
    slice.metadata.labels = service.metadata.labels;
    slice.metadata.labels.erase(kHeadless);
    if (is_headless(service)) slice.metadata.labels[kHeadless] = "";
    slice.metadata.labels[kServiceName] = service.metadata.name;
    slice.metadata.labels[kSliceManagedBy] = kManager;
    slice.addressType = family;
    return slice;
  }

  client::Informer<api::Service> services_;
  client::Informer<api::Pod> pods_;
  client::Informer<api::Node> nodes_;
  client::Informer<api::EndpointSlice> slices_;
  client::Fence fence_;
};

}  // namespace

std::unique_ptr<Controller> endpoint_slices(const Context& context) {
  return std::make_unique<EndpointSlices>(context);
}

}  // namespace skiff::controllers
