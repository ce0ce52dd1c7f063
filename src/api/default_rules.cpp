#include "api/default_rules.hpp"

#include <algorithm>
#include <unordered_map>

#include "api/defaults.hpp"
#include "api/gen/apiextensions.hpp"
#include "api/gen/apps.hpp"
#include "api/gen/autoscaling.hpp"
#include "api/gen/batch.hpp"
#include "api/gen/core.hpp"
#include "api/gen/networking.hpp"
#include "api/gen/nodes.hpp"
#include "api/gen/pod.hpp"
#include "api/gen/rbac.hpp"
#include "api/gen/resource.hpp"
#include "api/gen/service.hpp"
#include "api/gen/volume.hpp"

namespace skiff::api {

const char* default_pull_policy(std::string_view image) {
  if (image.find('@') != std::string_view::npos) return "IfNotPresent";
  size_t colon = image.rfind(':'), slash = image.rfind('/');
  bool tagged = colon != std::string_view::npos && (slash == std::string_view::npos || colon > slash);
  return !tagged || image.substr(colon + 1) == "latest" ? "Always" : "IfNotPresent";
}

namespace {

template <class Field, class Value>
void set_if_empty(Field& field, Value value) {
  if (field.empty()) field = value;
}
template <class T, class Value>
void set_if_absent(std::optional<T>& field, Value value) {
  if (!field) field = value;
}

// ---- pods

template <class C>
void container(C& container) {
  set_if_empty(container.imagePullPolicy, default_pull_policy(container.image));
}

template <class F>
void each_container(PodSpec& spec, F apply) {
  for (Container& container : spec.initContainers) apply(container);
  for (Container& container : spec.containers) apply(container);
}

void pod(Pod& pod) {
  PodSpec& spec = pod.spec;
  set_if_absent(spec.enableServiceLinks, true);
  each_container(spec, [&](Container& one) {
    for (const auto& [resource, limit] : one.resources.limits) one.resources.requests.try_emplace(resource, limit);
    if (!spec.hostNetwork) return;
    for (ContainerPort& port : one.ports)
      if (port.hostPort == 0) port.hostPort = port.containerPort;
  });
  if (spec.resources)
    for (const auto& [resource, limit] : spec.resources->limits) spec.resources->requests.try_emplace(resource, limit);
}

void pod_spec(PodSpec& spec) {
  // The deprecated spelling is kept equal to the current one.
  if (spec.serviceAccountName.empty()) spec.serviceAccountName = spec.serviceAccount;
  spec.serviceAccount = spec.serviceAccountName;
}

bool has_source(const Volume& volume) {
  const TypeInfo& type = type_of<Volume>();
  return std::any_of(type.fields.begin(), type.fields.end(), [&](const FieldInfo& field) {
    return field.shape == Shape::Optional && field.ops->size(field_at(&volume, field)) > 0;
  });
}

void volume(Volume& volume) {
  if (!has_source(volume)) volume.emptyDir.emplace();
}

void image_volume(ImageVolumeSource& source) {
  set_if_empty(source.pullPolicy, default_pull_policy(source.reference));
}

// ---- services

void service_port(ServicePort& port) {
  bool unset = !port.targetPort || (port.targetPort->is_string ? port.targetPort->text.empty() : port.targetPort->number == 0);
  if (unset) port.targetPort = IntOrString(port.port);
}

void service_spec(ServiceSpec& spec) {
  if (spec.sessionAffinity == "None") spec.sessionAffinityConfig = {};
  if (spec.sessionAffinity == "ClientIP") {
    ClientIPConfig& client = spec.sessionAffinityConfig.ensure().clientIP.ensure();
    set_if_absent(client.timeoutSeconds, 10800);
  }
  bool from_outside = spec.type == "NodePort" || spec.type == "LoadBalancer" ||
                      (spec.type == "ClusterIP" && !spec.externalIPs.empty());
  if (from_outside) set_if_empty(spec.externalTrafficPolicy, "Cluster");
  if (spec.type != "ExternalName") set_if_empty(spec.internalTrafficPolicy, "Cluster");
  if (spec.type == "LoadBalancer") set_if_absent(spec.allocateLoadBalancerNodePorts, true);
}

void load_balancer_ingress(LoadBalancerIngress& ingress) {
  if (!ingress.ip.empty()) set_if_empty(ingress.ipMode, "VIP");
}

// ---- the rest of core

void node_status(NodeStatus& status) {
  if (status.allocatable.empty()) status.allocatable = status.capacity;
}

void persistent_volume(PersistentVolume& volume) { set_if_empty(volume.status.phase, "Pending"); }
void persistent_volume_claim(PersistentVolumeClaim& claim) { set_if_empty(claim.status.phase, "Pending"); }

void limit_range_item(LimitRangeItem& item) {
  if (item.type != "Container") return;
  for (const auto& [resource, max] : item.max) item.default_.try_emplace(resource, max);
  for (const auto& [resource, value] : item.default_) item.defaultRequest.try_emplace(resource, value);
  for (const auto& [resource, min] : item.min) item.defaultRequest.try_emplace(resource, min);
}

void replication_controller(ReplicationController& controller) {
  if (!controller.spec.template_) return;
  const auto& labels = controller.spec.template_->metadata.labels;
  set_if_empty(controller.spec.selector, labels);
  set_if_empty(controller.metadata.labels, labels);
}

// ---- workloads

void deployment_spec(DeploymentSpec& spec) {
  set_if_empty(spec.strategy.type, "RollingUpdate");
  if (spec.strategy.type != "RollingUpdate") return;
  RollingUpdateDeployment& rolling = spec.strategy.rollingUpdate.ensure();
  set_if_absent(rolling.maxUnavailable, "25%");
  set_if_absent(rolling.maxSurge, "25%");
}

void daemon_set_spec(DaemonSetSpec& spec) {
  set_if_empty(spec.updateStrategy.type, "RollingUpdate");
  if (spec.updateStrategy.type != "RollingUpdate") return;
  RollingUpdateDaemonSet& rolling = spec.updateStrategy.rollingUpdate.ensure();
  set_if_absent(rolling.maxUnavailable, 1);
  set_if_absent(rolling.maxSurge, 0);
}

void stateful_set_spec(StatefulSetSpec& spec) {
  bool chosen = !spec.updateStrategy.type.empty();
  set_if_empty(spec.updateStrategy.type, "RollingUpdate");
  if (!chosen && spec.updateStrategy.type == "RollingUpdate") spec.updateStrategy.rollingUpdate.ensure();
  if (spec.updateStrategy.rollingUpdate) set_if_absent(spec.updateStrategy.rollingUpdate->partition, 0);
  if (spec.persistentVolumeClaimRetentionPolicy) {
    set_if_empty(spec.persistentVolumeClaimRetentionPolicy->whenDeleted, "Retain");
    set_if_empty(spec.persistentVolumeClaimRetentionPolicy->whenScaled, "Retain");
  }
}

void job_spec(JobSpec& spec) {
  if (!spec.completions && !spec.parallelism) spec.completions = 1;
  set_if_absent(spec.parallelism, 1);
  set_if_absent(spec.backoffLimit, spec.backoffLimitPerIndex ? 2147483647 : 6);
  set_if_empty(spec.podReplacementPolicy, spec.podFailurePolicy ? "Failed" : "TerminatingOrFailed");
}

void job(Job& job) { set_if_empty(job.metadata.labels, job.spec.template_.metadata.labels); }

// ---- the other groups

void network_policy_spec(NetworkPolicySpec& spec) {
  if (!spec.policyTypes.empty()) return;
  spec.policyTypes.emplace_back("Ingress");
  if (!spec.egress.empty()) spec.policyTypes.emplace_back("Egress");
}

void ingress_class_spec(IngressClassSpec& spec) {
  if (spec.parameters) set_if_empty(spec.parameters->scope, "Cluster");
}

HPAScalingPolicy scaling_policy(const char* type, int value) {
  HPAScalingPolicy policy;
  policy.type = type;
  policy.value = value;
  policy.periodSeconds = 15;
  return policy;
}

void autoscaler_behavior(HorizontalPodAutoscalerBehavior& behavior) {
  HPAScalingRules& up = behavior.scaleUp.ensure();
  set_if_absent(up.stabilizationWindowSeconds, 0);
  set_if_empty(up.selectPolicy, "Max");
  if (up.policies.empty()) up.policies = {scaling_policy("Pods", 4), scaling_policy("Percent", 100)};
  HPAScalingRules& down = behavior.scaleDown.ensure();
  set_if_empty(down.selectPolicy, "Max");
  if (down.policies.empty()) down.policies = {scaling_policy("Percent", 100)};
}

void autoscaler_spec(HorizontalPodAutoscalerSpec& spec) {
  if (!spec.metrics.empty()) return;
  MetricSpec metric;
  metric.type = "Resource";
  ResourceMetricSource& resource = metric.resource.emplace();
  resource.name = "cpu";
  resource.target.type = "Utilization";
  resource.target.averageUtilization = 80;
  spec.metrics.push_back(std::move(metric));
}

void role_ref(RoleRef& ref) { set_if_empty(ref.apiGroup, "rbac.authorization.k8s.io"); }
void subject(Subject& subject) {
  if (subject.kind == "User" || subject.kind == "Group") set_if_empty(subject.apiGroup, "rbac.authorization.k8s.io");
}

template <class Request>
void device_request(Request& request) {
  if (request.allocationMode == "ExactCount") set_if_absent(request.count, 1);
}

void crd_names(CustomResourceDefinitionNames& names) {
  if (names.singular.empty()) {
    names.singular = names.kind;
    std::transform(names.singular.begin(), names.singular.end(), names.singular.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  }
  if (names.listKind.empty() && !names.kind.empty()) names.listKind = names.kind + "List";
}

void crd_spec(CustomResourceDefinitionSpec& spec) {
  set_if_empty(spec.conversion.ensure().strategy, "None");
}

template <class T, void (*rule)(T&)>
std::pair<const TypeInfo* const, DefaultRule> on() {
  return {&type_of<T>(), [](void* object) { rule(*static_cast<T*>(object)); }};
}

}  // namespace

DefaultRule default_rule(const TypeInfo& type) {
  static const std::unordered_map<const TypeInfo*, DefaultRule> kRules = {
      on<Container, container<Container>>(),
      on<EphemeralContainer, container<EphemeralContainer>>(),
      on<Pod, pod>(),
      on<PodSpec, pod_spec>(),
      on<Volume, volume>(),
      on<ImageVolumeSource, image_volume>(),
      on<ServicePort, service_port>(),
      on<ServiceSpec, service_spec>(),
      on<LoadBalancerIngress, load_balancer_ingress>(),
      on<NodeStatus, node_status>(),
      on<PersistentVolume, persistent_volume>(),
      on<PersistentVolumeClaim, persistent_volume_claim>(),
      on<LimitRangeItem, limit_range_item>(),
      on<ReplicationController, replication_controller>(),
      on<DeploymentSpec, deployment_spec>(),
      on<DaemonSetSpec, daemon_set_spec>(),
      on<StatefulSetSpec, stateful_set_spec>(),
      on<JobSpec, job_spec>(),
      on<Job, job>(),
      on<NetworkPolicySpec, network_policy_spec>(),
      on<IngressClassSpec, ingress_class_spec>(),
      on<HorizontalPodAutoscalerBehavior, autoscaler_behavior>(),
      on<HorizontalPodAutoscalerSpec, autoscaler_spec>(),
      on<RoleRef, role_ref>(),
      on<Subject, subject>(),
      on<ExactDeviceRequest, device_request<ExactDeviceRequest>>(),
      on<DeviceSubRequest, device_request<DeviceSubRequest>>(),
      on<CustomResourceDefinitionNames, crd_names>(),
      on<CustomResourceDefinitionSpec, crd_spec>(),
  };
  auto found = kRules.find(&type);
  return found == kRules.end() ? nullptr : found->second;
}

}  // namespace skiff::api
