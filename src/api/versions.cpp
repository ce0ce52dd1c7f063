#include "api/versions.hpp"

#include "api/version_rules.hpp"

namespace skiff::api {

using Json = nlohmann::json;

Json* find_at(Json& object, Path path) {
  Json* at = &object;
  for (const char* name : path) {
    if (!at->is_object()) return nullptr;
    auto found = at->find(name);
    if (found == at->end() || found->is_null()) return nullptr;
    at = &*found;
  }
  return at;
}

void fill_at(Json& object, Path path, Json value) {
  Json* at = &object;
  for (const char* name : path) {
    if (at->is_null()) *at = Json::object();
    if (!at->is_object()) return;
    at = &(*at)[name];
  }
  if (at->is_null()) *at = std::move(value);
}

Json take(Json& object, const char* name) {
  Json value;
  if (!object.is_object()) return value;
  auto found = object.find(name);
  if (found == object.end()) return value;
  value = std::move(*found);
  object.erase(found);
  return value;
}

void rename(Json& object, const char* from, const char* to) {
  Json value = take(object, from);
  if (!value.is_null()) object[to] = std::move(value);
}

namespace {

#define APPS_V1(kind) "apps/v1", kind
constexpr OtherVersion kVersions[] = {
    // Served by Kubernetes today.
    {"autoscaling", "v1", "HorizontalPodAutoscaler", "horizontalpodautoscalers", "horizontalpodautoscaler",
     "autoscaling/v2", "HorizontalPodAutoscaler", "", "", autoscaler_from_v1, autoscaler_to_v1},
    {"events.k8s.io", "v1", "Event", "events", "event", "v1", "Event", "", "", event_from_events, event_to_events},

    // Removed by Kubernetes.
    {"extensions", "v1beta1", "Deployment", "deployments", "deployment", APPS_V1("Deployment"), "v1.8", "v1.16",
     deployment_from_extensions, nullptr},
    {"extensions", "v1beta1", "DaemonSet", "daemonsets", "daemonset", APPS_V1("DaemonSet"), "v1.8", "v1.16",
     daemon_set_from_extensions, nullptr},
    {"extensions", "v1beta1", "ReplicaSet", "replicasets", "replicaset", APPS_V1("ReplicaSet"), "v1.8", "v1.16",
     selector_from_labels, nullptr},
    {"extensions", "v1beta1", "Ingress", "ingresses", "ingress", "networking.k8s.io/v1", "Ingress", "v1.14", "v1.22",
     ingress_from_beta, ingress_to_beta},
    {"extensions", "v1beta1", "NetworkPolicy", "networkpolicies", "networkpolicy", "networking.k8s.io/v1",
     "NetworkPolicy", "v1.9", "v1.16", nullptr, nullptr},
    {"extensions", "v1beta1", "PodSecurityPolicy", "podsecuritypolicies", "podsecuritypolicy", "policy/v1beta1",
     "PodSecurityPolicy", "v1.11", "v1.16", nullptr, nullptr},
    {"extensions", "v1beta1", "Job", "jobs", "job", "batch/v1", "Job", "v1.2", "v1.6", job_from_extensions, nullptr},
    {"extensions", "v1beta1", "HorizontalPodAutoscaler", "horizontalpodautoscalers", "horizontalpodautoscaler",
     "autoscaling/v2", "HorizontalPodAutoscaler", "v1.2", "v1.6", autoscaler_from_extensions,
     autoscaler_to_extensions},
    {"networking.k8s.io", "v1beta1", "Ingress", "ingresses", "ingress", "networking.k8s.io/v1", "Ingress", "v1.19",
     "v1.22", ingress_from_beta, ingress_to_beta},
    {"networking.k8s.io", "v1beta1", "IngressClass", "ingressclasses", "ingressclass", "networking.k8s.io/v1",
     "IngressClass", "v1.19", "v1.22", ingress_class_from_beta, nullptr},

    {"apps", "v1alpha1", "PetSet", "petsets", "petset", APPS_V1("StatefulSet"), "v1.4", "v1.5",
     stateful_set_from_beta1, nullptr},
    {"apps", "v1beta1", "Deployment", "deployments", "deployment", APPS_V1("Deployment"), "v1.8", "v1.16",
     deployment_from_beta1, nullptr},
    {"apps", "v1beta1", "StatefulSet", "statefulsets", "statefulset", APPS_V1("StatefulSet"), "v1.8", "v1.16",
     stateful_set_from_beta1, nullptr},
    {"apps", "v1beta1", "ControllerRevision", "controllerrevisions", "controllerrevision",
     APPS_V1("ControllerRevision"), "v1.8", "v1.16", nullptr, nullptr},
    {"apps", "v1beta2", "Deployment", "deployments", "deployment", APPS_V1("Deployment"), "v1.9", "v1.16", nullptr,
     nullptr},
    {"apps", "v1beta2", "DaemonSet", "daemonsets", "daemonset", APPS_V1("DaemonSet"), "v1.9", "v1.16", nullptr,
     nullptr},
    {"apps", "v1beta2", "ReplicaSet", "replicasets", "replicaset", APPS_V1("ReplicaSet"), "v1.9", "v1.16", nullptr,
     nullptr},
    {"apps", "v1beta2", "StatefulSet", "statefulsets", "statefulset", APPS_V1("StatefulSet"), "v1.9", "v1.16",
     nullptr, nullptr},
    {"apps", "v1beta2", "ControllerRevision", "controllerrevisions", "controllerrevision",
     APPS_V1("ControllerRevision"), "v1.9", "v1.16", nullptr, nullptr},
#undef APPS_V1

    {"batch", "v1beta1", "CronJob", "cronjobs", "cronjob", "batch/v1", "CronJob", "v1.21", "v1.25", nullptr, nullptr},
    {"batch", "v2alpha1", "CronJob", "cronjobs", "cronjob", "batch/v1", "CronJob", "v1.8", "v1.21",
     cron_job_from_alpha, nullptr},
    {"batch", "v2alpha1", "ScheduledJob", "scheduledjobs", "scheduledjob", "batch/v1", "CronJob", "v1.5", "v1.8",
     cron_job_from_alpha, nullptr},

    {"policy", "v1beta1", "PodDisruptionBudget", "poddisruptionbudgets", "poddisruptionbudget", "policy/v1",
     "PodDisruptionBudget", "v1.21", "v1.25", budget_from_beta, budget_to_beta},
    {"policy", "v1beta1", "Eviction", "", "", "policy/v1", "Eviction", "v1.22", "v1.25", nullptr, nullptr},

    {"autoscaling", "v2beta1", "HorizontalPodAutoscaler", "horizontalpodautoscalers", "horizontalpodautoscaler",
     "autoscaling/v2", "HorizontalPodAutoscaler", "v1.22", "v1.25", autoscaler_from_v2beta1, autoscaler_to_v2beta1},
    {"autoscaling", "v2beta2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", "horizontalpodautoscaler",
     "autoscaling/v2", "HorizontalPodAutoscaler", "v1.23", "v1.26", nullptr, nullptr},

    {"rbac.authorization.k8s.io", "v1beta1", "Role", "roles", "role", "rbac.authorization.k8s.io/v1", "Role", "v1.17",
     "v1.22", nullptr, nullptr},
    {"rbac.authorization.k8s.io", "v1beta1", "ClusterRole", "clusterroles", "clusterrole",
     "rbac.authorization.k8s.io/v1", "ClusterRole", "v1.17", "v1.22", nullptr, nullptr},
    {"rbac.authorization.k8s.io", "v1beta1", "RoleBinding", "rolebindings", "rolebinding",
     "rbac.authorization.k8s.io/v1", "RoleBinding", "v1.17", "v1.22", nullptr, nullptr},
    {"rbac.authorization.k8s.io", "v1beta1", "ClusterRoleBinding", "clusterrolebindings", "clusterrolebinding",
     "rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "v1.17", "v1.22", nullptr, nullptr},
    {"rbac.authorization.k8s.io", "v1alpha1", "Role", "roles", "role", "rbac.authorization.k8s.io/v1", "Role",
     "v1.17", "v1.22", nullptr, nullptr},
    {"rbac.authorization.k8s.io", "v1alpha1", "ClusterRole", "clusterroles", "clusterrole",
     "rbac.authorization.k8s.io/v1", "ClusterRole", "v1.17", "v1.22", nullptr, nullptr},
    {"rbac.authorization.k8s.io", "v1alpha1", "RoleBinding", "rolebindings", "rolebinding",
     "rbac.authorization.k8s.io/v1", "RoleBinding", "v1.17", "v1.22", binding_from_alpha, binding_to_alpha},
    {"rbac.authorization.k8s.io", "v1alpha1", "ClusterRoleBinding", "clusterrolebindings", "clusterrolebinding",
     "rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "v1.17", "v1.22", binding_from_alpha, binding_to_alpha},

    {"storage.k8s.io", "v1beta1", "StorageClass", "storageclasses", "storageclass", "storage.k8s.io/v1",
     "StorageClass", "v1.19", "v1.22", nullptr, nullptr},
    {"storage.k8s.io", "v1beta1", "VolumeAttachment", "volumeattachments", "volumeattachment", "storage.k8s.io/v1",
     "VolumeAttachment", "v1.19", "v1.22", nullptr, nullptr},
    {"storage.k8s.io", "v1beta1", "CSIDriver", "csidrivers", "csidriver", "storage.k8s.io/v1", "CSIDriver", "v1.19",
     "v1.22", nullptr, nullptr},
    {"storage.k8s.io", "v1beta1", "CSINode", "csinodes", "csinode", "storage.k8s.io/v1", "CSINode", "v1.17", "v1.22",
     nullptr, nullptr},
    {"storage.k8s.io", "v1beta1", "CSIStorageCapacity", "csistoragecapacities", "csistoragecapacity",
     "storage.k8s.io/v1", "CSIStorageCapacity", "v1.24", "v1.27", nullptr, nullptr},
    {"storage.k8s.io", "v1alpha1", "VolumeAttachment", "volumeattachments", "volumeattachment", "storage.k8s.io/v1",
     "VolumeAttachment", "v1.21", "v1.24", nullptr, nullptr},
    {"storage.k8s.io", "v1alpha1", "CSIStorageCapacity", "csistoragecapacities", "csistoragecapacity",
     "storage.k8s.io/v1", "CSIStorageCapacity", "v1.21", "v1.24", nullptr, nullptr},

    {"admissionregistration.k8s.io", "v1beta1", "MutatingWebhookConfiguration", "mutatingwebhookconfigurations",
     "mutatingwebhookconfiguration", "admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration", "v1.16",
     "v1.22", webhooks_from_beta, nullptr},
    {"admissionregistration.k8s.io", "v1beta1", "ValidatingWebhookConfiguration", "validatingwebhookconfigurations",
     "validatingwebhookconfiguration", "admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", "v1.16",
     "v1.22", webhooks_from_beta, nullptr},
    {"admissionregistration.k8s.io", "v1beta1", "ValidatingAdmissionPolicy", "validatingadmissionpolicies",
     "validatingadmissionpolicy", "admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy", "v1.31", "v1.34",
     nullptr, nullptr},
    {"admissionregistration.k8s.io", "v1beta1", "ValidatingAdmissionPolicyBinding",
     "validatingadmissionpolicybindings", "validatingadmissionpolicybinding", "admissionregistration.k8s.io/v1",
     "ValidatingAdmissionPolicyBinding", "v1.31", "v1.34", nullptr, nullptr},
    {"admissionregistration.k8s.io", "v1alpha1", "ValidatingAdmissionPolicy", "validatingadmissionpolicies",
     "validatingadmissionpolicy", "admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy", "v1.29", "v1.32",
     nullptr, nullptr},
    {"admissionregistration.k8s.io", "v1alpha1", "ValidatingAdmissionPolicyBinding",
     "validatingadmissionpolicybindings", "validatingadmissionpolicybinding", "admissionregistration.k8s.io/v1",
     "ValidatingAdmissionPolicyBinding", "v1.29", "v1.32", policy_binding_from_alpha, nullptr},

    {"apiextensions.k8s.io", "v1beta1", "CustomResourceDefinition", "customresourcedefinitions",
     "customresourcedefinition", "apiextensions.k8s.io/v1", "CustomResourceDefinition", "v1.16", "v1.22",
     definition_from_beta, definition_to_beta},
    {"apiregistration.k8s.io", "v1beta1", "APIService", "apiservices", "apiservice", "apiregistration.k8s.io/v1",
     "APIService", "v1.19", "v1.22", nullptr, nullptr},
    {"certificates.k8s.io", "v1beta1", "CertificateSigningRequest", "certificatesigningrequests",
     "certificatesigningrequest", "certificates.k8s.io/v1", "CertificateSigningRequest", "v1.19", "v1.22",
     signing_request_from_beta, nullptr},
    {"coordination.k8s.io", "v1beta1", "Lease", "leases", "lease", "coordination.k8s.io/v1", "Lease", "v1.19",
     "v1.22", nullptr, nullptr},
    {"discovery.k8s.io", "v1beta1", "EndpointSlice", "endpointslices", "endpointslice", "discovery.k8s.io/v1",
     "EndpointSlice", "v1.21", "v1.25", endpoint_slice_from_beta, endpoint_slice_to_beta},
    {"events.k8s.io", "v1beta1", "Event", "events", "event", "v1", "Event", "v1.22", "v1.25", event_from_events,
     event_to_events},
    {"node.k8s.io", "v1beta1", "RuntimeClass", "runtimeclasses", "runtimeclass", "node.k8s.io/v1", "RuntimeClass",
     "v1.22", "v1.25", nullptr, nullptr},
    {"node.k8s.io", "v1alpha1", "RuntimeClass", "runtimeclasses", "runtimeclass", "node.k8s.io/v1", "RuntimeClass",
     "v1.20", "v1.24", runtime_class_from_alpha, runtime_class_to_alpha},
    {"scheduling.k8s.io", "v1beta1", "PriorityClass", "priorityclasses", "priorityclass", "scheduling.k8s.io/v1",
     "PriorityClass", "v1.14", "v1.22", nullptr, nullptr},
    {"scheduling.k8s.io", "v1alpha1", "PriorityClass", "priorityclasses", "priorityclass", "scheduling.k8s.io/v1",
     "PriorityClass", "v1.14", "v1.22", nullptr, nullptr},
    {"authentication.k8s.io", "v1beta1", "TokenReview", "tokenreviews", "tokenreview", "authentication.k8s.io/v1",
     "TokenReview", "v1.19", "v1.22", nullptr, nullptr},
    {"authorization.k8s.io", "v1beta1", "SubjectAccessReview", "subjectaccessreviews", "subjectaccessreview",
     "authorization.k8s.io/v1", "SubjectAccessReview", "v1.19", "v1.22", access_review_from_beta,
     access_review_to_beta},
    {"authorization.k8s.io", "v1beta1", "LocalSubjectAccessReview", "localsubjectaccessreviews",
     "localsubjectaccessreview", "authorization.k8s.io/v1", "LocalSubjectAccessReview", "v1.19", "v1.22",
     access_review_from_beta, access_review_to_beta},
    {"authorization.k8s.io", "v1beta1", "SelfSubjectAccessReview", "selfsubjectaccessreviews",
     "selfsubjectaccessreview", "authorization.k8s.io/v1", "SelfSubjectAccessReview", "v1.19", "v1.22", nullptr,
     nullptr},
    {"authorization.k8s.io", "v1beta1", "SelfSubjectRulesReview", "selfsubjectrulesreviews",
     "selfsubjectrulesreview", "authorization.k8s.io/v1", "SelfSubjectRulesReview", "v1.19", "v1.22", nullptr,
     nullptr},
    {"flowcontrol.apiserver.k8s.io", "v1beta1", "FlowSchema", "flowschemas", "flowschema",
     "flowcontrol.apiserver.k8s.io/v1", "FlowSchema", "v1.23", "v1.26", nullptr, nullptr},
    {"flowcontrol.apiserver.k8s.io", "v1beta1", "PriorityLevelConfiguration", "prioritylevelconfigurations",
     "prioritylevelconfiguration", "flowcontrol.apiserver.k8s.io/v1", "PriorityLevelConfiguration", "v1.23", "v1.26",
     priority_level_from_beta, priority_level_to_beta},
    {"flowcontrol.apiserver.k8s.io", "v1beta2", "FlowSchema", "flowschemas", "flowschema",
     "flowcontrol.apiserver.k8s.io/v1", "FlowSchema", "v1.26", "v1.29", nullptr, nullptr},
    {"flowcontrol.apiserver.k8s.io", "v1beta2", "PriorityLevelConfiguration", "prioritylevelconfigurations",
     "prioritylevelconfiguration", "flowcontrol.apiserver.k8s.io/v1", "PriorityLevelConfiguration", "v1.26", "v1.29",
     priority_level_from_beta, priority_level_to_beta},
    {"flowcontrol.apiserver.k8s.io", "v1beta3", "FlowSchema", "flowschemas", "flowschema",
     "flowcontrol.apiserver.k8s.io/v1", "FlowSchema", "v1.29", "v1.32", nullptr, nullptr},
    {"flowcontrol.apiserver.k8s.io", "v1beta3", "PriorityLevelConfiguration", "prioritylevelconfigurations",
     "prioritylevelconfiguration", "flowcontrol.apiserver.k8s.io/v1", "PriorityLevelConfiguration", "v1.29", "v1.32",
     nullptr, nullptr},
};

void name_version(Json& object, std::string api_version, std::string kind) {
  object["apiVersion"] = std::move(api_version);
  object["kind"] = std::move(kind);
}

}  // namespace

std::span<const OtherVersion> other_versions() { return kVersions; }

Status to_stored_version(const OtherVersion& version, Json& object) {
  if (version.to_stored != nullptr) TRY(version.to_stored(object));
  name_version(object, version.stored_version, version.stored_kind);
  return ok();
}

void from_stored_version(const OtherVersion& version, Json& object) {
  if (version.from_stored != nullptr) version.from_stored(object);
  name_version(object, version.api_version(), version.kind);
}

}  // namespace skiff::api
