// Cells of pods, nodes, and what runs and exposes pods.

#include "api/gen/apps.hpp"
#include "api/gen/batch.hpp"
#include "api/gen/discovery.hpp"
#include "api/gen/networking.hpp"
#include "api/gen/nodes.hpp"
#include "api/gen/service.hpp"
#include "api/pods.hpp"
#include "apiserver/cells.hpp"

namespace skiff::apiserver {
namespace {

// ---- Pod

/// What `kubectl get pods` says about a pod (printPod).
struct PodSummary {
  std::string reason;
  int restarts = 0;
  int ready = 0;
  int total = 0;
  api::Time last_restart;
};

std::string terminated_text(const api::ContainerStateTerminated& state) {
  if (!state.reason.empty()) return state.reason;
  return state.signal != 0 ? fmt::format("Signal:{}", state.signal)
                           : fmt::format("ExitCode:{}", state.exitCode);
}

void note_restarts(const api::ContainerStatus& status, int& restarts, api::Time& last) {
  restarts += status.restartCount;
  if (status.lastState.terminated) last = std::max(last, status.lastState.terminated->finishedAt);
}

bool is_sidecar_named(const api::Pod& pod, const std::string& name) {
  return std::ranges::any_of(pod.spec.initContainers, [&](const api::Container& one) {
    return one.name == name && api::is_sidecar(one);
  });
}

// Why initialization is not over, as far as one init container tells; empty when it is not this one's fault.
std::string pending_init(const api::Pod& pod, size_t index, bool started_sidecar) {
  const api::ContainerState& state = pod.status.initContainerStatuses[index].state;
  if (state.terminated && state.terminated->exitCode == 0) return "";
  if (started_sidecar) return "";
  if (state.terminated) return "Init:" + terminated_text(*state.terminated);
  if (state.waiting && !state.waiting->reason.empty() && state.waiting->reason != "PodInitializing")
    return "Init:" + state.waiting->reason;
  return fmt::format("Init:{}/{}", index, pod.spec.initContainers.size());
}

bool condition_is_true(const api::Pod& pod, std::string_view type) {
  const api::PodCondition* condition = api::find_condition(pod.status, type);
  return condition != nullptr && condition->status == "True";
}

void summarise_containers(const api::Pod& pod, PodSummary& summary) {
  bool has_running = false;
  const auto& statuses = pod.status.containerStatuses;
  for (auto status = statuses.rbegin(); status != statuses.rend(); ++status) {
    note_restarts(*status, summary.restarts, summary.last_restart);
    if (status->state.waiting && !status->state.waiting->reason.empty()) {
      summary.reason = status->state.waiting->reason;
    } else if (status->state.terminated) {
      summary.reason = terminated_text(*status->state.terminated);
    } else if (status->ready && status->state.running) {
      has_running = true;
      ++summary.ready;
    }
  }
  if (summary.reason == "Completed" && has_running)
    summary.reason = condition_is_true(pod, "Ready") ? "Running" : "NotReady";
}

PodSummary summarise(const api::Pod& pod) {
  PodSummary summary;
  summary.total = static_cast<int>(pod.spec.containers.size());
  summary.reason = pod.status.reason.empty() ? pod.status.phase : pod.status.reason;
  const api::PodCondition* scheduled = api::find_condition(pod.status, "PodScheduled");
  if (scheduled != nullptr && scheduled->reason == "SchedulingGated") summary.reason = scheduled->reason;
  for (const api::Container& one : pod.spec.initContainers) summary.total += api::is_sidecar(one);
  int sidecar_restarts = 0;
  api::Time last_sidecar_restart;
  bool initializing = false;
  for (size_t i = 0; i < pod.status.initContainerStatuses.size() && !initializing; ++i) {
    const api::ContainerStatus& status = pod.status.initContainerStatuses[i];
    bool sidecar = is_sidecar_named(pod, status.name);
    bool started = sidecar && status.started.value_or(false);
    note_restarts(status, summary.restarts, summary.last_restart);
    if (sidecar) note_restarts(status, sidecar_restarts, last_sidecar_restart);
    std::string pending = pending_init(pod, i, started);
    bool finished = status.state.terminated && status.state.terminated->exitCode == 0;
    if (started && status.ready && !finished) ++summary.ready;
    initializing = !pending.empty();
    if (initializing) summary.reason = pending;
  }
  if (!initializing || condition_is_true(pod, "Initialized")) {
    summary.restarts = sidecar_restarts;
    summary.last_restart = last_sidecar_restart;
    summarise_containers(pod, summary);
  }
  if (pod.metadata.deletionTimestamp) {
    if (pod.status.reason == "NodeLost") {
      summary.reason = "Unknown";
    } else if (!api::is_finished(pod)) {
      summary.reason = "Terminating";
    }
  }
  return summary;
}

std::string restarts_text(const PodSummary& summary, WallTime now) {
  if (summary.restarts == 0 || !summary.last_restart) return std::to_string(summary.restarts);
  auto since = std::chrono::duration_cast<std::chrono::seconds>(now - summary.last_restart.wall());
  return fmt::format("{} ({} ago)", summary.restarts, human_duration(since));
}

std::string readiness_gates(const api::Pod& pod) {
  if (pod.spec.readinessGates.empty()) return "<none>";
  auto passed = std::ranges::count_if(pod.spec.readinessGates, [&](const api::PodReadinessGate& gate) {
    return condition_is_true(pod, gate.conditionType);
  });
  return fmt::format("{}/{}", passed, pod.spec.readinessGates.size());
}

void pod_cells(const api::Pod& pod, Row& row) {
  PodSummary summary = summarise(pod);
  row.text(pod.metadata.name).text(fmt::format("{}/{}", summary.ready, summary.total)).text(summary.reason);
  row.text(restarts_text(summary, row.now())).age(pod.metadata.creationTimestamp);
  row.text_or(pod.status.podIPs.empty() ? "" : pod.status.podIPs[0].ip, "<none>");
  row.text_or(pod.spec.nodeName, "<none>")
      .text_or(pod.status.nominatedNodeName, "<none>")
      .text(readiness_gates(pod));
  if (pod.status.phase == "Succeeded")
    row.condition("Completed", "Succeeded", "The pod has completed successfully.");
  if (pod.status.phase == "Failed") row.condition("Completed", "Failed", "The pod failed.");
}

void pod_template_cells(const api::PodTemplate& object, Row& row) {
  row.text(object.metadata.name);
  container_cells(object.template_.spec, row);
  row.text(labels_text(object.template_.metadata.labels));
}

// ---- Node

std::string node_status(const api::Node& node) {
  std::string text = "Unknown";
  for (const api::NodeCondition& condition : node.status.conditions) {
    if (condition.type != "Ready") continue;
    text = condition.status == "True" ? "Ready" : "NotReady";
  }
  return node.spec.unschedulable ? text + ",SchedulingDisabled" : text;
}

std::string node_roles(const api::Node& node) {
  constexpr std::string_view kPrefix = "node-role.kubernetes.io/";
  std::vector<std::string> roles;
  for (const auto& [label, value] : node.metadata.labels) {
    if (label.starts_with(kPrefix) && label.size() > kPrefix.size())
      roles.push_back(label.substr(kPrefix.size()));
    if (label == "kubernetes.io/role" && !value.empty()) roles.push_back(value);
  }
  std::ranges::sort(roles);
  return roles.empty() ? "<none>" : join(roles, ",");
}

std::string node_address(const api::Node& node, std::string_view type) {
  for (const api::NodeAddress& address : node.status.addresses)
    if (address.type == type) return address.address;
  return "<none>";
}

void node_cells(const api::Node& node, Row& row) {
  const api::NodeSystemInfo& info = node.status.nodeInfo;
  row.text(node.metadata.name)
      .text(node_status(node))
      .text(node_roles(node))
      .age(node.metadata.creationTimestamp);
  row.text(info.kubeletVersion).text(node_address(node, "InternalIP")).text(node_address(node, "ExternalIP"));
  row.text_or(info.osImage, "<unknown>").text_or(info.kernelVersion, "<unknown>");
  row.text_or(info.containerRuntimeVersion, "<unknown>");
}

// ---- what runs pods

void deployment_cells(const api::Deployment& object, Row& row) {
  const api::DeploymentStatus& status = object.status;
  row.text(object.metadata.name)
      .text(fmt::format("{}/{}", status.readyReplicas, object.spec.replicas.value_or(0)));
  row.number(status.updatedReplicas).number(status.availableReplicas).age(object.metadata.creationTimestamp);
  container_cells(object.spec.template_.spec, row);
  row.text(selector_text(object.spec.selector));
}

void replica_set_cells(const api::ReplicaSet& object, Row& row) {
  row.text(object.metadata.name).number(object.spec.replicas.value_or(0)).number(object.status.replicas);
  row.number(object.status.readyReplicas).age(object.metadata.creationTimestamp);
  container_cells(object.spec.template_.spec, row);
  row.text(selector_text(object.spec.selector));
}

void replication_controller_cells(const api::ReplicationController& object, Row& row) {
  row.text(object.metadata.name).number(object.spec.replicas.value_or(0)).number(object.status.replicas);
  row.number(object.status.readyReplicas).age(object.metadata.creationTimestamp);
  container_cells(object.spec.template_ ? object.spec.template_->spec : api::PodSpec{}, row);
  row.text(labels_text(object.spec.selector));
}

void daemon_set_cells(const api::DaemonSet& object, Row& row) {
  const api::DaemonSetStatus& status = object.status;
  row.text(object.metadata.name).number(status.desiredNumberScheduled).number(status.currentNumberScheduled);
  row.number(status.numberReady).number(status.updatedNumberScheduled).number(status.numberAvailable);
  row.text(labels_text(object.spec.template_.spec.nodeSelector)).age(object.metadata.creationTimestamp);
  container_cells(object.spec.template_.spec, row);
  row.text(selector_text(object.spec.selector));
}

void stateful_set_cells(const api::StatefulSet& object, Row& row) {
  row.text(object.metadata.name);
  row.text(fmt::format("{}/{}", object.status.readyReplicas, object.spec.replicas.value_or(0)));
  row.age(object.metadata.creationTimestamp);
  container_cells(object.spec.template_.spec, row);
}

void controller_revision_cells(const api::ControllerRevision& object, Row& row) {
  std::string controller = "<none>";
  if (const api::OwnerReference* owner = client::controller_of(object.metadata)) {
    std::string kind = owner->kind;
    std::ranges::transform(kind, kind.begin(),
                           [](char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; });
    size_t slash = owner->apiVersion.find('/');
    std::string group = slash == std::string::npos ? "" : "." + owner->apiVersion.substr(0, slash);
    controller = kind + group + "/" + owner->name;
  }
  row.text(object.metadata.name).text(controller).text(std::to_string(object.revision));
  row.age(object.metadata.creationTimestamp);
}

std::string job_status(const api::Job& job) {
  auto holds = [&job](std::string_view type) {
    return std::ranges::any_of(job.status.conditions, [type](const api::JobCondition& condition) {
      return condition.type == type && condition.status == "True";
    });
  };
  for (const char* type : {"Complete", "Failed"})
    if (holds(type)) return type;
  if (job.metadata.deletionTimestamp) return "Terminating";
  for (const char* type : {"Suspended", "FailureTarget", "SuccessCriteriaMet"})
    if (holds(type)) return type;
  return "Running";
}

std::string job_completions(const api::Job& job) {
  if (job.spec.completions) return fmt::format("{}/{}", job.status.succeeded, *job.spec.completions);
  int parallelism = job.spec.parallelism.value_or(0);
  return parallelism > 1 ? fmt::format("{}/1 of {}", job.status.succeeded, parallelism)
                         : fmt::format("{}/1", job.status.succeeded);
}

std::string job_duration(const api::Job& job, WallTime now) {
  if (!job.status.startTime) return "";
  WallTime end = job.status.completionTime ? job.status.completionTime.wall() : now;
  return human_duration(std::chrono::duration_cast<std::chrono::seconds>(end - job.status.startTime.wall()));
}

void job_cells(const api::Job& object, Row& row) {
  row.text(object.metadata.name).text(job_status(object)).text(job_completions(object));
  row.text(job_duration(object, row.now())).age(object.metadata.creationTimestamp);
  container_cells(object.spec.template_.spec, row);
  row.text(object.spec.selector ? selector_text(*object.spec.selector) : "<none>");
}

void cron_job_cells(const api::CronJob& object, Row& row) {
  const api::JobSpec& job = object.spec.jobTemplate.spec;
  row.text(object.metadata.name).text(object.spec.schedule).text_or(object.spec.timeZone, "<none>");
  row.text(!object.spec.suspend ? "<unset>" : *object.spec.suspend ? "True" : "False");
  row.number(static_cast<std::int64_t>(object.status.active.size()));
  if (object.status.lastScheduleTime) {
    row.age(object.status.lastScheduleTime);
  } else {
    row.text("<none>");
  }
  row.age(object.metadata.creationTimestamp);
  container_cells(job.template_.spec, row);
  row.text(job.selector ? selector_text(*job.selector) : "<none>");
}

// ---- what exposes pods

template <class Status>
std::string load_balancer_text(const Status& balancer) {
  std::vector<std::string> addresses;
  for (const auto& ingress : balancer.ingress)
    addresses.push_back(ingress.ip.empty() ? ingress.hostname : ingress.ip);
  std::ranges::sort(addresses);
  return join(addresses, ",");
}

std::string external_ip(const api::Service& service) {
  std::string external = join(service.spec.externalIPs, ",");
  if (service.spec.type == "ExternalName") return service.spec.externalName;
  if (service.spec.type != "LoadBalancer") return external.empty() ? "<none>" : external;
  std::string balancer = load_balancer_text(service.status.loadBalancer);
  if (balancer.empty()) return external.empty() ? "<pending>" : external;
  return external.empty() ? balancer : balancer + "," + external;
}

void service_cells(const api::Service& object, Row& row) {
  std::vector<std::string> ports;
  for (const api::ServicePort& port : object.spec.ports) {
    ports.push_back(port.nodePort > 0 ? fmt::format("{}:{}/{}", port.port, port.nodePort, port.protocol)
                                      : fmt::format("{}/{}", port.port, port.protocol));
  }
  row.text(object.metadata.name).text(object.spec.type).text_or(object.spec.clusterIP, "<none>");
  row.text(external_ip(object)).text_or(join(ports, ","), "<none>").age(object.metadata.creationTimestamp);
  row.text(labels_text(object.spec.selector));
}

void endpoints_cells(const api::Endpoints& object, Row& row) {
  std::vector<std::string> all;
  for (const api::EndpointSubset& subset : object.subsets) {
    for (const api::EndpointAddress& address : subset.addresses) {
      if (subset.ports.empty()) all.push_back(address.ip);
      bool six = address.ip.find(':') != std::string::npos;
      for (const auto& port : subset.ports)
        all.push_back(fmt::format("{}{}{}:{}", six ? "[" : "", address.ip, six ? "]" : "", port.port));
    }
  }
  row.text(object.metadata.name)
      .text_or(shortened(all, ","), "<none>")
      .age(object.metadata.creationTimestamp);
}

void endpoint_slice_cells(const api::EndpointSlice& object, Row& row) {
  std::vector<std::string> ports, addresses;
  for (const auto& port : object.ports) {
    std::string name = port.name.value_or("");
    ports.push_back(port.port ? std::to_string(*port.port) : name.empty() ? "*" : name);
  }
  for (const api::Endpoint& endpoint : object.endpoints)
    addresses.insert(addresses.end(), endpoint.addresses.begin(), endpoint.addresses.end());
  row.text(object.metadata.name).text(object.addressType).text_or(shortened(ports, ","), "<unset>");
  row.text_or(shortened(addresses, ","), "<unset>").age(object.metadata.creationTimestamp);
}

void ingress_cells(const api::Ingress& object, Row& row) {
  std::vector<std::string> hosts;
  for (const api::IngressRule& rule : object.spec.rules)
    if (!rule.host.empty()) hosts.push_back(rule.host);
  row.text(object.metadata.name).text(object.spec.ingressClassName.value_or("<none>"));
  row.text_or(shortened(hosts, ","), "*").text(load_balancer_text(object.status.loadBalancer));
  row.text(object.spec.tls.empty() ? "80" : "80, 443").age(object.metadata.creationTimestamp);
}

void ingress_class_cells(const api::IngressClass& object, Row& row) {
  std::string parameters = "<none>";
  if (object.spec.parameters) {
    const auto& reference = *object.spec.parameters;
    parameters =
        reference.kind + (reference.apiGroup.empty() ? "" : "." + reference.apiGroup) + "/" + reference.name;
  }
  row.text(object.metadata.name)
      .text(object.spec.controller)
      .text(parameters)
      .age(object.metadata.creationTimestamp);
}

void network_policy_cells(const api::NetworkPolicy& object, Row& row) {
  row.text(object.metadata.name)
      .text(selector_text(object.spec.podSelector))
      .age(object.metadata.creationTimestamp);
}

void ip_address_cells(const api::IPAddress& object, Row& row) {
  const api::ParentReference& parent = object.spec.parentRef;
  std::string text = parent.resource;
  if (!parent.group.empty()) text += "." + parent.group;
  text += "/";
  if (!parent.namespace_.empty()) text += parent.namespace_ + "/";
  row.text(object.metadata.name).text(text + parent.name);
}

void service_cidr_cells(const api::ServiceCIDR& object, Row& row) {
  row.text(object.metadata.name).text(join(object.spec.cidrs, ",")).age(object.metadata.creationTimestamp);
}

}  // namespace

CellRule workload_cell_rule(const api::KindInfo& kind) {
  static const CellEntry entries[] = {
      cells_of<api::Pod, pod_cells>(),
      cells_of<api::Node, node_cells>(),
      cells_of<api::Deployment, deployment_cells>(),
      cells_of<api::ReplicaSet, replica_set_cells>(),
      cells_of<api::Service, service_cells>(),
      cells_of<api::ReplicationController, replication_controller_cells>(),
      cells_of<api::DaemonSet, daemon_set_cells>(),
      cells_of<api::StatefulSet, stateful_set_cells>(),
      cells_of<api::ControllerRevision, controller_revision_cells>(),
      cells_of<api::Job, job_cells>(),
      cells_of<api::CronJob, cron_job_cells>(),
      cells_of<api::Endpoints, endpoints_cells>(),
      cells_of<api::EndpointSlice, endpoint_slice_cells>(),
      cells_of<api::Ingress, ingress_cells>(),
      cells_of<api::IngressClass, ingress_class_cells>(),
      cells_of<api::NetworkPolicy, network_policy_cells>(),
      cells_of<api::IPAddress, ip_address_cells>(),
      cells_of<api::ServiceCIDR, service_cidr_cells>(),
      cells_of<api::PodTemplate, pod_template_cells>(),
  };
  return find_rule(entries, kind);
}

}  // namespace skiff::apiserver
