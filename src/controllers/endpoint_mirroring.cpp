// Mirrors the Endpoints that users keep for services without a selector into EndpointSlices
// (pkg/controller/endpointslicemirroring).

#include "controllers/behind.hpp"
#include "controllers/kinds.hpp"
#include "controllers/slice_writer.hpp"

#include "api/gen/service.hpp"

namespace skiff::controllers {
namespace {

constexpr char kManager[] = "endpointslicemirroring-controller.k8s.io";
constexpr char kSkip[] = "endpointslice.kubernetes.io/skip-mirror";
constexpr char kLeader[] = "control-plane.alpha.kubernetes.io/leader";
constexpr char kTrigger[] = "endpoints.kubernetes.io/last-change-trigger-time";
constexpr char kLastApplied[] = "kubectl.kubernetes.io/last-applied-configuration";

bool is_mirrored(const api::Endpoints& endpoints) {
  auto skip = endpoints.metadata.labels.find(kSkip);
  if (skip != endpoints.metadata.labels.end() && skip->second == "true") return false;
  return !endpoints.metadata.annotations.contains(kLeader);
}

api::Endpoint endpoint_of(const api::EndpointAddress& address, bool ready) {
  api::Endpoint endpoint;
  endpoint.addresses = {address.ip};
  endpoint.conditions.emplace().ready = ready;
  endpoint.hostname = address.hostname;
  endpoint.nodeName = address.nodeName;
  endpoint.targetRef = address.targetRef;
  return endpoint;
}

std::string family_of(const std::string& ip) { return ip.find(':') == std::string::npos ? "IPv4" : "IPv6"; }

std::vector<EndpointGroup> groups_of(const api::Endpoints& endpoints, const std::string& family) {
  EndpointGroups groups;
  for (const api::EndpointSubset& subset : endpoints.subsets) {
    Ports ports;
    for (const api::EndpointPort& port : subset.ports) {
      api::DiscoveryEndpointPort& one = ports.emplace_back();
      one.name = port.name;
      one.protocol = port.protocol;
      one.port = port.port;
      one.appProtocol = port.appProtocol;
    }
    for (const api::EndpointAddress& address : subset.addresses)
      if (family_of(address.ip) == family) groups.add(ports, endpoint_of(address, true));
    for (const api::EndpointAddress& address : subset.notReadyAddresses)
      if (family_of(address.ip) == family) groups.add(ports, endpoint_of(address, false));
  }
  return groups.take();
}

api::EndpointSlice model(const api::Endpoints& endpoints, const std::string& family) {
  api::EndpointSlice slice;
  slice.metadata.generateName = endpoints.metadata.name + "-";
  slice.metadata.namespace_ = endpoints.metadata.namespace_;
  slice.metadata.ownerReferences = {client::controller_ref(endpoints)};
  slice.metadata.labels = endpoints.metadata.labels;
  slice.metadata.labels[kServiceName] = endpoints.metadata.name;
  slice.metadata.labels[kSliceManagedBy] = kManager;
  slice.metadata.annotations = endpoints.metadata.annotations;
  slice.metadata.annotations.erase(kTrigger);
  slice.metadata.annotations.erase(kLastApplied);
  slice.addressType = family;
  return slice;
}

class EndpointMirroring final : public Controller {
 public:
  explicit EndpointMirroring(const Context& context)
      : Controller(context, "endpointslicemirroring-controller"),
        services_(context.informers.of<api::Service>()),
        endpoints_(context.informers.of<api::Endpoints>()),
        slices_(context.informers.of<api::EndpointSlice>()) {
    index_slices(slices_);
    services_.on_change([this](const Ref<api::Service>& before, const Ref<api::Service>& now) {
      queue().add(key_of(now ? *now : *before));
    });
    endpoints_.on_change([this](const Ref<api::Endpoints>& before, const Ref<api::Endpoints>& now) {
      queue().add(key_of(now ? *now : *before));
    });
    slices_.on_change([this](const Slice& before, const Slice& now) {
      ObjectKey key = service_key(now ? *now : *before, kManager);
      if (!key.name.empty()) queue().add(key);
    });
  }

  Result<Requeue> reconcile(const ObjectKey& key) override {
    if (!fence_.passed(key, slices_.revision())) return behind();
    std::vector<Slice> existing = slices_of(slices_, key, kManager);
    Ref<api::Service> service = services_.get(key);
    Ref<api::Endpoints> endpoints = endpoints_.get(key);
    bool wanted = service && service->spec.selector.empty() && endpoints && is_mirrored(*endpoints);
    for (const char* family : {"IPv4", "IPv6"}) {
      std::vector<Slice> of_family;
      for (const Slice& slice : existing)
        if (slice->addressType == family) of_family.push_back(slice);
      std::vector<EndpointGroup> groups;
      if (wanted) groups = groups_of(*endpoints, family);
      SlicePlan plan;
      if (groups.empty())
        plan.remove = of_family;  // a mirror of nothing is no slice
      else
        plan = plan_slices(model(*endpoints, family), std::move(groups), of_family);
      TRY(write_slices(client_, key, std::move(plan), fence_));
    }
    if (!endpoints) fence_.forget(key);
    return Requeue::never();
  }

 private:
  client::Informer<api::Service> services_;
  client::Informer<api::Endpoints> endpoints_;
  client::Informer<api::EndpointSlice> slices_;
  client::Fence fence_;
};

}  // namespace

std::unique_ptr<Controller> endpoint_mirroring(const Context& context) {
  return std::make_unique<EndpointMirroring>(context);
}

}  // namespace skiff::controllers
