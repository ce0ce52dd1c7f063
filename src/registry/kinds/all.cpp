// Every resource served.

#include "api/gen/core.hpp"
#include "api/gen/policy.hpp"
#include <iterator>

#include "registry/kinds/kind.hpp"
#include "registry/kinds/kinds.hpp"

namespace skiff::registry {
namespace {

// Kinds without rules of their own beyond the schema's.
std::vector<Resource> plain_kinds() {
  return {
      define<api::ServiceAccount>({.returns_deleted = true}),
      define<api::PodSecurityPolicy>(
          {.warning = "policy/v1beta1 PodSecurityPolicy is deprecated in v1.21+, unavailable in v1.25+"}),
  };
}

void append(std::vector<Resource>& all, std::vector<Resource> more) {
  std::move(more.begin(), more.end(), std::back_inserter(all));
}

}  // namespace

std::vector<Resource> all_resources(std::shared_ptr<ServiceRanges> ranges, std::shared_ptr<const UsageSource> usage) {
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
  append(all, admission_policies());
  append(all, flow_control());
  append(all, limits());
  append(all, addresses());
  append(all, dynamic_resources());
  append(all, unstored_kinds());
  append(all, usage_kinds(std::move(usage)));
  all.push_back(certificate_signing_requests());
  all.push_back(api_services());
  append(all, plain_kinds());
  return all;
}

}  // namespace skiff::registry
