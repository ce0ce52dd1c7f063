// Cells of configuration, storage, policy and the API's own machinery.

#include "api/gen/admissionregistration.hpp"
#include "api/gen/apiregistration.hpp"
#include "api/gen/autoscaling.hpp"
#include "api/gen/certificates.hpp"
#include "api/gen/coordination.hpp"
#include "api/gen/core.hpp"
#include "api/gen/events.hpp"
#include "api/gen/flowcontrol.hpp"
#include "api/gen/node.hpp"
#include "api/gen/policy.hpp"
#include "api/gen/rbac.hpp"
#include "api/gen/resource.hpp"
#include "api/gen/scheduling.hpp"
#include "api/gen/storage.hpp"
#include "api/gen/volume.hpp"
#include "apiserver/cells.hpp"

namespace skiff::apiserver {
namespace {

std::int64_t count(size_t size) { return static_cast<std::int64_t>(size); }

void namespace_cells(const api::Namespace& object, Row& row) {
  row.text(object.metadata.name).text(object.status.phase).age(object.metadata.creationTimestamp);
}

void config_map_cells(const api::ConfigMap& object, Row& row) {
  row.text(object.metadata.name).number(count(object.data.size() + object.binaryData.size()));
  row.age(object.metadata.creationTimestamp);
}

void secret_cells(const api::Secret& object, Row& row) {
  row.text(object.metadata.name).text(object.type).number(count(object.data.size()));
  row.age(object.metadata.creationTimestamp);
}

void service_account_cells(const api::ServiceAccount& object, Row& row) {
  row.text(object.metadata.name).number(count(object.secrets.size())).age(object.metadata.creationTimestamp);
}

void component_status_cells(const api::ComponentStatus& object, Row& row) {
  std::string status = "Unknown", message, problem;
  for (const api::ComponentCondition& condition : object.conditions) {
    if (condition.type != "Healthy") continue;
    status = condition.status == "True" ? "Healthy" : "Unhealthy";
    message = condition.message;
    problem = condition.error;
  }
  row.text(object.metadata.name).text(status).text(message).text(problem);
}

// ---- events

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; });
  return text;
}

/// The two Event kinds, seen alike.
struct EventView {
  const api::ObjectMeta& metadata;
  const std::string &type, &reason, &message;
  const api::ObjectReference& object;
  const api::EventSource& source;
  const std::string &controller, &instance;
  api::Time first, last;
  std::optional<WallTime> event_time, series_time;
  std::int64_t count;
};

std::string event_age(WallTime now, std::optional<WallTime> moment) {
  if (!moment) return "<unknown>";
  return human_duration(std::chrono::duration_cast<std::chrono::seconds>(now - *moment));
}

void event_row(const EventView& event, Row& row) {
  std::optional<WallTime> first;
  if (event.event_time) first = event.event_time;
  if (event.first) first = event.first.wall();
  std::optional<WallTime> last = event.last ? std::optional(event.last.wall()) : first;
  if (event.series_time) last = event.series_time;
  std::string source = event.source.component.empty() ? event.controller : event.source.component;
  const std::string& host = event.source.host.empty() ? event.instance : event.source.host;
  if (!host.empty()) source += ", " + host;
  std::string message = event.message;
  message.erase(message.find_last_not_of(" \n\t") + 1);
  row.text(event_age(row.now(), last)).text(event.type).text(event.reason);
  row.text(lower(event.object.kind) + "/" + event.object.name).text(event.object.fieldPath).text(source);
  row.text(message)
      .text(event_age(row.now(), first))
      .text(std::to_string(std::max<std::int64_t>(event.count, 1)));
  row.text(event.metadata.name);
}

std::optional<WallTime> moment(const api::MicroTime& time) {
  return time ? std::optional(time.wall()) : std::nullopt;
}

void event_cells(const api::Event& event, Row& row) {
  event_row({event.metadata, event.type, event.reason, event.message, event.involvedObject, event.source,
             event.reportingComponent, event.reportingInstance, event.firstTimestamp, event.lastTimestamp,
             moment(event.eventTime), event.series ? moment(event.series->lastObservedTime) : std::nullopt,
             event.series ? event.series->count : event.count},
            row);
}

void new_event_cells(const api::EventsEvent& event, Row& row) {
  event_row({event.metadata, event.type, event.reason, event.note, event.regarding, event.deprecatedSource,
             event.reportingController, event.reportingInstance, event.deprecatedFirstTimestamp,
             event.deprecatedLastTimestamp, moment(event.eventTime),
             event.series ? moment(event.series->lastObservedTime) : std::nullopt,
             event.series ? event.series->count : event.deprecatedCount},
            row);
}

