// Deployments, ReplicaSets, StatefulSets, DaemonSets, ReplicationControllers.

#include "api/gen/apps.hpp"
#include "api/gen/pod.hpp"
#include "api/gen/volume.hpp"
#include "api/json.hpp"
#include "api/selector.hpp"
#include "registry/kinds/kind.hpp"
#include "registry/kinds/kinds.hpp"
#include "registry/kinds/pod_template.hpp"
#include "registry/kinds/volumes.hpp"

namespace skiff::registry {
namespace {

using api::quote;

constexpr char kMismatch[] = "`selector` does not match template `labels`";
const Path kSpec("spec");
const Path kTemplate("spec.template");
const Path kStatus("status");

void check_match(const api::LabelSelector& selector, const api::PodTemplateSpec& pod_template, FieldErrors& errors) {
  if (is_empty(selector)) return;
  Result<api::Selector> compiled = api::Selector::from(selector);
  if (compiled.ok() && !compiled.value().matches(pod_template.metadata.labels))
    errors.invalid(kTemplate.child("metadata.labels"), json_of(pod_template.metadata.labels), kMismatch);
}

void check_selector(const api::LabelSelector& selector, const char* why_not_empty, FieldErrors& errors) {
  check_label_selector(selector, kSpec.child("selector"), errors);
  if (is_empty(selector)) errors.invalid(kSpec.child("selector"), json_of(selector), why_not_empty);
}

// Pods of workloads are to run for ever.
void check_endless(const api::PodSpec& spec, const char* kind, FieldErrors& errors) {
  const Path at = kTemplate.child("spec");
  if (spec.restartPolicy != "Always") errors.not_supported(at.child("restartPolicy"), spec.restartPolicy, {"Always"});
  if (spec.activeDeadlineSeconds)
    errors.forbidden(at.child("activeDeadlineSeconds"), fmt::format("activeDeadlineSeconds in {} is not Supported", kind));
}

template <class T>
void selector_is_immutable(const T& object, const T* old, FieldErrors& errors) {
  if (old) require_same(object.spec.selector, old->spec.selector, kSpec.child("selector"), errors);
}

// The whole strategy is the value that is not supported.
void unsupported_strategy(const std::string& type, const Path& path, const char* supported, FieldErrors& errors) {
  errors.add({api::FieldError::Type::NotSupported, path,
              fmt::format("Unsupported value: {{\"Type\":{},\"RollingUpdate\":null}}: supported values: {}", quote(type),
                          supported)});
}

// ---- Deployments

void check_rolling_update(const api::RollingUpdateDeployment& rolling, const Path& path, FieldErrors& errors) {
  if (rolling.maxUnavailable) check_percent_or_number(*rolling.maxUnavailable, path.child("maxUnavailable"), errors);
  if (rolling.maxSurge) check_percent_or_number(*rolling.maxSurge, path.child("maxSurge"), errors);
  if (rolling.maxUnavailable && rolling.maxSurge && is_zero(*rolling.maxUnavailable) && is_zero(*rolling.maxSurge))
    errors.invalid(path.child("maxUnavailable"),
                   rolling.maxUnavailable->is_string ? quote(rolling.maxUnavailable->text) : "0",
                   "may not be 0 when `maxSurge` is 0");
  if (rolling.maxUnavailable) check_not_above_100_percent(*rolling.maxUnavailable, path.child("maxUnavailable"), errors);
}

void validate_deployment(const api::Deployment& object, const api::Deployment* old, FieldErrors& errors) {
  const api::DeploymentSpec& spec = object.spec;
  require_nonnegative(spec.replicas, kSpec.child("replicas"), errors);
  check_selector(spec.selector, "empty selector is invalid for deployment", errors);
  check_match(spec.selector, spec.template_, errors);
  check_template(spec.template_, kTemplate, errors);
  check_endless(spec.template_.spec, "ReplicaSet", errors);
  const Path strategy = kSpec.child("strategy");
  if (spec.strategy.type == "Recreate") {
    if (spec.strategy.rollingUpdate)
      errors.forbidden(strategy.child("rollingUpdate"), "may not be specified when strategy `type` is 'Recreate'");
  } else if (spec.strategy.type == "RollingUpdate") {
    if (!spec.strategy.rollingUpdate)
      errors.required(strategy.child("rollingUpdate"), "this should be defaulted and never be nil");
    else check_rolling_update(*spec.strategy.rollingUpdate, strategy.child("rollingUpdate"), errors);
  } else {
    unsupported_strategy(spec.strategy.type, strategy, "\"Recreate\", \"RollingUpdate\"", errors);
  }
  require_nonnegative(spec.minReadySeconds, kSpec.child("minReadySeconds"), errors);
  require_nonnegative(spec.revisionHistoryLimit, kSpec.child("revisionHistoryLimit"), errors);
  if (spec.progressDeadlineSeconds) {
    require_nonnegative(spec.progressDeadlineSeconds, kSpec.child("progressDeadlineSeconds"), errors);
    if (*spec.progressDeadlineSeconds <= spec.minReadySeconds)
      errors.invalid(kSpec.child("progressDeadlineSeconds"), std::to_string(*spec.progressDeadlineSeconds),
                     "must be greater than minReadySeconds");
  }
  selector_is_immutable(object, old, errors);
}

// Counters of a status are not negative, and parts are not more than the whole.
template <class Status>
void check_counters(const Status& status, FieldErrors& errors) {
  require_nonnegative(status.replicas, kStatus.child("replicas"), errors);
  auto part = [&](std::int32_t value, const char* name) {
    require_nonnegative(value, kStatus.child(name), errors);
    if (value > status.replicas)
      errors.invalid(kStatus.child(name), std::to_string(value), "cannot be greater than status.replicas");
  };
  if constexpr (requires { status.fullyLabeledReplicas; }) part(status.fullyLabeledReplicas, "fullyLabeledReplicas");
  if constexpr (requires { status.updatedReplicas; }) part(status.updatedReplicas, "updatedReplicas");
  part(status.readyReplicas, "readyReplicas");
  part(status.availableReplicas, "availableReplicas");
  if (status.availableReplicas > status.readyReplicas)
    errors.invalid(kStatus.child("availableReplicas"), std::to_string(status.availableReplicas),
                   "cannot be greater than readyReplicas");
}

template <class T>
void validate_counters(const T& object, const T&, FieldErrors& errors) {
  check_counters(object.status, errors);
}

// ---- ReplicaSets, ReplicationControllers

void validate_replica_set(const api::ReplicaSet& object, const api::ReplicaSet* old, FieldErrors& errors) {
  const api::ReplicaSetSpec& spec = object.spec;
  require_nonnegative(spec.replicas, kSpec.child("replicas"), errors);
  require_nonnegative(spec.minReadySeconds, kSpec.child("minReadySeconds"), errors);
  check_selector(spec.selector, "empty selector is invalid for deployment", errors);
  check_match(spec.selector, spec.template_, errors);
  check_template(spec.template_, kTemplate, errors);
  check_endless(spec.template_.spec, "ReplicaSet", errors);
  selector_is_immutable(object, old, errors);
}

void validate_replication_controller(const api::ReplicationController& object, const api::ReplicationController*,
                                     FieldErrors& errors) {
  const api::ReplicationControllerSpec& spec = object.spec;
  require_nonnegative(spec.minReadySeconds, kSpec.child("minReadySeconds"), errors);
  if (spec.selector.empty()) errors.required(kSpec.child("selector"));
  require_nonnegative(spec.replicas, kSpec.child("replicas"), errors);
  if (!spec.template_) return errors.required(kTemplate);
  if (!spec.selector.empty() && !api::Selector::from(spec.selector).matches(spec.template_->metadata.labels))
    errors.invalid(kTemplate.child("metadata.labels"), json_of(spec.template_->metadata.labels), kMismatch);
  check_template(*spec.template_, kTemplate, errors);
  check_endless(spec.template_->spec, "ReplicationController", errors);
}

// ---- DaemonSets

void check_daemon_rolling(const api::RollingUpdateDaemonSet& rolling, const Path& path, FieldErrors& errors) {
  auto check = [&](const std::optional<api::IntOrString>& value, const char* name) {
    if (!value) return false;
    check_percent_or_number(*value, path.child(name), errors);
    check_not_above_100_percent(*value, path.child(name), errors);
    return !is_zero(*value);
  };
  bool unavailable = check(rolling.maxUnavailable, "maxUnavailable");
  bool surge = check(rolling.maxSurge, "maxSurge");
  if (unavailable && surge)
    errors.invalid(path.child("maxSurge"),
                   rolling.maxSurge->is_string ? quote(rolling.maxSurge->text) : rolling.maxSurge->str(),
                   "may not be set when maxUnavailable is non-zero");
  if (!unavailable && !surge) errors.required(path.child("maxUnavailable"), "cannot be 0 when maxSurge is 0");
}

void validate_daemon_set(const api::DaemonSet& object, const api::DaemonSet* old, FieldErrors& errors) {
  const api::DaemonSetSpec& spec = object.spec;
  check_label_selector(spec.selector, kSpec.child("selector"), errors);
  check_match(spec.selector, spec.template_, errors);
  if (is_empty(spec.selector))
    errors.invalid(kSpec.child("selector"), json_of(spec.selector), "empty selector is invalid for daemonset");
  check_template(spec.template_, kTemplate, errors);
  check_endless(spec.template_.spec, "DaemonSet", errors);
  require_nonnegative(spec.minReadySeconds, kSpec.child("minReadySeconds"), errors);
  const Path strategy = kSpec.child("updateStrategy");
  if (spec.updateStrategy.type == "RollingUpdate") {
    if (!spec.updateStrategy.rollingUpdate) errors.required(strategy.child("rollingUpdate"));
    else check_daemon_rolling(*spec.updateStrategy.rollingUpdate, strategy.child("rollingUpdate"), errors);
  } else if (spec.updateStrategy.type != "OnDelete") {
    unsupported_strategy(spec.updateStrategy.type, strategy, "\"RollingUpdate\", \"OnDelete\"", errors);
  }
  require_nonnegative(spec.revisionHistoryLimit, kSpec.child("revisionHistoryLimit"), errors);
  selector_is_immutable(object, old, errors);
}

// ---- StatefulSets

void check_update_strategy(const api::StatefulSetUpdateStrategy& strategy, FieldErrors& errors) {
  const Path path = kSpec.child("updateStrategy");
  const Path rolling = path.child("rollingUpdate");
  if (strategy.type.empty()) return errors.required(path);
  if (strategy.type == "OnDelete") {
    if (strategy.rollingUpdate)
      errors.invalid(rolling, api::to_json(*strategy.rollingUpdate), "only allowed for updateStrategy 'RollingUpdate'");
  } else if (strategy.type != "RollingUpdate") {
    errors.invalid(path, api::to_json(strategy), "must be 'RollingUpdate' or 'OnDelete'");
  } else if (strategy.rollingUpdate) {
    require_nonnegative(strategy.rollingUpdate->partition, rolling.child("partition"), errors);
    if (const auto& most = strategy.rollingUpdate->maxUnavailable) {
      check_percent_or_number(*most, rolling.child("maxUnavailable"), errors);
      if (is_zero(*most))
        errors.invalid(rolling.child("maxUnavailable"), most->is_string ? quote(most->text) : "0", "cannot be 0");
      check_not_above_100_percent(*most, rolling.child("maxUnavailable"), errors);
    }
  }
}

// The template's spec is left to the pods, as Kubernetes does: volumes come from the claims.
void check_stateful_spec(const api::StatefulSetSpec& spec, FieldErrors& errors) {
  if (spec.podManagementPolicy.empty()) errors.required(kSpec.child("podManagementPolicy"));
  else if (!is_one_of(spec.podManagementPolicy, {"OrderedReady", "Parallel"}))
    errors.invalid(kSpec.child("podManagementPolicy"), quote(spec.podManagementPolicy),
                   "must be 'OrderedReady' or 'Parallel'");
  check_update_strategy(spec.updateStrategy, errors);
  if (spec.persistentVolumeClaimRetentionPolicy) {
    const Path at = kSpec.child("persistentVolumeClaimRetentionPolicy");
    check_one_of(spec.persistentVolumeClaimRetentionPolicy->whenDeleted, at.child("whenDeleted"), {"Retain", "Delete"}, errors);
    check_one_of(spec.persistentVolumeClaimRetentionPolicy->whenScaled, at.child("whenScaled"), {"Retain", "Delete"}, errors);
  }
  require_nonnegative(spec.replicas, kSpec.child("replicas"), errors);
  require_nonnegative(spec.minReadySeconds, kSpec.child("minReadySeconds"), errors);
  if (spec.ordinals) require_nonnegative(spec.ordinals->start, kSpec.child("ordinals.start"), errors);
  check_selector(spec.selector, "empty selector is invalid for statefulset", errors);
  check_match(spec.selector, spec.template_, errors);
  check_template_metadata(spec.template_, kTemplate, errors);
  check_endless(spec.template_.spec, "StatefulSet", errors);
}

void validate_stateful_set(const api::StatefulSet& object, const api::StatefulSet* old, FieldErrors& errors) {
  check_stateful_spec(object.spec, errors);
  if (!old) {
    if (!object.spec.serviceName.empty())
      check_dns_label(object.spec.serviceName, kSpec.child("serviceName"), errors);
    require_nonnegative(object.spec.revisionHistoryLimit, kSpec.child("revisionHistoryLimit"), errors);
    return;
  }
  api::StatefulSetSpec expected = old->spec;
  expected.replicas = object.spec.replicas;
  expected.template_ = object.spec.template_;
  expected.updateStrategy = object.spec.updateStrategy;
  expected.revisionHistoryLimit = object.spec.revisionHistoryLimit;
  expected.ordinals = object.spec.ordinals;
  expected.minReadySeconds = object.spec.minReadySeconds;
  expected.persistentVolumeClaimRetentionPolicy = object.spec.persistentVolumeClaimRetentionPolicy;
  if (!(expected == object.spec))
    errors.forbidden(kSpec,
                     "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
                     "'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and "
                     "'minReadySeconds' are forbidden");
}

// ----

template <class T>
void warn(const T& object, const T* old, Warnings& warnings) {
  if (old && old->metadata.generation == object.metadata.generation) return;
  if constexpr (requires { object.spec.template_->spec; }) {
    if (object.spec.template_)
      warn_about_pod(object.spec.template_->metadata, object.spec.template_->spec, kTemplate, warnings);
  } else {
    warn_about_pod(object.spec.template_.metadata, object.spec.template_.spec, kTemplate, warnings);
  }
}

template <class T>
Rules<T> counted(void (*validate)(const T&, const T*, FieldErrors&)) {
  Rules<T> rules;
  rules.validate = validate;
  rules.warn = warn<T>;
  rules.counts_generation = true;
  return rules;
}

template <class T>
std::map<std::string, std::string> replicas_field(const T& object) {
  return {{"status.replicas", std::to_string(object.status.replicas)}};
}

}  // namespace

std::vector<Resource> workloads() {
  Rules<api::Deployment> deployments = counted<api::Deployment>(validate_deployment);
  deployments.validate_status = validate_counters<api::Deployment>;
  Rules<api::ReplicaSet> sets = counted<api::ReplicaSet>(validate_replica_set);
  sets.validate_status = validate_counters<api::ReplicaSet>;
  sets.selectable_fields = replicas_field<api::ReplicaSet>;
  Rules<api::ReplicationController> controllers = counted<api::ReplicationController>(validate_replication_controller);
  controllers.validate_status = validate_counters<api::ReplicationController>;
  controllers.selectable_fields = replicas_field<api::ReplicationController>;
  controllers.orphans_by_default = true;
  return {define(deployments), define(sets), define(counted<api::DaemonSet>(validate_daemon_set)),
          define(counted<api::StatefulSet>(validate_stateful_set)), define(controllers)};
}

}  // namespace skiff::registry
