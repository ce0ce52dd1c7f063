// Admission plugin PodSecurity: holds pods to the level that the labels of their namespace name.

#include <algorithm>
#include <map>

#include "api/gen/apps.hpp"
#include "api/gen/batch.hpp"
#include "api/gen/core.hpp"
#include "api/gen/pod.hpp"
#include "base/encoding.hpp"
#include "registry/admission_plugins.hpp"
#include "registry/pod_security.hpp"

namespace skiff::registry {
namespace {

constexpr char kPrefix[] = "pod-security.kubernetes.io/";

// What the labels say of one mode; privileged when they say nothing. Unreadable labels are as strict as can be.
SecurityPolicy policy_of(const api::ObjectMeta& metadata, const std::string& mode) {
  SecurityPolicy policy;
  if (auto level = metadata.labels.find(kPrefix + mode); level != metadata.labels.end())
    policy.level = security_level(level->second).value_or(SecurityLevel::Restricted);
  if (auto version = metadata.labels.find(kPrefix + mode + "-version"); version != metadata.labels.end())
    policy.minor = security_version(version->second).value_or(SecurityPolicy::kLatest);
  return policy;
}

std::string details_of(const std::vector<Violation>& violations) {
  std::vector<std::string> parts;
  for (const Violation& one : violations) parts.push_back(fmt::format("{} ({})", one.reason, one.detail));
  return join(parts, ", ");
}

void warn(const Attributes& attributes, std::string text) {
  auto& warnings = attributes.context.request.warnings;
  if (std::find(warnings.begin(), warnings.end(), text) == warnings.end()) warnings.push_back(std::move(text));
}

// ---- namespaces: their labels, and what a stricter level means for the pods that are there

Status check_labels(const api::Namespace& next, const api::Namespace* old) {
  api::FieldErrors errors;
  auto check = [&](const std::string& label, const auto& parse, const char* wanted) {
    auto found = next.metadata.labels.find(label);
    if (found == next.metadata.labels.end() || parse(found->second)) return;
    if (old) {  // what was there before is left alone
      auto before = old->metadata.labels.find(label);
      if (before != old->metadata.labels.end() && before->second == found->second) return;
    }
    errors.invalid(fmt::format("metadata.labels[{}]", label), api::quote(found->second), wanted);
  };
  for (const char* mode : {"enforce", "audit", "warn"}) {
    check(std::string(kPrefix) + mode, security_level, "must be one of privileged, baseline, restricted");
    check(fmt::format("{}{}-version", kPrefix, mode), security_version, "must be \"latest\" or \"v1.x\"");
  }
  return errors.empty() ? ok() : Status(api::invalid(api::kind_of<api::Namespace>(), next.metadata.name, errors));
}

void warn_of_pods(const PluginContext& context, const Attributes& attributes, const SecurityPolicy& policy) {
  struct Group {
    std::string first;
    int count = 0;
  };
  std::map<std::string, Group> groups;  // by what they violate
  for (const auto& pod : all_of<api::Pod>(context, attributes.key.name)) {
    std::vector<std::string> reasons;
    for (const Violation& one : security_violations(policy, pod->metadata, pod->spec)) reasons.push_back(one.reason);
    if (reasons.empty()) continue;
    Group& group = groups[join(reasons, ", ")];
    if (group.count++ == 0) group.first = pod->metadata.name;  // the list is in the order of names
  }
  if (groups.empty()) return;
  warn(attributes, fmt::format("existing pods in namespace {} violate the new PodSecurity enforce level {}",
                               api::quote(attributes.key.name), api::quote(policy.text())));
  std::vector<std::string> texts;
  for (const auto& [reasons, group] : groups) {
    std::string others = group.count == 1   ? ""
                         : group.count == 2 ? " (and 1 other pod)"
                                            : fmt::format(" (and {} other pods)", group.count - 1);
    texts.push_back(fmt::format("{}{}: {}", group.first, others, reasons));
  }
  std::sort(texts.begin(), texts.end());
  for (std::string& text : texts) warn(attributes, std::move(text));
}

Status check_namespace_labels(const PluginContext& context, const Attributes& attributes, const api::Namespace& next) {
  const auto* old = attributes.old_as<api::Namespace>();
  TRY(check_labels(next, old));
  if (!old || old->metadata.labels == next.metadata.labels) return ok();
  SecurityPolicy before = policy_of(old->metadata, "enforce"), now = policy_of(next.metadata, "enforce");
  bool relaxed = before.minor == now.minor && now.level <= before.level;
  if (now.level != SecurityLevel::Privileged && !relaxed) warn_of_pods(context, attributes, now);
  return ok();
}

// ---- pods and their templates

struct PodShape {
  const api::ObjectMeta* metadata = nullptr;
  const api::PodSpec* spec = nullptr;
};

template <class T>
bool shape_of_template(const Attributes& attributes, PodShape& shape) {
  const T* object = attributes.object_as<T>();
  if (object == nullptr) return false;
  auto take = [&](const api::PodTemplateSpec& form) { shape = {&form.metadata, &form.spec}; };
  if constexpr (requires { object->template_.spec; }) take(object->template_);
  else if constexpr (requires { object->spec.jobTemplate; }) take(object->spec.jobTemplate.spec.template_);
  else if constexpr (requires { object->spec.template_->spec; }) {
    if (object->spec.template_) take(*object->spec.template_);
  } else take(object->spec.template_);
  return true;
}

template <class... Kinds>
PodShape shape_of_any(const Attributes& attributes) {
  PodShape shape;
  (shape_of_template<Kinds>(attributes, shape) || ...);
  return shape;
}

// An update that can only make a pod run on or end says nothing new (isSignificantPodUpdate).
bool is_significant(const Attributes& attributes, const api::Pod& pod) {
  const auto* old = attributes.old_as<api::Pod>();
  if (!old || attributes.operation == Operation::Create) return true;
  if (pod.metadata.annotations != old->metadata.annotations) return true;
  api::PodSpec alike = old->spec;
  alike.activeDeadlineSeconds = pod.spec.activeDeadlineSeconds;
  alike.tolerations = pod.spec.tolerations;
  if (alike.containers.size() != pod.spec.containers.size()) return true;
  for (size_t i = 0; i < alike.containers.size(); ++i) alike.containers[i].image = pod.spec.containers[i].image;
  return !(alike == pod.spec);
}

const api::Pod* pod_of(const Attributes& attributes) {
  if (!attributes.object || attributes.object->kind != &api::kind_of<api::Pod>()) return nullptr;
  bool looked_at = attributes.subresource.empty() || attributes.subresource == "ephemeralcontainers" ||
                   attributes.subresource == "resize";
  return looked_at ? static_cast<const api::Pod*>(attributes.object->value.get()) : nullptr;
}

Status evaluate(const Attributes& attributes, const PodShape& shape, const api::ObjectMeta& namespace_, bool enforced) {
  SecurityPolicy enforce = policy_of(namespace_, "enforce"), warning = policy_of(namespace_, "warn");
  SecurityPolicy audited = policy_of(namespace_, "audit");
  auto& notes = attributes.context.request.audit_annotations;
  if (enforced) notes["pod-security.kubernetes.io/enforce-policy"] = enforce.text();
  if (auto found = security_violations(audited, *shape.metadata, *shape.spec); !found.empty())
    notes["pod-security.kubernetes.io/audit-violations"] =
        fmt::format("would violate PodSecurity {}: {}", api::quote(audited.text()), details_of(found));
  if (enforced) {
    auto violations = security_violations(enforce, *shape.metadata, *shape.spec);
    if (!violations.empty())
      return forbidden(attributes, fmt::format("violates PodSecurity {}: {}", api::quote(enforce.text()), details_of(violations)));
  }
  auto violations = security_violations(warning, *shape.metadata, *shape.spec);
  if (!violations.empty())
    warn(attributes, fmt::format("would violate PodSecurity {}: {}", api::quote(warning.text()), details_of(violations)));
  return ok();
}

}  // namespace

Status check_pod_security(const PluginContext& context, const Attributes& attributes) {
  if (attributes.operation == Operation::Connect || !attributes.object) return ok();
  if (const auto* namespace_ = attributes.object_as<api::Namespace>())
    return check_namespace_labels(context, attributes, *namespace_);
  const api::Pod* pod = pod_of(attributes);
  PodShape shape;
  if (pod) shape = {&pod->metadata, &pod->spec};
  else shape = shape_of_any<api::ReplicaSet, api::Deployment, api::StatefulSet, api::DaemonSet, api::Job, api::CronJob,
                            api::ReplicationController, api::PodTemplate>(attributes);
  if (!shape.spec) return ok();
  const Resource& namespaces = context.registry.of(api::kind_of<api::Namespace>());
  Result<Object> found = context.registry.get(namespaces, {"", attributes.key.namespace_});
  if (!found.ok()) return ok();  // nothing new comes into a namespace that is not there
  const client::Ref<api::ObjectMeta> metadata = found.value().metadata();
  const auto& labels = metadata->labels;
  auto labelled = labels.lower_bound(kPrefix);
  if (labelled == labels.end() || !labelled->first.starts_with(kPrefix)) return ok();
  if (pod && !is_significant(attributes, *pod)) return ok();
  return evaluate(attributes, shape, *metadata, pod != nullptr);
}

}  // namespace skiff::registry
