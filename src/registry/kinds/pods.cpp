#include "api/gen/pod.hpp"

#include <algorithm>
#include <limits>

#include "api/pods.hpp"
#include "registry/kinds/differences.hpp"
#include "registry/kinds/kind.hpp"
#include "registry/kinds/kinds.hpp"
#include "registry/kinds/placement.hpp"
#include "registry/kinds/pod_resize.hpp"
#include "registry/kinds/pod_template.hpp"

namespace skiff::registry {
namespace {

using api::Pod;
using api::quote;

// Labels of the pod that its affinity terms ask for by key become part of the terms' selectors.
template <class PodTerms>
void copy_label_keys(PodTerms& terms, const std::map<std::string, std::string>& labels) {
  auto apply = [&](api::PodAffinityTerm& term) {
    if (!term.labelSelector) return;
    auto add = [&](const std::vector<std::string>& keys, const char* op) {
      for (const std::string& key : keys)
        if (auto label = labels.find(key); label != labels.end())
          term.labelSelector->matchExpressions.push_back({key, op, {label->second}});
    };
    add(term.matchLabelKeys, "In");
    add(term.mismatchLabelKeys, "NotIn");
  };
  for (api::PodAffinityTerm& term : terms.requiredDuringSchedulingIgnoredDuringExecution) apply(term);
  for (auto& weighted : terms.preferredDuringSchedulingIgnoredDuringExecution) apply(weighted.podAffinityTerm);
}

Status prepare_create(Pod& pod, StrategyContext&) {
  pod.status.phase = "Pending";
  pod.status.qosClass = api::qos_class(pod);
  pod.status.observedGeneration = 0;
  if (!pod.spec.schedulingGates.empty()) {
    api::PodCondition& gated = pod.status.conditions.emplace_back();
    gated.type = "PodScheduled";
    gated.status = "False";
    gated.reason = "SchedulingGated";
    gated.message = "Scheduling is blocked due to non-empty scheduling gates";
  }
  if (pod.spec.affinity && pod.spec.affinity->podAffinity)
    copy_label_keys(*pod.spec.affinity->podAffinity, pod.metadata.labels);
  if (pod.spec.affinity && pod.spec.affinity->podAntiAffinity)
    copy_label_keys(*pod.spec.affinity->podAntiAffinity, pod.metadata.labels);
  return ok();
}

Status prepare_update(Pod& next, const Pod& old, StrategyContext&) {
  // The binding subresource is the only way to a node, and ephemeral containers have a subresource of their own.
  next.status = old.status;
  return ok();
}

Status prepare_status_update(Pod& next, const Pod& old, StrategyContext&) {
  if (next.status.qosClass.empty()) next.status.qosClass = old.status.qosClass;
  return ok();
}

// Each of these subresources changes its own part and nothing else.
Status prepare_subresource_update(Pod& next, const Pod& old, const std::string& subresource, StrategyContext&) {
  if (subresource == "ephemeralcontainers") {
    Pod changed = old;
    changed.metadata.managedFields = next.metadata.managedFields;
    changed.spec.ephemeralContainers = next.spec.ephemeralContainers;
    next = std::move(changed);
  } else if (subresource == "resize") {
    keep_all_but_resources(next, old);
  }
  return ok();
}

const Path kSpec("spec");
const Path kMetadata("metadata");
const Path kStatus("status");

bool check_updated_containers(const std::vector<api::Container>& next, const std::vector<api::Container>& old,
                              const char* list, FieldErrors& errors) {
  if (next.size() == old.size()) return true;
  errors.forbidden(kSpec.child(list), "pod updates may not add or remove containers");
  return false;
}

// From nothing to a number, or to a lower one. False: there is no use in looking further.
bool check_deadline(const api::PodSpec& next, const api::PodSpec& old, FieldErrors& errors) {
  const Path at = kSpec.child("activeDeadlineSeconds");
  if (!next.activeDeadlineSeconds) {
    if (old.activeDeadlineSeconds)
      errors.invalid(at, "null", "must not update from a positive integer to nil value");
    return true;
  }
  std::int64_t deadline = *next.activeDeadlineSeconds;
  if (deadline < 0 || deadline > std::numeric_limits<std::int32_t>::max()) {
    require_between(deadline, 0, std::numeric_limits<std::int32_t>::max(), at, errors);
    return false;
  }
  if (!old.activeDeadlineSeconds || *old.activeDeadlineSeconds >= deadline) return true;
  errors.invalid(at, std::to_string(deadline), "must be less than or equal to previous value");
  return false;
}

void check_only_added_tolerations(const api::PodSpec& next, const api::PodSpec& old, FieldErrors& errors) {
  for (const api::Toleration& before : old.tolerations) {
    bool kept = std::any_of(next.tolerations.begin(), next.tolerations.end(), [&](const api::Toleration& now) {
      api::Toleration expected = before;
      expected.tolerationSeconds = now.tolerationSeconds;
      return expected == now;
    });
    if (kept) continue;
    errors.forbidden(kSpec.child("tolerations"), "existing toleration can not be modified except its tolerationSeconds");
    return;
  }
}

void check_only_removed_gates(const api::PodSpec& next, const api::PodSpec& old, FieldErrors& errors) {
  for (size_t i = 0; i < next.schedulingGates.size(); ++i) {
    const std::string& gate = next.schedulingGates[i].name;
    bool known = std::any_of(old.schedulingGates.begin(), old.schedulingGates.end(),
                             [&](const api::PodSchedulingGate& one) { return one.name == gate; });
    const Path at = kSpec.child("schedulingGates", i);
    if (!known)
      errors.forbidden(at.child("name"), fmt::format("only deletion is allowed, but found new scheduling gate '{}'", gate));
  }
}

// A gated pod may still become more particular about its node.
void check_gated(api::PodSpec& expected, const api::PodSpec& next, const api::PodSpec& old, FieldErrors& errors) {
  if (old.schedulingGates.empty()) return;
  for (const auto& [key, value] : old.nodeSelector) {
    auto now = next.nodeSelector.find(key);
    if (now != next.nodeSelector.end() && now->second == value) continue;
    errors.invalid(kSpec.child("nodeSelector"), json_of(next.nodeSelector),
                   "only additions to spec.nodeSelector are allowed (no mutations or deletions)");
    break;
  }
  expected.nodeSelector = next.nodeSelector;
  auto nodes = [](const api::PodSpec& spec) {
    return spec.affinity ? spec.affinity->nodeAffinity : api::Box<api::NodeAffinity>();
  };
  if (nodes(next) == nodes(old)) return;
  if (expected.affinity || next.affinity) expected.affinity.ensure().nodeAffinity = nodes(next);
  if (!next.affinity && old.affinity && !old.affinity->podAffinity && !old.affinity->podAntiAffinity)
    expected.affinity.reset();
  const auto& required = nodes(old);
  if (!required || !required->requiredDuringSchedulingIgnoredDuringExecution) return;
  const auto now = nodes(next);
  const Path affinity = kSpec.child("affinity");
  const Path at = affinity.child("nodeAffinity");
  const auto& before = required->requiredDuringSchedulingIgnoredDuringExecution->nodeSelectorTerms;
  bool same_terms = now && now->requiredDuringSchedulingIgnoredDuringExecution &&
                    now->requiredDuringSchedulingIgnoredDuringExecution->nodeSelectorTerms.size() == before.size();
  if (!same_terms) {
    const Path terms = at.child("requiredDuringSchedulingIgnoredDuringExecution");
    errors.invalid(terms.child("nodeSelectorTerms"), "null",
                   "no additions/deletions to non-empty NodeSelectorTerms list are allowed");
  }
}

void check_update(const Pod& pod, const Pod& old, FieldErrors& errors) {
  if (!check_updated_containers(pod.spec.containers, old.spec.containers, "containers", errors)) return;
  if (!check_updated_containers(pod.spec.initContainers, old.spec.initContainers, "initContainers", errors)) return;
  if (!check_deadline(pod.spec, old.spec, errors)) return;
  check_only_added_tolerations(pod.spec, old.spec, errors);
  check_only_removed_gates(pod.spec, old.spec, errors);
  if (pod.spec == old.spec) return;
  api::PodSpec expected = old.spec;
  for (size_t i = 0; i < pod.spec.containers.size(); ++i) expected.containers[i].image = pod.spec.containers[i].image;
  for (size_t i = 0; i < pod.spec.initContainers.size(); ++i)
    expected.initContainers[i].image = pod.spec.initContainers[i].image;
  expected.activeDeadlineSeconds = pod.spec.activeDeadlineSeconds;
  expected.tolerations = pod.spec.tolerations;
  expected.schedulingGates = pod.spec.schedulingGates;
  if (old.spec.terminationGracePeriodSeconds.value_or(0) < 0 && pod.spec.terminationGracePeriodSeconds == 1)
    expected.terminationGracePeriodSeconds = 1;
  check_gated(expected, pod.spec, old.spec, errors);
  if (expected == pod.spec) return;
  errors.forbidden(kSpec,
                   "pod updates may not change fields other than `spec.containers[*].image`,"
                   "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to "
                   "existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was "
                   "previously negative)\n" + difference(expected, pod.spec));
}

void check_annotation_updates(const Pod& pod, const Pod& old, FieldErrors& errors) {
  constexpr char kMirror[] = "kubernetes.io/config.mirror";
  auto before = old.metadata.annotations.find(kMirror);
  auto now = pod.metadata.annotations.find(kMirror);
  const Path at = kMetadata.key("annotations", kMirror);
  bool was = before != old.metadata.annotations.end(), is = now != pod.metadata.annotations.end();
  if (was && !(is && now->second == before->second))
    errors.forbidden(at, "may not remove or update mirror pod annotation");
  if (!was && is) errors.forbidden(at, "may not add mirror pod annotation");
}

void check_metadata_and_spec(const Pod& pod, FieldErrors& errors) {
  check_pod_annotations(pod.metadata.annotations, pod.spec, kMetadata, errors);
  check_pod_spec(pod.spec, PodKind::Pod, kSpec, errors);
  if (!pod.spec.serviceAccountName.empty()) return;
  for (size_t i = 0; i < pod.spec.volumes.size(); ++i) {
    if (!pod.spec.volumes[i].projected) continue;
    const Path volume = kSpec.child("volumes", i);
    const Path at = volume.child("projected");
    for (size_t j = 0; j < pod.spec.volumes[i].projected->sources.size(); ++j) {
      const Path source = at.child("sources", j);
      if (pod.spec.volumes[i].projected->sources[j].serviceAccountToken)
        errors.forbidden(source.child("serviceAccountToken"),
                         "must not be specified when serviceAccountName is not set");
    }
  }
}

void validate(const Pod& pod, const Pod* old, FieldErrors& errors) {
  check_metadata_and_spec(pod, errors);
  if (old) {
    check_annotation_updates(pod, *old, errors);
    check_update(pod, *old, errors);
    return;
  }
  if (!pod.spec.ephemeralContainers.empty())
    errors.forbidden(kSpec.child("ephemeralContainers"), "cannot be set on create");
  if (!pod.spec.nodeName.empty() && !pod.spec.schedulingGates.empty())
    errors.forbidden(kSpec.child("nodeName"), "cannot be set until all schedulingGates have been cleared");
}

void validate_ephemeral_containers(const Pod& pod, const Pod& old, FieldErrors& errors) {
  if (old.metadata.annotations.contains("kubernetes.io/config.mirror"))
    return errors.forbidden("", "static pods do not support ephemeral containers");
  for (const api::EphemeralContainer& before : old.spec.ephemeralContainers) {
    auto now = std::find_if(pod.spec.ephemeralContainers.begin(), pod.spec.ephemeralContainers.end(),
                            [&](const api::EphemeralContainer& one) { return one.name == before.name; });
    if (now == pod.spec.ephemeralContainers.end())
      errors.forbidden(kSpec.child("ephemeralContainers"),
                       fmt::format("existing ephemeral containers {} may not be removed\n", quote(before.name)));
    else if (!(*now == before))
      errors.forbidden(kSpec.child("ephemeralContainers"),
                       fmt::format("existing ephemeral containers {} may not be changed\n{}", quote(before.name),
                                   difference(before, *now)));
  }
}

void validate_subresource(const Pod& pod, const Pod& old, const std::string& subresource, FieldErrors& errors) {
  if (subresource != "ephemeralcontainers" && subresource != "resize") return;
  check_metadata_and_spec(pod, errors);
  if (subresource == "resize") validate_resize(pod, old, errors);
  else validate_ephemeral_containers(pod, old, errors);
}

// A container that ended for good stays ended.
void check_transitions(const std::vector<api::ContainerStatus>& next, const std::vector<api::ContainerStatus>& old,
                       const char* list, const Pod& pod, FieldErrors& errors) {
  const bool ephemeral = std::string_view(list) == "ephemeralContainerStatuses";
  const std::string_view policy = ephemeral ? "Never" : std::string_view(pod.spec.restartPolicy);
  if (policy == "Always") return;
  // Such a rule brings back every container of the pod.
  auto restarts_all = [](const api::Container& one) {
    return std::ranges::any_of(one.restartPolicyRules, [](const auto& rule) { return rule.action == "RestartAllContainers"; });
  };
  if (!ephemeral && std::ranges::any_of(pod.spec.containers, restarts_all)) return;
  for (size_t i = 0; i < old.size(); ++i) {
    if (!old[i].state.terminated) continue;
    if (old[i].state.terminated->exitCode != 0 && policy == "OnFailure") continue;
    auto may_restart = [&](const api::Container& one) {
      return one.name == old[i].name && (!one.restartPolicy.empty() || !one.restartPolicyRules.empty());
    };
    if (std::any_of(pod.spec.initContainers.begin(), pod.spec.initContainers.end(), may_restart)) continue;
    if (std::any_of(pod.spec.containers.begin(), pod.spec.containers.end(), may_restart)) continue;
    const Path at = kStatus.child(list, i);
    for (const api::ContainerStatus& now : next)
      if (now.name == old[i].name && !now.state.terminated)
        errors.forbidden(at.child("state"), "may not be transitioned to non-terminated state");
  }
}

void validate_status(const Pod& pod, const Pod& old, FieldErrors& errors) {
  for (size_t i = 0; i < pod.status.conditions.size(); ++i) {
    const Path at = kMetadata.child("conditions", i);
    check_qualified_name(pod.status.conditions[i].type, at.child("Type"), errors);
  }
  if (pod.status.nominatedNodeName != old.status.nominatedNodeName && !pod.status.nominatedNodeName.empty())
    check_dns_subdomain(pod.status.nominatedNodeName, kStatus.child("nominatedNodeName"), errors);
  require_same(pod.status.qosClass, old.status.qosClass, kStatus.child("qosClass"), errors);
  check_transitions(pod.status.containerStatuses, old.status.containerStatuses, "containerStatuses", pod, errors);
  check_transitions(pod.status.initContainerStatuses, old.status.initContainerStatuses, "initContainerStatuses", pod,
                    errors);
  check_transitions(pod.status.ephemeralContainerStatuses, old.status.ephemeralContainerStatuses,
                    "ephemeralContainerStatuses", pod, errors);
  for (size_t i = 0; i < pod.status.podIPs.size(); ++i) check_ip(pod.status.podIPs[i].ip, kStatus.child("podIPs", i), errors);
  for (size_t i = 0; i < pod.status.hostIPs.size(); ++i)
    check_ip(pod.status.hostIPs[i].ip, kStatus.child("hostIPs", i), errors);
}

void warn(const Pod& pod, const Pod*, Warnings& warnings) {
  warn_about_pod(pod.metadata, pod.spec, Path(""), warnings);
}

std::map<std::string, std::string> selectable_fields(const Pod& pod) {
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
std::int64_t grace_seconds(const Pod& pod, const client::DeleteOptions& options) {
  std::int64_t grace = options.grace_seconds.value_or(pod.spec.terminationGracePeriodSeconds.value_or(30));
  if (grace < 0) grace = 1;
  // Nothing runs yet, or any more: there is nobody to wait for.
  if (pod.spec.nodeName.empty() || api::is_finished(pod)) return 0;
  return grace;
}

}  // namespace

Resource pods() {
  Rules<Pod> rules;
  rules.prepare_create = prepare_create;
  rules.prepare_update = prepare_update;
  rules.prepare_status_update = prepare_status_update;
  rules.prepare_subresource_update = prepare_subresource_update;
  rules.validate = validate;
  rules.validate_status = validate_status;
  rules.validate_subresource = validate_subresource;
  rules.warn = warn;
  rules.selectable_fields = selectable_fields;
  rules.grace_seconds = grace_seconds;
  rules.counts_generation = true;
  rules.returns_deleted = true;
  return define(rules);
}

}  // namespace skiff::registry
