// HorizontalPodAutoscalers and PodDisruptionBudgets.

#include "api/gen/autoscaling.hpp"
#include "api/gen/policy.hpp"
#include "registry/kinds/kind.hpp"
#include "registry/kinds/kinds.hpp"
#include "registry/kinds/volumes.hpp"

namespace skiff::registry {
namespace {

using api::quote;

const Path kSpec("spec");
constexpr char kAboveZero[] = "must be greater than 0";

void check_reference(const api::CrossVersionObjectReference& to, const Path& path, FieldErrors& errors) {
  if (require(to.kind, path.child("kind"), errors))
    add_problems(path.child("kind"), to.kind, api::path_segment_problems(to.kind), errors);
  if (require(to.name, path.child("name"), errors))
    add_problems(path.child("name"), to.name, api::path_segment_problems(to.name), errors);
}

void check_target(const api::MetricTarget& target, const Path& path, FieldErrors& errors) {
  if (target.type.empty()) errors.required(path.child("type"), "must specify a metric target type");
  if (!is_one_of(target.type, {"Utilization", "Value", "AverageValue"}))
    errors.invalid(path.child("type"), quote(target.type), "must be either Utilization, Value, or AverageValue");
  auto positive = [&](const std::optional<api::Quantity>& value, const char* name) {
    if (value && *value <= api::Quantity::of(0)) errors.invalid(path.child(name), quote(value->text()), "must be positive");
  };
  positive(target.value, "value");
  positive(target.averageValue, "averageValue");
  if (target.averageUtilization && *target.averageUtilization < 1)
    errors.invalid(path.child("averageUtilization"), std::to_string(*target.averageUtilization), kAboveZero);
}

void check_metric(const api::MetricIdentifier& metric, const Path& path, FieldErrors& errors) {
  if (metric.name.empty()) errors.required(path.child("name"), "must specify a metric name");
  else add_problems(path.child("name"), metric.name, api::path_segment_problems(metric.name), errors);
}

template <class Source>
void check_resource_source(const Source& source, const Path& path, FieldErrors& errors) {
  if (source.name.empty()) errors.required(path.child("name"), "must specify a resource name");
  const Path target = path.child("target");
  check_target(source.target, target, errors);
  if (!source.target.averageUtilization && !source.target.averageValue)
    errors.required(target.child("averageUtilization"), "must set either a target raw value or a target utilization");
  if (source.target.averageUtilization && source.target.averageValue)
    errors.forbidden(target.child("averageValue"), "may not set both a target raw value and a target utilization");
}

void check_sources(const api::MetricSpec& metric, const Path& path, FieldErrors& errors) {
  if (metric.object) {
    const Path at = path.child("object");
    check_reference(metric.object->describedObject, at.child("describedObject"), errors);
    check_metric(metric.object->metric, at.child("metric"), errors);
    const Path target = at.child("target");
    check_target(metric.object->target, target, errors);
    if (!metric.object->target.value && !metric.object->target.averageValue)
      errors.required(target.child("averageValue"), "must set either a target value or averageValue");
  }
  if (metric.pods) {
    const Path at = path.child("pods");
    check_metric(metric.pods->metric, at.child("metric"), errors);
    const Path target = at.child("target");
    check_target(metric.pods->target, target, errors);
    if (!metric.pods->target.averageValue)
      errors.required(target.child("averageValue"), "must specify a positive target averageValue");
  }
  if (metric.resource) check_resource_source(*metric.resource, path.child("resource"), errors);
  if (metric.containerResource) {
    const Path at = path.child("containerResource");
    if (metric.containerResource->container.empty()) errors.required(at.child("container"), "must specify a container name");
    check_resource_source(*metric.containerResource, at, errors);
  }
  if (metric.external) {
    const Path at = path.child("external");
    check_metric(metric.external->metric, at.child("metric"), errors);
    const Path target = at.child("target");
    check_target(metric.external->target, target, errors);
    if (!metric.external->target.value && !metric.external->target.averageValue)
      errors.required(target.child("averageValue"), "must set either a target value for metric or a per-pod target");
    if (metric.external->target.value && metric.external->target.averageValue)
      errors.forbidden(target.child("value"), "may not set both a target value for metric and a per-pod target");
  }
}

void check_metric_spec(const api::MetricSpec& metric, const Path& path, FieldErrors& errors) {
  if (metric.type.empty()) errors.required(path.child("type"), "must specify a metric source type");
  if (!is_one_of(metric.type, {"ContainerResource", "External", "Object", "Pods", "Resource"}))
    errors.not_supported(path.child("type"), metric.type, {"ContainerResource", "External", "Object", "Pods", "Resource"});
  check_sources(metric, path, errors);
  std::string expected = metric.type;
  if (!expected.empty()) expected[0] = static_cast<char>(expected[0] | 0x20);
  bool populated = false;
  auto seen = [&](bool set, const char* name) {
    if (!set) return;
    if (expected == name) populated = true;
    else errors.forbidden(path.child(name), "must populate the given metric source only");
  };
  seen(bool(metric.object), "object");
  seen(bool(metric.external), "external");
  seen(bool(metric.pods), "pods");
  seen(bool(metric.resource), "resource");
  seen(bool(metric.containerResource), "containerResource");
  if (!populated && !metric.type.empty())
    errors.required(path.child(expected), "must populate information for the given metric source");
}

void check_scaling(const api::HPAScalingRules& rules, const Path& path, FieldErrors& errors) {
  if (rules.stabilizationWindowSeconds) {
    const Path at = path.child("stabilizationWindowSeconds");
    require_nonnegative(rules.stabilizationWindowSeconds, at, errors);
    if (*rules.stabilizationWindowSeconds > 3600)
      errors.invalid(at, std::to_string(*rules.stabilizationWindowSeconds), "must be less than or equal to 3600");
  }
  if (!rules.selectPolicy.empty())
    check_one_of(rules.selectPolicy, path.child("selectPolicy"), {"Disabled", "Max", "Min"}, errors);
  if (rules.policies.empty()) errors.required(path.child("policies"), "must specify at least one Policy");
  for (size_t i = 0; i < rules.policies.size(); ++i) {
    const api::HPAScalingPolicy& policy = rules.policies[i];
    const Path at = path.child("policies", i);
    check_one_of(policy.type, at.child("type"), {"Percent", "Pods"}, errors);
    if (policy.value <= 0) errors.invalid(at.child("value"), std::to_string(policy.value), kPositive);
    if (policy.periodSeconds <= 0)
      errors.invalid(at.child("periodSeconds"), std::to_string(policy.periodSeconds), kPositive);
    if (policy.periodSeconds > 1800)
      errors.invalid(at.child("periodSeconds"), std::to_string(policy.periodSeconds), "must be less than or equal to 1800");
  }
}

void validate_autoscaler(const api::HorizontalPodAutoscaler& object, const api::HorizontalPodAutoscaler*,
                         FieldErrors& errors) {
  const api::HorizontalPodAutoscalerSpec& spec = object.spec;
  if (spec.minReplicas && *spec.minReplicas < 1)
    errors.invalid(kSpec.child("minReplicas"), std::to_string(*spec.minReplicas), "must be greater than or equal to 1");
  if (spec.maxReplicas < 1) errors.invalid(kSpec.child("maxReplicas"), std::to_string(spec.maxReplicas), kAboveZero);
  if (spec.minReplicas && spec.maxReplicas < *spec.minReplicas)
    errors.invalid(kSpec.child("maxReplicas"), std::to_string(spec.maxReplicas),
                   "must be greater than or equal to `minReplicas`");
  check_reference(spec.scaleTargetRef, kSpec.child("scaleTargetRef"), errors);
  for (size_t i = 0; i < spec.metrics.size(); ++i) check_metric_spec(spec.metrics[i], kSpec.child("metrics", i), errors);
  if (!spec.behavior) return;
  const Path behavior = kSpec.child("behavior");
  if (spec.behavior->scaleUp) check_scaling(*spec.behavior->scaleUp, behavior.child("scaleUp"), errors);
  if (spec.behavior->scaleDown) check_scaling(*spec.behavior->scaleDown, behavior.child("scaleDown"), errors);
}

void validate_budget(const api::PodDisruptionBudget& budget, const api::PodDisruptionBudget*, FieldErrors& errors) {
  const api::PodDisruptionBudgetSpec& spec = budget.spec;
  if (spec.minAvailable && spec.maxUnavailable)
    errors.invalid(kSpec, "{}", "minAvailable and maxUnavailable cannot be both set");
  auto check = [&](const std::optional<api::IntOrString>& value, const char* name) {
    if (!value) return;
    check_percent_or_number(*value, kSpec.child(name), errors);
    check_not_above_100_percent(*value, kSpec.child(name), errors);
  };
  check(spec.minAvailable, "minAvailable");
  check(spec.maxUnavailable, "maxUnavailable");
  if (spec.selector) check_label_selector(*spec.selector, kSpec.child("selector"), errors);
  if (!spec.unhealthyPodEvictionPolicy.empty())
    check_one_of(spec.unhealthyPodEvictionPolicy, kSpec.child("unhealthyPodEvictionPolicy"),
                 {"AlwaysAllow", "IfHealthyBudget"}, errors);
}

void validate_budget_status(const api::PodDisruptionBudget& budget, const api::PodDisruptionBudget&,
                            FieldErrors& errors) {
  const Path path("status");
  require_nonnegative(budget.status.disruptionsAllowed, path.child("disruptionsAllowed"), errors);
  require_nonnegative(budget.status.currentHealthy, path.child("currentHealthy"), errors);
  require_nonnegative(budget.status.desiredHealthy, path.child("desiredHealthy"), errors);
  require_nonnegative(budget.status.expectedPods, path.child("expectedPods"), errors);
}

}  // namespace

std::vector<Resource> scaling() {
  Rules<api::HorizontalPodAutoscaler> autoscalers;
  autoscalers.validate = validate_autoscaler;
  autoscalers.counts_generation = true;
  Rules<api::PodDisruptionBudget> budgets;
  budgets.validate = validate_budget;
  budgets.validate_status = validate_budget_status;
  budgets.counts_generation = true;
  return {define(autoscalers), define(budgets)};
}

}  // namespace skiff::registry