// ---- quotas, budgets, autoscaling

std::string usage(const api::ResourceQuota& quota, bool limits) {
  std::vector<std::string> items;
  for (const auto& [name, hard] : quota.status.hard) {
    if (name.starts_with("limits.") != limits) continue;
    auto used = quota.status.used.find(name);
    items.push_back(fmt::format("{}: {}/{}", name,
                                used == quota.status.used.end() ? "0" : used->second.text(), hard.text()));
  }
  return join(items, ", ");
}

void resource_quota_cells(const api::ResourceQuota& object, Row& row) {
  row.text(object.metadata.name).text(usage(object, false)).text(usage(object, true));
  row.age(object.metadata.creationTimestamp);
}

void disruption_budget_cells(const api::PodDisruptionBudget& object, Row& row) {
  row.text(object.metadata.name).text(object.spec.minAvailable ? object.spec.minAvailable->str() : "N/A");
  row.text(object.spec.maxUnavailable ? object.spec.maxUnavailable->str() : "N/A");
  row.number(object.status.disruptionsAllowed).age(object.metadata.creationTimestamp);
}

std::string target_text(const api::MetricTarget& target) {
  if (target.averageUtilization) return fmt::format("{}%", *target.averageUtilization);
  if (target.averageValue) return target.averageValue->text() + " (avg)";
  return target.value ? target.value->text() : "<auto>";
}

std::string current_text(const api::MetricValueStatus& current) {
  if (current.averageUtilization) return fmt::format("{}%", *current.averageUtilization);
  if (current.averageValue) return current.averageValue->text();
  return current.value ? current.value->text() : "<unknown>";
}

std::string metric_text(const api::MetricSpec& spec, const api::MetricStatus* status) {
  auto text = [](const std::string& name, const api::MetricTarget& target,
                 const api::MetricValueStatus* current) {
    return fmt::format("{}{}/{}", name, current ? current_text(*current) : "<unknown>", target_text(target));
  };
  if (spec.resource)
    return text(spec.resource->name + ": ", spec.resource->target,
                status && status->resource ? &status->resource->current : nullptr);
  if (spec.containerResource)
    return text(spec.containerResource->name + ": ", spec.containerResource->target,
                status && status->containerResource ? &status->containerResource->current : nullptr);
  if (spec.pods)
    return text("", spec.pods->target, status && status->pods ? &status->pods->current : nullptr);
  if (spec.object)
    return text("", spec.object->target, status && status->object ? &status->object->current : nullptr);
  if (spec.external)
    return text("", spec.external->target, status && status->external ? &status->external->current : nullptr);
  return "<unknown type>";
}

template <class Autoscaler>
void autoscaler_row(const Autoscaler& object, const std::string& targets, Row& row) {
  row.text(object.metadata.name)
      .text(object.spec.scaleTargetRef.kind + "/" + object.spec.scaleTargetRef.name);
  row.text(targets).text(object.spec.minReplicas ? std::to_string(*object.spec.minReplicas) : "<unset>");
  row.number(object.spec.maxReplicas)
      .number(object.status.currentReplicas)
      .age(object.metadata.creationTimestamp);
}

void autoscaler_cells(const api::HorizontalPodAutoscaler& object, Row& row) {
  std::vector<std::string> metrics;
  const auto& current = object.status.currentMetrics;
  for (size_t i = 0; i < object.spec.metrics.size(); ++i)
    metrics.push_back(metric_text(object.spec.metrics[i], i < current.size() ? &current[i] : nullptr));
  autoscaler_row(object, metrics.empty() ? "<none>" : shortened(metrics, ", ", 2), row);
}

void old_autoscaler_cells(const api::V1HorizontalPodAutoscaler& object, Row& row) {
  std::string targets = "<none>";
  if (object.spec.targetCPUUtilizationPercentage) {
    const auto& current = object.status.currentCPUUtilizationPercentage;
    targets = fmt::format("cpu: {}/{}%", current ? fmt::format("{}%", *current) : "<unknown>",
                          *object.spec.targetCPUUtilizationPercentage);
  }
  autoscaler_row(object, targets, row);
}

// ---- storage

std::string access_modes(const std::vector<std::string>& modes) {
  static constexpr std::pair<std::string_view, std::string_view> kShort[] = {{"ReadWriteOnce", "RWO"},
                                                                             {"ReadOnlyMany", "ROX"},
                                                                             {"ReadWriteMany", "RWX"},
                                                                             {"ReadWriteOncePod", "RWOP"}};
  std::vector<std::string> items;
  for (const auto& [name, text] : kShort)
    if (std::ranges::find(modes, name) != modes.end()) items.emplace_back(text);
  return join(items, ",");
}

