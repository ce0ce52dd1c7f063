// Deployments, ReplicaSets, StatefulSets, DaemonSets, ReplicationControllers, Jobs, CronJobs.

#include "api/gen/apps.hpp"
#include "api/gen/batch.hpp"
#include "api/gen/pod.hpp"
#include "api/gen/volume.hpp"
#include "api/json.hpp"
#include "registry/kinds/kind.hpp"
#include "registry/kinds/kinds.hpp"
#include "registry/kinds/pod_template.hpp"

namespace skiff::registry {
namespace {

using api::FieldErrors;

template <class T>
void validate_common(const T& object, FieldErrors& errors) {
  if constexpr (requires { object.spec.replicas; }) require_nonnegative(object.spec.replicas.value_or(0), "spec.replicas", errors);
  require_nonnegative(object.spec.minReadySeconds, "spec.minReadySeconds", errors);
  validate_selector(&object.spec.selector, object.spec.template_, errors);
  validate_template(object.spec.template_, "spec.template", errors);
  require_restart_always(object.spec.template_, errors);
}

template <class T>
void selector_is_immutable(const T& object, const T* old, FieldErrors& errors) {
  if (old && !(object.spec.selector == old->spec.selector))
    errors.invalid("spec.selector", api::to_json(object.spec.selector), "field is immutable");
}

void validate_percent(const std::optional<api::IntOrString>& value, const std::string& path, FieldErrors& errors) {
  if (!value) return;
  if (!value->is_string) return require_nonnegative(value->number, path, errors);
  if (!value->scaled(100, true).ok())
    errors.invalid(path, api::quote(value->text),
                   "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', "
                   "regex used for validation is '[0-9]+%')");
}

void validate_deployment(const api::Deployment& object, const api::Deployment* old, FieldErrors& errors) {
  validate_common(object, errors);
  selector_is_immutable(object, old, errors);
  const api::DeploymentStrategy& strategy = object.spec.strategy;
  if (strategy.type != "Recreate" && strategy.type != "RollingUpdate")
    errors.not_supported("spec.strategy.type", strategy.type, {"Recreate", "RollingUpdate"});
  if (strategy.type == "Recreate" && strategy.rollingUpdate)
    errors.forbidden("spec.strategy.rollingUpdate", "may not be specified when strategy `type` is 'Recreate'");
  if (strategy.rollingUpdate) {
    validate_percent(strategy.rollingUpdate->maxUnavailable, "spec.strategy.rollingUpdate.maxUnavailable", errors);
    validate_percent(strategy.rollingUpdate->maxSurge, "spec.strategy.rollingUpdate.maxSurge", errors);
    auto is_zero = [](const std::optional<api::IntOrString>& value) {
      return value && (value->is_string ? value->text == "0%" : value->number == 0);
    };
    if (is_zero(strategy.rollingUpdate->maxUnavailable) && is_zero(strategy.rollingUpdate->maxSurge))
      errors.invalid("spec.strategy.rollingUpdate.maxUnavailable", "0", "may not be 0 when `maxSurge` is 0");
  }
  require_nonnegative(object.spec.revisionHistoryLimit.value_or(0), "spec.revisionHistoryLimit", errors);
  std::int32_t deadline = object.spec.progressDeadlineSeconds.value_or(600);
  require_nonnegative(deadline, "spec.progressDeadlineSeconds", errors);
  if (deadline <= object.spec.minReadySeconds)
    errors.invalid("spec.progressDeadlineSeconds", std::to_string(deadline), "must be greater than minReadySeconds");
}

void validate_replica_set(const api::ReplicaSet& object, const api::ReplicaSet* old, FieldErrors& errors) {
  validate_common(object, errors);
  selector_is_immutable(object, old, errors);
}

void validate_daemon_set(const api::DaemonSet& object, const api::DaemonSet* old, FieldErrors& errors) {
  validate_common(object, errors);
  selector_is_immutable(object, old, errors);
}

void validate_stateful_set(const api::StatefulSet& object, const api::StatefulSet* old, FieldErrors& errors) {
  // Each pod gets a volume of every claim's name, so its containers may mount them.
  api::StatefulSet with_claims = object;
  for (const api::PersistentVolumeClaim& claim : object.spec.volumeClaimTemplates) {
    api::Volume& volume = with_claims.spec.template_.spec.volumes.emplace_back();
    volume.name = claim.metadata.name;
    volume.persistentVolumeClaim.emplace().claimName = claim.metadata.name;
  }
  validate_common(with_claims, errors);
  if (!old) return;
  api::StatefulSetSpec expected = old->spec;
  expected.replicas = object.spec.replicas;
  expected.template_ = object.spec.template_;
  expected.updateStrategy = object.spec.updateStrategy;
  expected.revisionHistoryLimit = object.spec.revisionHistoryLimit;
  expected.ordinals = object.spec.ordinals;
  expected.minReadySeconds = object.spec.minReadySeconds;
  expected.persistentVolumeClaimRetentionPolicy = object.spec.persistentVolumeClaimRetentionPolicy;
  if (!(expected == object.spec))
    errors.forbidden("spec",
                     "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
                     "'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and "
                     "'minReadySeconds' are forbidden");
}

void validate_replication_controller(const api::ReplicationController& object, const api::ReplicationController*,
                                     FieldErrors& errors) {
  require_nonnegative(object.spec.replicas.value_or(0), "spec.replicas", errors);
  if (object.spec.selector.empty()) errors.required("spec.selector");
  if (!object.spec.template_) {
    errors.required("spec.template");
    return;
  }
  validate_template(*object.spec.template_, "spec.template", errors);
  require_restart_always(*object.spec.template_, errors);
}

// jobStrategy.PrepareForCreate: a Job finds its pods by its own UID unless told otherwise.
Status prepare_job(api::Job& job, StrategyContext&) {
  if (job.spec.manualSelector.value_or(false)) return ok();
  auto& labels = job.spec.template_.metadata.labels;
  labels["controller-uid"] = labels["batch.kubernetes.io/controller-uid"] = job.metadata.uid;
  labels["job-name"] = labels["batch.kubernetes.io/job-name"] = job.metadata.name;
  job.spec.selector.ensure().matchLabels["batch.kubernetes.io/controller-uid"] = job.metadata.uid;
  return ok();
}

void validate_job(const api::Job& job, const api::Job*, FieldErrors& errors) {
  for (auto [value, name] : {std::pair{job.spec.parallelism, "parallelism"}, {job.spec.completions, "completions"},
                             {job.spec.backoffLimit, "backoffLimit"}})
    require_nonnegative(value.value_or(0), std::string("spec.") + name, errors);
  validate_template(job.spec.template_, "spec.template", errors);
  const std::string& policy = job.spec.template_.spec.restartPolicy;
  if (policy == "Always") {
    errors.not_supported("spec.template.spec.restartPolicy", policy, {"OnFailure", "Never"});
  }
}

void validate_cron_job(const api::CronJob& job, const api::CronJob*, FieldErrors& errors) {
  if (job.spec.schedule.empty()) errors.required("spec.schedule");
  if (job.spec.concurrencyPolicy != "Allow" && job.spec.concurrencyPolicy != "Forbid" && job.spec.concurrencyPolicy != "Replace")
    errors.not_supported("spec.concurrencyPolicy", job.spec.concurrencyPolicy, {"Allow", "Forbid", "Replace"});
  validate_template(job.spec.jobTemplate.spec.template_, "spec.jobTemplate.spec.template", errors);
}

template <class T>
Rules<T> counted(void (*validate)(const T&, const T*, FieldErrors&)) {
  Rules<T> rules;
  rules.validate = validate;
  rules.counts_generation = true;
  return rules;
}

std::map<std::string, std::string> replicas_field(const api::ReplicaSet& set) {
  return {{"status.replicas", std::to_string(set.status.replicas)}};
}
std::map<std::string, std::string> replicas_field_rc(const api::ReplicationController& controller) {
  return {{"status.replicas", std::to_string(controller.status.replicas)}};
}
std::map<std::string, std::string> successful_field(const api::Job& job) {
  return {{"status.successful", std::to_string(job.status.succeeded)}};
}

}  // namespace

std::vector<Resource> workloads() {
  Rules<api::ReplicaSet> sets = counted<api::ReplicaSet>(validate_replica_set);
  sets.selectable_fields = replicas_field;
  Rules<api::ReplicationController> controllers = counted<api::ReplicationController>(validate_replication_controller);
  controllers.selectable_fields = replicas_field_rc;
  controllers.orphans_by_default = true;
  Rules<api::Job> jobs = counted<api::Job>(validate_job);
  jobs.prepare_create = prepare_job;
  jobs.selectable_fields = successful_field;
  jobs.orphans_by_default = true;
  return {define(counted<api::Deployment>(validate_deployment)),
          define(sets),
          define(counted<api::DaemonSet>(validate_daemon_set)),
          define(counted<api::StatefulSet>(validate_stateful_set)),
          define(controllers),
          define(jobs),
          define(counted<api::CronJob>(validate_cron_job))};
}

}  // namespace skiff::registry
