#include "api/gen/pod.hpp"

#include "api/pods.hpp"
#include "registry/kinds/kind.hpp"
#include "registry/kinds/kinds.hpp"
#include "registry/kinds/pod_template.hpp"

namespace skiff::registry {
namespace {

Status prepare_create(api::Pod& pod, StrategyContext&) {
  pod.status.phase = "Pending";
  pod.status.qosClass = api::qos_class(pod);
  pod.status.observedGeneration = 0;
  return ok();
}

Status prepare_update(api::Pod& next, const api::Pod& old, StrategyContext&) {
  // The binding subresource is the only way to a node, and ephemeral containers have a subresource of their own.
  next.status = old.status;
  return ok();
}

Status prepare_status_update(api::Pod& next, const api::Pod& old, StrategyContext&) {
  if (next.status.qosClass.empty()) next.status.qosClass = old.status.qosClass;
  return ok();
}

// What an update may change of a spec: images, activeDeadlineSeconds, more tolerations, gates removed
// (ValidatePodUpdate).
void validate_update(const api::Pod& pod, const api::Pod& old, api::FieldErrors& errors) {
  if (pod.spec.containers.size() != old.spec.containers.size()) {
    errors.forbidden("spec.containers", "pod updates may not add or remove containers");
    return;
  }
  api::PodSpec expected = old.spec;
  auto take_images = [](std::vector<api::Container>& to, const std::vector<api::Container>& from) {
    for (size_t i = 0; i < to.size() && i < from.size(); ++i) to[i].image = from[i].image;
  };
  take_images(expected.containers, pod.spec.containers);
  take_images(expected.initContainers, pod.spec.initContainers);
  expected.activeDeadlineSeconds = pod.spec.activeDeadlineSeconds;
  expected.terminationGracePeriodSeconds = pod.spec.terminationGracePeriodSeconds;
  expected.tolerations = pod.spec.tolerations;
  expected.schedulingGates = pod.spec.schedulingGates;
  if (!old.spec.schedulingGates.empty()) {
    expected.nodeSelector = pod.spec.nodeSelector;
    expected.affinity = pod.spec.affinity;
  }
  if (expected == pod.spec) return;
  errors.forbidden("spec",
                   "pod updates may not change fields other than `spec.containers[*].image`,"
                   "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to "
                   "existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was "
                   "previously negative)");
}

void validate(const api::Pod& pod, const api::Pod* old, api::FieldErrors& errors) {
  validate_pod_spec(pod.spec, "spec", errors);
  if (old) validate_update(pod, *old, errors);
}

std::map<std::string, std::string> selectable_fields(const api::Pod& pod) {
  return {{"spec.nodeName", pod.spec.nodeName},
          {"spec.restartPolicy", pod.spec.restartPolicy},
          {"spec.schedulerName", pod.spec.schedulerName},
          {"spec.serviceAccountName", pod.spec.serviceAccountName},
          {"spec.hostNetwork", pod.spec.hostNetwork ? "true" : "false"},
          {"status.phase", pod.status.phase},
          {"status.podIP", pod.status.podIP},
          {"status.nominatedNodeName", pod.status.nominatedNodeName}};
}

// podStrategy.CheckGracefulDelete.
std::int64_t grace_seconds(const api::Pod& pod, const client::DeleteOptions& options) {
  std::int64_t grace = options.grace_seconds.value_or(pod.spec.terminationGracePeriodSeconds.value_or(30));
  if (grace < 0) grace = 1;
  // Nothing runs yet, or any more: there is nobody to wait for.
  if (pod.spec.nodeName.empty() || api::is_finished(pod)) return 0;
  return grace;
}

}  // namespace

Resource pods() {
  Rules<api::Pod> rules;
  rules.prepare_create = prepare_create;
  rules.prepare_update = prepare_update;
  rules.prepare_status_update = prepare_status_update;
  rules.validate = validate;
  rules.selectable_fields = selectable_fields;
  rules.grace_seconds = grace_seconds;
  rules.counts_generation = true;
  rules.returns_deleted = true;
  return define(rules);
}

}  // namespace skiff::registry