template <class Map>
std::string storage_of(const Map& resources) {
  auto found = resources.find("storage");
  return found == resources.end() ? "" : found->second.text();
}

template <class T>
std::string volume_phase(const T& object) {
  return object.metadata.deletionTimestamp ? "Terminating" : object.status.phase;
}

void persistent_volume_cells(const api::PersistentVolume& object, Row& row) {
  const api::PersistentVolumeSpec& spec = object.spec;
  row.text(object.metadata.name).text(storage_of(spec.capacity)).text(access_modes(spec.accessModes));
  row.text(spec.persistentVolumeReclaimPolicy).text(volume_phase(object));
  row.text(spec.claimRef ? spec.claimRef->namespace_ + "/" + spec.claimRef->name : "")
      .text(spec.storageClassName);
  row.text_or(spec.volumeAttributesClassName.value_or(""), "<unset>").text(object.status.reason);
  row.age(object.metadata.creationTimestamp).text_or(spec.volumeMode, "<unset>");
}

void volume_claim_cells(const api::PersistentVolumeClaim& object, Row& row) {
  bool bound = !object.spec.volumeName.empty();
  row.text(object.metadata.name).text(volume_phase(object)).text(object.spec.volumeName);
  row.text(bound ? storage_of(object.status.capacity) : "")
      .text(bound ? access_modes(object.status.accessModes) : "");
  row.text(object.spec.storageClassName.value_or(""));
  row.text_or(object.spec.volumeAttributesClassName.value_or(""), "<unset>")
      .age(object.metadata.creationTimestamp);
  row.text_or(object.spec.volumeMode, "<unset>");
}

void storage_class_cells(const api::StorageClass& object, Row& row) {
  const auto& annotations = object.metadata.annotations;
  auto marked = [&annotations](const char* name) {
    auto found = annotations.find(name);
    return found != annotations.end() && found->second == "true";
  };
  bool is_default = marked("storageclass.kubernetes.io/is-default-class") ||
                    marked("storageclass.beta.kubernetes.io/is-default-class");
  row.text(object.metadata.name + (is_default ? " (default)" : "")).text(object.provisioner);
  row.text_or(object.reclaimPolicy, "Delete").text_or(object.volumeBindingMode, "Immediate");
  row.boolean(object.allowVolumeExpansion.value_or(false)).age(object.metadata.creationTimestamp);
}

void csi_driver_cells(const api::CSIDriver& object, Row& row) {
  std::vector<std::string> audiences;
  for (const auto& request : object.spec.tokenRequests) audiences.push_back(request.audience);
  row.text(object.metadata.name).boolean(object.spec.attachRequired.value_or(true));
  row.boolean(object.spec.podInfoOnMount.value_or(false))
      .boolean(object.spec.storageCapacity.value_or(false));
  row.text_or(join(audiences, ","), "<unset>").boolean(object.spec.requiresRepublish.value_or(false));
  row.text_or(join(object.spec.volumeLifecycleModes, ","), "<none>").age(object.metadata.creationTimestamp);
}

void csi_node_cells(const api::CSINode& object, Row& row) {
  row.text(object.metadata.name)
      .number(count(object.spec.drivers.size()))
      .age(object.metadata.creationTimestamp);
}

void storage_capacity_cells(const api::CSIStorageCapacity& object, Row& row) {
  row.text(object.metadata.name).text(object.storageClassName);
  row.text(object.capacity ? object.capacity->text() : "<unset>");
}

void volume_attachment_cells(const api::VolumeAttachment& object, Row& row) {
  row.text(object.metadata.name).text(object.spec.attacher).text(object.spec.source.persistentVolumeName);
  row.text(object.spec.nodeName).boolean(object.status.attached).age(object.metadata.creationTimestamp);
}

void attributes_class_cells(const api::VolumeAttributesClass& object, Row& row) {
  row.text(object.metadata.name).text(object.driverName).age(object.metadata.creationTimestamp);
}

// ---- access

template <class Binding>
void binding_cells(const Binding& object, Row& row) {
  std::vector<std::string> users, groups, accounts;
  for (const api::Subject& subject : object.subjects) {
    if (subject.kind == "User") users.push_back(subject.name);
    if (subject.kind == "Group") groups.push_back(subject.name);
    if (subject.kind == "ServiceAccount") accounts.push_back(subject.namespace_ + "/" + subject.name);
  }
  row.text(object.metadata.name).text(object.roleRef.kind + "/" + object.roleRef.name);
  row.age(object.metadata.creationTimestamp)
      .text(join(users, ", "))
      .text(join(groups, ", "))
      .text(join(accounts, ", "));
}

