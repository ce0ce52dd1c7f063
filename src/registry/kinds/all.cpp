// Every resource served.

#include "api/gen/admissionregistration.hpp"
#include "api/gen/apps.hpp"
#include "api/gen/autoscaling.hpp"
#include "api/gen/coordination.hpp"
#include "api/gen/core.hpp"
#include "api/gen/discovery.hpp"
#include "api/gen/flowcontrol.hpp"
#include "api/gen/networking.hpp"
#include "api/gen/node.hpp"
#include "api/gen/pod.hpp"
#include "api/gen/policy.hpp"
#include "api/gen/resource.hpp"
#include "api/gen/scheduling.hpp"
#include "api/gen/service.hpp"
#include "api/gen/storage.hpp"
#include "api/gen/volume.hpp"
#include <iterator>

#include "registry/kinds/kind.hpp"
#include "registry/kinds/kinds.hpp"

namespace skiff::registry {
namespace {

// A volume or claim waits for its other half from the start.
template <class T>
Status begin_pending(T& object, StrategyContext&) {
  object.status.phase = "Pending";
  return ok();
}

// Kinds without rules of their own beyond the schema's.
std::vector<Resource> plain_kinds() {
  return {
      define<api::MutatingAdmissionPolicy>({}),
      define<api::MutatingAdmissionPolicyBinding>({}),
      define<api::ValidatingAdmissionPolicy>({.counts_generation = true}),
      define<api::ValidatingAdmissionPolicyBinding>({.counts_generation = true}),
      define<api::ControllerRevision>({}),
      define<api::HorizontalPodAutoscaler>({.counts_generation = true}),
      define<api::LimitRange>({.create_on_update = true}),
      define<api::ResourceQuota>({.create_on_update = true, .returns_deleted = true}),
      define<api::ServiceAccount>({.returns_deleted = true}),
      define<api::EndpointSlice>({.counts_generation = true}),
      // Heartbeats: never written to disk while the nodes live in this process.
      define<api::Lease>({.create_on_update = true, .durable = false}),
      define<api::FlowSchema>({.counts_generation = true}),
      define<api::PriorityLevelConfiguration>({.counts_generation = true}),
      define<api::IPAddress>({}),
      define<api::Ingress>({.counts_generation = true}),
      define<api::IngressClass>({.counts_generation = true}),
      define<api::NetworkPolicy>({.counts_generation = true}),
      define<api::ServiceCIDR>({}),
      define<api::RuntimeClass>({}),
      define<api::PodTemplate>({.returns_deleted = true}),
      define<api::PodDisruptionBudget>({.counts_generation = true}),
      define<api::PodSecurityPolicy>(
          {.warning = "policy/v1beta1 PodSecurityPolicy is deprecated in v1.21+, unavailable in v1.25+"}),
      define<api::DeviceClass>({.counts_generation = true}),
      define<api::DynamicResourceClaim>({}),
      define<api::ResourceClaimTemplate>({}),
      define<api::ResourceSlice>({}),
      define<api::PriorityClass>({}),
      define<api::Endpoints>(
          {.create_on_update = true,
           .warning = "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"}),
      define<api::CSIDriver>({.counts_generation = true}),
      define<api::CSINode>({}),
      define<api::CSIStorageCapacity>({}),
      define<api::StorageClass>({}),
      define<api::VolumeAttachment>({}),
      define<api::VolumeAttributesClass>({}),
      define<api::PersistentVolume>({.prepare_create = begin_pending, .returns_deleted = true}),
      define<api::PersistentVolumeClaim>({.prepare_create = begin_pending, .returns_deleted = true}),
  };
}

void append(std::vector<Resource>& all, std::vector<Resource> more) {
  std::move(more.begin(), more.end(), std::back_inserter(all));
}

}  // namespace

std::vector<Resource> all_resources(std::shared_ptr<ServiceRanges> ranges) {
  std::vector<Resource> all;
  all.push_back(pods());
  all.push_back(namespaces());
  all.push_back(nodes());
  all.push_back(config_maps());
  all.push_back(secrets());
  all.push_back(events());
  all.push_back(custom_resource_definitions());
  all.push_back(services(std::move(ranges)));
  append(all, workloads());
  append(all, reviews());
  append(all, rbac());
  append(all, webhook_configurations());
  append(all, unstored_kinds());
  all.push_back(certificate_signing_requests());
  all.push_back(api_services());
  append(all, plain_kinds());
  return all;
}

}  // namespace skiff::registry
