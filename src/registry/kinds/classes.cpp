// Small kinds that others refer to: priority and runtime classes, leases, pod templates, revisions.

#include "api/gen/apps.hpp"
#include "api/gen/coordination.hpp"
#include "api/gen/node.hpp"
#include "api/gen/pod.hpp"
#include "api/gen/scheduling.hpp"
#include "registry/kinds/containers.hpp"
#include "registry/kinds/kind.hpp"
#include "registry/kinds/kinds.hpp"
#include "registry/kinds/placement.hpp"
#include "registry/kinds/pod_template.hpp"

namespace skiff::registry {
namespace {

using api::quote;

// ---- PriorityClasses

constexpr std::int32_t kHighestUserPriority = 1000000000;

bool is_system_class(const api::PriorityClass& one) {
  return (one.metadata.name == "system-node-critical" && one.value == 2000001000) ||
         (one.metadata.name == "system-cluster-critical" && one.value == 2000000000);
}

void validate_priority(const api::PriorityClass& one, const api::PriorityClass* old, FieldErrors& errors) {
  if (old) {
    if (one.value != old->value) errors.forbidden("value", "may not be changed in an update.");
    require_same(one.preemptionPolicy, old->preemptionPolicy, Path("preemptionPolicy"), errors);
    return;
  }
  if (one.metadata.name.starts_with("system-")) {
    if (!is_system_class(one))
      errors.forbidden("metadata.name",
                       "priority class names with 'system-' prefix are reserved for system use only. error: " +
                           one.metadata.name + " is not a known system priority class");
  } else if (one.value > kHighestUserPriority) {
    errors.forbidden("value", fmt::format("maximum allowed value of a user defined priority is {}", kHighestUserPriority));
  }
  if (!one.preemptionPolicy.empty())
    check_one_of(one.preemptionPolicy, Path("preemptionPolicy"), {"PreemptLowerPriority", "Never"}, errors);
}

// ---- RuntimeClasses

void validate_runtime(const api::RuntimeClass& one, const api::RuntimeClass* old, FieldErrors& errors) {
  check_dns_label(one.handler, Path("handler"), errors);
  if (one.overhead) {
    const Path at("overhead.podFixed");
    for (const auto& [resource, amount] : one.overhead->podFixed)
      check_resource_amount(resource, amount, at.key("limits", resource), errors);
  }
  if (one.scheduling) {
    const Path at("scheduling");
    check_labels(one.scheduling->nodeSelector, at.child("nodeSelector"), errors);
    check_tolerations(one.scheduling->tolerations, at, errors);
  }
  if (old) require_same(one.handler, old->handler, Path("handler"), errors);
}

// ---- Leases

void validate_lease(const api::Lease& lease, const api::Lease*, FieldErrors& errors) {
  const Path spec("spec");
  if (lease.spec.leaseDurationSeconds && *lease.spec.leaseDurationSeconds <= 0)
    errors.invalid(spec.child("leaseDurationSeconds"), std::to_string(*lease.spec.leaseDurationSeconds),
                   "must be greater than 0");
  require_nonnegative(lease.spec.leaseTransitions, spec.child("leaseTransitions"), errors);
  if (!lease.spec.preferredHolder.empty() && lease.spec.strategy.empty())
    errors.forbidden(spec.child("preferredHolder"), "may not be set without also setting `strategy`");
}

// ---- PodTemplates, ControllerRevisions

void validate_pod_template(const api::PodTemplate& object, const api::PodTemplate*, FieldErrors& errors) {
  check_template(object.template_, Path("template"), errors);
}
void warn_about_template(const api::PodTemplate& object, const api::PodTemplate*, Warnings& warnings) {
  warn_about_pod(object.template_.metadata, object.template_.spec, Path("template"), warnings);
}

void validate_revision(const api::ControllerRevision& one, const api::ControllerRevision* old, FieldErrors& errors) {
  if (one.data.json.empty() || one.data.json == "null") errors.required("data", "data is mandatory");
  require_nonnegative(one.revision, Path("revision"), errors);
  if (old && !(one.data == old->data)) errors.invalid("data", one.data.json, kImmutable);
}

}  // namespace

std::vector<Resource> classes() {
  Rules<api::PriorityClass> priorities;
  priorities.validate = validate_priority;
  Rules<api::RuntimeClass> runtimes;
  runtimes.validate = validate_runtime;
  Rules<api::Lease> leases;
  leases.validate = validate_lease;
  leases.create_on_update = true;
  leases.durable = false;  // heartbeats: never written to disk while the nodes live in this process
  Rules<api::PodTemplate> templates;
  templates.validate = validate_pod_template;
  templates.warn = warn_about_template;
  templates.counts_generation = true;
  templates.returns_deleted = true;
  Rules<api::ControllerRevision> revisions;
  revisions.validate = validate_revision;
  return {define(priorities), define(runtimes), define(leases), define(templates), define(revisions)};
}

}  // namespace skiff::registry