std::string request_condition(const api::CertificateSigningRequest& request) {
  auto holds = [&request](std::string_view type) {
    return std::ranges::any_of(request.status.conditions,
                               [type](const auto& one) { return one.type == type; });
  };
  std::string text = holds("Denied") ? "Denied" : holds("Approved") ? "Approved" : "Pending";
  if (holds("Failed")) text += ",Failed";
  return request.status.certificate.data.empty() ? text : text + ",Issued";
}

void signing_request_cells(const api::CertificateSigningRequest& object, Row& row) {
  const auto& seconds = object.spec.expirationSeconds;
  row.text(object.metadata.name)
      .age(object.metadata.creationTimestamp)
      .text_or(object.spec.signerName, "<none>");
  row.text(object.spec.username).text(seconds ? human_duration(std::chrono::seconds(*seconds)) : "<none>");
  row.text(request_condition(object));
}

// ---- the API's own

void api_service_cells(const api::APIService& object, Row& row) {
  const auto& service = object.spec.service;
  std::string available = "Unknown";
  for (const auto& condition : object.status.conditions)
    if (condition.type == "Available")
      available =
          condition.status == "True" ? "True" : fmt::format("{} ({})", condition.status, condition.reason);
  row.text(object.metadata.name)
      .text(service ? service->namespace_ + "/" + service->name : "Local")
      .text(available);
  row.age(object.metadata.creationTimestamp);
}

template <class Configuration>
void webhook_cells(const Configuration& object, Row& row) {
  row.text(object.metadata.name).number(count(object.webhooks.size())).age(object.metadata.creationTimestamp);
}

std::string param_kind(const api::Box<api::ParamKind>& kind) {
  return kind ? kind->apiVersion + "/" + kind->kind : "<unset>";
}

void validating_policy_cells(const api::ValidatingAdmissionPolicy& object, Row& row) {
  row.text(object.metadata.name).number(count(object.spec.validations.size()));
  row.text(param_kind(object.spec.paramKind)).age(object.metadata.creationTimestamp);
}

void mutating_policy_cells(const api::MutatingAdmissionPolicy& object, Row& row) {
  row.text(object.metadata.name).number(count(object.spec.mutations.size()));
  row.text(param_kind(object.spec.paramKind)).age(object.metadata.creationTimestamp);
}

template <class Binding>
void policy_binding_cells(const Binding& object, Row& row) {
  std::string parameters = "<unset>";
  if (object.spec.paramRef) {
    const api::ParamRef& reference = *object.spec.paramRef;
    parameters = reference.namespace_.empty() ? "*/" : reference.namespace_ + "/";
    parameters += reference.name.empty() ? "*" : reference.name;
  }
  row.text(object.metadata.name)
      .text(object.spec.policyName)
      .text(parameters)
      .age(object.metadata.creationTimestamp);
}

void flow_schema_cells(const api::FlowSchema& object, Row& row) {
  std::string missing = "?";
  for (const auto& condition : object.status.conditions)
    if (condition.type == "Dangling") missing = condition.status;
  row.text(object.metadata.name).text(object.spec.priorityLevelConfiguration.name);
  row.number(object.spec.matchingPrecedence);
  row.text(object.spec.distinguisherMethod ? object.spec.distinguisherMethod->type : "<none>");
  row.age(object.metadata.creationTimestamp).text(missing);
}

void priority_level_cells(const api::PriorityLevelConfiguration& object, Row& row) {
  std::string shares = "<none>", queues = "<none>", hand = "<none>", length = "<none>";
  if (object.spec.limited) {
    const auto& limited = *object.spec.limited;
    shares = std::to_string(limited.nominalConcurrencyShares.value_or(0));
    if (limited.limitResponse.queuing) {
      queues = std::to_string(limited.limitResponse.queuing->queues);
      hand = std::to_string(limited.limitResponse.queuing->handSize);
      length = std::to_string(limited.limitResponse.queuing->queueLengthLimit);
    }
  }
  row.text(object.metadata.name).text(object.spec.type).text(shares).text(queues).text(hand).text(length);
  row.age(object.metadata.creationTimestamp);
}

void lease_cells(const api::Lease& object, Row& row) {
  row.text(object.metadata.name)
      .text(object.spec.holderIdentity.value_or(""))
      .age(object.metadata.creationTimestamp);
}

