// LimitRanges and ResourceQuotas.

#include <set>

#include "api/gen/core.hpp"
#include "registry/kinds/containers.hpp"
#include "registry/kinds/kind.hpp"
#include "registry/kinds/kinds.hpp"

namespace skiff::registry {
namespace {

using api::Quantity;
using api::quote;
using Amounts = std::map<std::string, Quantity>;

const Path kSpec("spec");

// ---- LimitRanges

const Quantity* find(const Amounts& amounts, const std::string& resource) {
  auto found = amounts.find(resource);
  return found == amounts.end() ? nullptr : &found->second;
}

// One of the maps of an item: every resource must be one that limits of `type` can speak of.
void check_names(const std::string& type, const Amounts& amounts, const Path& item, const char* field,
                 FieldErrors& errors) {
  for (const auto& [resource, amount] : amounts) {
    const Path at = item.key(field, resource);
    if (type == "Container" || type == "Pod") check_container_resource_name(resource, at, errors);
    else check_qualified_name(resource, at, errors);
  }
}

// Two amounts of one resource of which the first must not be the larger; the error stands at `field` and shows `shown`.
struct Order {
  const Quantity* low;
  const char* low_name;
  const Quantity* high;
  const char* high_name;
  const char* field;
  const Quantity* shown;
};

void check_order(const std::vector<Order>& orders, const std::string& resource, const Path& item, FieldErrors& errors) {
  for (const Order& one : orders)
    if (one.low && one.high && *one.low > *one.high)
      errors.invalid(item.key(one.field, resource), quote(one.shown->text()),
                     fmt::format("{} value {} is greater than {} value {}", one.low_name, one.low->text(), one.high_name,
                                 one.high->text()));
}

void check_ratio(const api::LimitRangeItem& limit, const std::string& resource, const Path& item, FieldErrors& errors) {
  const Quantity* ratio = find(limit.maxLimitRequestRatio, resource);
  if (!ratio) return;
  const Path at = item.key("maxLimitRequestRatio", resource);
  if (*ratio < Quantity::of(1))
    errors.invalid(at, quote(ratio->text()), fmt::format("ratio {} is less than 1", ratio->text()));
  const Quantity *min = find(limit.min, resource), *max = find(limit.max, resource);
  if (!min || !max || min->zero()) return;
  double most = static_cast<double>(max->milli()) / static_cast<double>(min->milli());
  if (static_cast<double>(ratio->milli()) / 1000 > most)
    errors.invalid(at, quote(ratio->text()), fmt::format("ratio {} is greater than max/min = {:f}", ratio->text(), most));
}

void check_amounts(const api::LimitRangeItem& limit, const std::string& resource, const Path& item, FieldErrors& errors) {
  const Quantity *min = find(limit.min, resource), *max = find(limit.max, resource);
  const Quantity *standard = find(limit.default_, resource), *request = find(limit.defaultRequest, resource);
  check_order({{min, "min", max, "max", "min", min},
               {min, "min", request, "default request", "defaultRequest", request},
               {request, "default request", max, "max", "defaultRequest", request},
               {request, "default request", standard, "default limit", "defaultRequest", request},
               {min, "min", standard, "default", "default", min},
               {standard, "default", max, "max", "default", max}},
              resource, item, errors);
  check_ratio(limit, resource, item, errors);
  if (!may_overcommit(resource) && standard && request && *standard != *request)
    errors.invalid(item.key("defaultRequest", resource), quote(request->text()),
                   fmt::format("default value {} must equal to defaultRequest value {} in {}", standard->text(),
                               request->text(), resource));
}

void check_limit(const api::LimitRangeItem& limit, const Path& item, FieldErrors& errors) {
  check_names(limit.type, limit.max, item, "max", errors);
  check_names(limit.type, limit.min, item, "min", errors);
  if (limit.type == "Pod") {
    constexpr char kNotForPods[] = "may not be specified when `type` is 'Pod'";
    if (!limit.default_.empty()) errors.forbidden(item.child("default"), kNotForPods);
    if (!limit.defaultRequest.empty()) errors.forbidden(item.child("defaultRequest"), kNotForPods);
  } else {
    check_names(limit.type, limit.default_, item, "default", errors);
    check_names(limit.type, limit.defaultRequest, item, "defaultRequest", errors);
  }
  if (limit.type == "PersistentVolumeClaim" && !limit.min.contains("storage") && !limit.max.contains("storage"))
    errors.required(item.child("limits"), "either minimum or maximum storage value is required, but neither was provided");
  check_names(limit.type, limit.maxLimitRequestRatio, item, "maxLimitRequestRatio", errors);
  std::set<std::string> resources;
  for (const Amounts* amounts : {&limit.min, &limit.max, &limit.default_, &limit.defaultRequest, &limit.maxLimitRequestRatio})
    for (const auto& [resource, amount] : *amounts) resources.insert(resource);
  for (const std::string& resource : resources) check_amounts(limit, resource, item, errors);
}

void validate_limits(const api::LimitRange& range, const api::LimitRange*, FieldErrors& errors) {
  std::set<std::string_view> types;
  for (size_t i = 0; i < range.spec.limits.size(); ++i) {
    const api::LimitRangeItem& limit = range.spec.limits[i];
    const Path item = kSpec.child("limits", i);
    const Path type = item.child("type");
    check_qualified_name(limit.type, type, errors);
    if (limit.type.find('/') == std::string::npos && !is_one_of(limit.type, {"Pod", "Container", "PersistentVolumeClaim"}))
      errors.invalid(type, quote(limit.type), "must be a standard limit type or fully qualified");
    if (!types.insert(limit.type).second) errors.duplicate(type, quote(limit.type));
    check_limit(limit, item, errors);
  }
}

// ---- ResourceQuotas

bool is_quota_resource(std::string_view resource) {
  return is_one_of(resource, {"cpu", "memory", "ephemeral-storage", "requests.cpu", "requests.memory", "requests.storage",
                              "requests.ephemeral-storage", "limits.cpu", "limits.memory", "limits.ephemeral-storage",
                              "pods", "resourcequotas", "services", "replicationcontrollers", "secrets",
                              "persistentvolumeclaims", "configmaps", "services.nodeports", "services.loadbalancers"}) ||
         resource.starts_with("hugepages-") || resource.starts_with("requests.hugepages-");
}
bool is_of_pods(std::string_view resource) {
  return is_one_of(resource, {"cpu", "memory", "ephemeral-storage", "requests.cpu", "requests.memory",
                              "requests.ephemeral-storage", "limits.cpu", "limits.memory", "limits.ephemeral-storage",
                              "pods"}) ||
         resource.starts_with("hugepages-") || resource.starts_with("requests.hugepages-");
}
bool is_count(std::string_view resource) {
  return resource.starts_with("count/") ||
         is_one_of(resource, {"pods", "resourcequotas", "services", "replicationcontrollers", "secrets", "configmaps",
                              "persistentvolumeclaims", "services.nodeports", "services.loadbalancers"}) ||
         is_extended_resource(resource);
}

void check_quota_amounts(const Amounts& amounts, const Path& above, const char* field, FieldErrors& errors) {
  for (const auto& [resource, amount] : amounts) {
    const Path at = above.key(field, resource);
    check_qualified_name(resource, at, errors);
    if (resource.find('/') == std::string::npos && !is_quota_resource(resource))
      errors.invalid(at, quote(resource), "must be a standard resource for quotas");
    require_nonnegative(amount, at, errors);
    if (is_count(resource) && amount.milli() % 1000 != 0) errors.invalid(at, quote(amount.text()), "must be an integer");
  }
}

bool is_scope(std::string_view scope) {
  return is_one_of(scope, {"Terminating", "NotTerminating", "BestEffort", "NotBestEffort", "PriorityClass",
                           "CrossNamespacePodAffinity", "VolumeAttributesClass"});
}

bool suits(std::string_view scope, std::string_view resource) {
  if (scope == "BestEffort") return resource == "pods";
  if (scope == "VolumeAttributesClass") return resource == "persistentvolumeclaims" || resource == "requests.storage";
  return is_of_pods(resource);
}

void check_scope(std::string_view scope, const Amounts& hard, const Path& at, const std::string& shown,
                 FieldErrors& errors) {
  for (const auto& [resource, amount] : hard)
    if (is_quota_resource(resource) && !suits(scope, resource))
      errors.invalid(at, shown, "unsupported scope applied to resource");
}

void check_conflicts(const std::set<std::string_view>& scopes, const Path& at, const std::string& shown,
                     FieldErrors& errors) {
  if ((scopes.contains("BestEffort") && scopes.contains("NotBestEffort")) ||
      (scopes.contains("Terminating") && scopes.contains("NotTerminating")))
    errors.invalid(at, shown, "conflicting scopes");
}

void check_requirement(const api::ScopedResourceSelectorRequirement& one, const Path& at, FieldErrors& errors) {
  const Path op = at.child("operator");
  if (!is_scope(one.scopeName)) errors.invalid(at.child("scopeName"), quote(one.scopeName), "unsupported scope");
  bool plain = is_one_of(one.scopeName, {"BestEffort", "NotBestEffort", "Terminating", "NotTerminating",
                                         "CrossNamespacePodAffinity"});
  if (plain && one.operator_ != "Exists")
    errors.invalid(op, quote(one.operator_),
                   "must be 'Exist' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, "
                   "ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or "
                   "ResourceQuotaScopeCrossNamespacePodAffinity");
  if (is_one_of(one.operator_, {"In", "NotIn"})) {
    if (one.values.empty())
      errors.required(at.child("values"), "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector");
  } else if (is_one_of(one.operator_, {"Exists", "DoesNotExist"})) {
    if (!one.values.empty())
      errors.invalid(at.child("values"), json_of(one.values),
                     "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector");
  } else {
    errors.invalid(op, quote(one.operator_), "not a valid selector operator");
  }
}

void check_scopes(const api::ResourceQuotaSpec& spec, FieldErrors& errors) {
  const Path scopes = kSpec.child("scopes");
  std::set<std::string_view> seen;
  for (const std::string& scope : spec.scopes) {
    if (!is_scope(scope)) errors.invalid(scopes, json_of(spec.scopes), "unsupported scope");
    check_scope(scope, spec.hard, scopes, json_of(spec.scopes), errors);
    seen.insert(scope);
  }
  check_conflicts(seen, scopes, json_of(spec.scopes), errors);
  if (!spec.scopeSelector) return;
  const Path selector = kSpec.child("scopeSelector");
  const Path expressions = selector.child("matchExpressions");
  std::string shown = json_of(api::type_of<api::ScopeSelector>(), &*spec.scopeSelector);
  seen.clear();
  for (const api::ScopedResourceSelectorRequirement& one : spec.scopeSelector->matchExpressions) {
    check_requirement(one, expressions, errors);
    check_scope(one.scopeName, spec.hard, expressions, shown, errors);
    seen.insert(one.scopeName);
  }
  check_conflicts(seen, expressions, shown, errors);
}

void validate_quota(const api::ResourceQuota& quota, const api::ResourceQuota* old, FieldErrors& errors) {
  check_quota_amounts(quota.spec.hard, kSpec, "hard", errors);
  check_scopes(quota.spec, errors);
  if (!old) return;
  if (std::set(quota.spec.scopes.begin(), quota.spec.scopes.end()) !=
      std::set(old->spec.scopes.begin(), old->spec.scopes.end()))
    errors.invalid(kSpec.child("scopes"), json_of(quota.spec.scopes), kImmutable);
}

void validate_quota_status(const api::ResourceQuota& next, const api::ResourceQuota&, FieldErrors& errors) {
  const Path status("status");
  check_quota_amounts(next.status.hard, status, "hard", errors);
  check_quota_amounts(next.status.used, status, "used", errors);
}

}  // namespace

std::vector<Resource> limits() {
  Rules<api::LimitRange> ranges;
  ranges.validate = validate_limits;
  ranges.create_on_update = true;
  Rules<api::ResourceQuota> quotas;
  quotas.validate = validate_quota;
  quotas.validate_status = validate_quota_status;
  quotas.create_on_update = true;
  quotas.returns_deleted = true;
  return {define(ranges), define(quotas)};
}

}  // namespace skiff::registry
