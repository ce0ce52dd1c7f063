// What containers may ask for and how much of it.

#include <algorithm>

#include "registry/kinds/containers.hpp"

namespace skiff::registry {
namespace {

using api::quote;

bool is_huge(std::string_view resource) { return resource.starts_with("hugepages-"); }
bool is_native(std::string_view resource) {
  return resource.find('/') == std::string_view::npos || resource.find("kubernetes.io/") != std::string_view::npos;
}
bool is_for_containers(std::string_view resource) {
  return is_one_of(resource, {"cpu", "memory", "ephemeral-storage"}) || is_huge(resource);
}
bool is_standard(std::string_view resource) {
  return is_for_containers(resource) ||
         is_one_of(resource, {"storage", "pods", "services", "replicationcontrollers", "resourcequotas", "secrets",
                              "configmaps", "persistentvolumeclaims", "requests.cpu", "requests.memory",
                              "requests.storage", "requests.ephemeral-storage", "limits.cpu", "limits.memory",
                              "limits.ephemeral-storage", "services.nodeports", "services.loadbalancers"}) ||
         resource.starts_with("requests.hugepages-");
}

bool is_compute(std::string_view resource) { return resource == "cpu" || resource == "memory"; }

void check_request_against_limit(const std::string& resource, const api::Quantity& request,
                                 const api::ResourceRequirements& resources, const Path& path, FieldErrors& errors) {
  auto limit = resources.limits.find(resource);
  auto refuse = [&](const char* relation) {
    errors.invalid(path.child("requests"), quote(request.text()),
                   fmt::format("must be {} {} limit of {}", relation, resource, limit->second.text()));
  };
  if (limit != resources.limits.end()) {
    if (request != limit->second && !may_overcommit(resource)) refuse("equal to");
    else if (request > limit->second) refuse("less than or equal to");
  } else if (!may_overcommit(resource)) {
    errors.required(path.child("limits"), "Limit must be set for non overcommitable resources");
  }
}

}  // namespace

bool may_overcommit(std::string_view resource) { return is_native(resource) && !is_huge(resource); }

bool is_extended_resource(std::string_view resource) {
  if (is_native(resource) || resource.starts_with("requests.")) return false;
  return api::qualified_name_problems("requests." + std::string(resource)).empty();
}

void check_container_resource_name(const std::string& resource, const Path& path, FieldErrors& errors) {
  check_qualified_name(resource, path, errors);
  if (resource.find('/') == std::string::npos) {
    if (!is_standard(resource))
      errors.invalid(path, quote(resource), "must be a standard resource type or fully qualified");
    if (!is_for_containers(resource)) errors.invalid(path, quote(resource), "must be a standard resource for containers");
  } else if (!is_native(resource) && !is_extended_resource(resource)) {
    errors.invalid(path, quote(resource), "doesn't follow extended resource name standard");
  }
}

void check_resource_amount(const std::string& resource, const api::Quantity& amount, const Path& path,
                           FieldErrors& errors) {
  check_container_resource_name(resource, path, errors);
  require_nonnegative(amount, path, errors);
  bool whole = is_extended_resource(resource) || is_one_of(resource, {"pods", "services", "secrets", "configmaps"});
  if (whole && amount.milli() % 1000 != 0) errors.invalid(path, quote(amount.text()), "must be an integer");
}

void check_resources(const api::ResourceRequirements& resources, const Path& path, FieldErrors& errors) {
  bool compute = false, huge = false;
  for (const auto& [resource, amount] : resources.limits) {
    check_resource_amount(resource, amount, path.key("limits", resource), errors);
    compute = compute || is_compute(resource);
    huge = huge || is_huge(resource);
  }
  for (const auto& [resource, amount] : resources.requests) {
    check_resource_amount(resource, amount, path.key("requests", resource), errors);
    check_request_against_limit(resource, amount, resources, path, errors);
    compute = compute || is_compute(resource);
    huge = huge || is_huge(resource);
  }
  if (huge && !compute) errors.forbidden(path, "HugePages require cpu or memory");
}

}  // namespace skiff::registry
