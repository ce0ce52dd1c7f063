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

// Kinds without rules of their own beyond the schema's.
std::vector<Resource> plain_kinds() {
  return {
      define<api::MutatingAdmissionPolicy>({}),
      define<api::MutatingAdmissionPolicyBinding>({}),
      define<api::ValidatingAdmissionPolicy>({.counts_generation = true}),
      define<api::ValidatingAdmissionPolicyBinding>({.counts_generation = true}),
      define<api::LimitRange>({.create_on_update = true}),
      define<api::ResourceQuota>({.create_on_update = true, .returns_deleted = true}),
      define<api::ServiceAccount>({.returns_deleted = true}),
      define<api::FlowSchema>({.counts_generation = true}),
      define<api::PriorityLevelConfiguration>({.counts_generation = true}),
      define<api::IPAddress>({}),
      define<api::ServiceCIDR>({}),
      define<api::PodSecurityPolicy>(
          {.warning = "policy/v1beta1 PodSecurityPolicy is deprecated in v1.21+, unavailable in v1.25+"}),
      define<api::DeviceClass>({.counts_generation = true}),
      define<api::DynamicResourceClaim>({}),
      define<api::ResourceClaimTemplate>({}),
      define<api::ResourceSlice>({}),
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
  append(all, jobs());
  append(all, storage());
  append(all, networking());
  append(all, endpoints());
  append(all, scaling());
  append(all, classes());
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