void runtime_class_cells(const api::RuntimeClass& object, Row& row) {
  row.text(object.metadata.name).text(object.handler).age(object.metadata.creationTimestamp);
}

void priority_class_cells(const api::PriorityClass& object, Row& row) {
  row.text(object.metadata.name).number(object.value).boolean(object.globalDefault);
  row.age(object.metadata.creationTimestamp).text(object.preemptionPolicy);
}

// ---- dynamic resources

template <class T>
void name_and_age(const T& object, Row& row) {
  row.text(object.metadata.name).age(object.metadata.creationTimestamp);
}

void resource_claim_cells(const api::DynamicResourceClaim& object, Row& row) {
  std::string state = object.status.allocation ? "allocated" : "pending";
  if (object.status.allocation && !object.status.reservedFor.empty()) state += ",reserved";
  if (object.metadata.deletionTimestamp) state = "deleted," + state;
  row.text(object.metadata.name).text(state).age(object.metadata.creationTimestamp);
}

void resource_slice_cells(const api::ResourceSlice& object, Row& row) {
  row.text(object.metadata.name)
      .text(object.spec.nodeName)
      .text(object.spec.driver)
      .text(object.spec.pool.name);
  row.age(object.metadata.creationTimestamp);
}

}  // namespace

CellRule other_cell_rule(const api::KindInfo& kind) {
  static const CellEntry entries[] = {
      cells_of<api::Event, event_cells>(),
      cells_of<api::Namespace, namespace_cells>(),
      cells_of<api::ConfigMap, config_map_cells>(),
      cells_of<api::Secret, secret_cells>(),
      cells_of<api::ServiceAccount, service_account_cells>(),
      cells_of<api::ComponentStatus, component_status_cells>(),
      cells_of<api::EventsEvent, new_event_cells>(),
      cells_of<api::ResourceQuota, resource_quota_cells>(),
      cells_of<api::PodDisruptionBudget, disruption_budget_cells>(),
      cells_of<api::HorizontalPodAutoscaler, autoscaler_cells>(),
      cells_of<api::V1HorizontalPodAutoscaler, old_autoscaler_cells>(),
      cells_of<api::PersistentVolume, persistent_volume_cells>(),
      cells_of<api::PersistentVolumeClaim, volume_claim_cells>(),
      cells_of<api::StorageClass, storage_class_cells>(),
      cells_of<api::CSIDriver, csi_driver_cells>(),
      cells_of<api::CSINode, csi_node_cells>(),
      cells_of<api::CSIStorageCapacity, storage_capacity_cells>(),
      cells_of<api::VolumeAttachment, volume_attachment_cells>(),
      cells_of<api::VolumeAttributesClass, attributes_class_cells>(),
      cells_of<api::RoleBinding, binding_cells<api::RoleBinding>>(),
      cells_of<api::ClusterRoleBinding, binding_cells<api::ClusterRoleBinding>>(),
      cells_of<api::CertificateSigningRequest, signing_request_cells>(),
      cells_of<api::APIService, api_service_cells>(),
      cells_of<api::MutatingWebhookConfiguration, webhook_cells<api::MutatingWebhookConfiguration>>(),
      cells_of<api::ValidatingWebhookConfiguration, webhook_cells<api::ValidatingWebhookConfiguration>>(),
      cells_of<api::ValidatingAdmissionPolicy, validating_policy_cells>(),
      cells_of<api::MutatingAdmissionPolicy, mutating_policy_cells>(),
      cells_of<api::ValidatingAdmissionPolicyBinding,
               policy_binding_cells<api::ValidatingAdmissionPolicyBinding>>(),
      cells_of<api::MutatingAdmissionPolicyBinding,
               policy_binding_cells<api::MutatingAdmissionPolicyBinding>>(),
      cells_of<api::FlowSchema, flow_schema_cells>(),
      cells_of<api::PriorityLevelConfiguration, priority_level_cells>(),
      cells_of<api::Lease, lease_cells>(),
      cells_of<api::RuntimeClass, runtime_class_cells>(),
      cells_of<api::PriorityClass, priority_class_cells>(),
      cells_of<api::DeviceClass, name_and_age<api::DeviceClass>>(),
      cells_of<api::ResourceClaimTemplate, name_and_age<api::ResourceClaimTemplate>>(),
      cells_of<api::DynamicResourceClaim, resource_claim_cells>(),
      cells_of<api::ResourceSlice, resource_slice_cells>(),
  };
  return find_rule(entries, kind);
}

}  // namespace skiff::apiserver
