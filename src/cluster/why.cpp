#include "cluster/why.hpp"

#include <algorithm>
#include <set>

#include "api/gen/batch.hpp"
#include "api/gen/nodes.hpp"
#include "api/pods.hpp"
#include "api/volumes.hpp"
#include "base/encoding.hpp"
#include "scheduler/scheduler.hpp"

namespace skiff::cluster {
namespace {

// A report in the making: facts by topic, and advice, each piece once.
class Report {
 public:
  void say(const std::string& topic, const std::string& text) {
    lines_.push_back(fmt::format("  {:<10} {}", topic == last_ ? "" : topic, text));
    last_ = topic;
  }
  void help(const std::string& text) {
    if (std::find(help_.begin(), help_.end(), text) == help_.end()) help_.push_back(text);
  }
  std::vector<std::string> take(const std::string& head) {
    std::vector<std::string> all = {head};
    all.insert(all.end(), lines_.begin(), lines_.end());
    if (!help_.empty()) all.emplace_back("What would help:");
    for (const std::string& text : help_) all.push_back("  - " + text);
    return all;
  }

 private:
  std::vector<std::string> lines_, help_;
  std::string last_;
};

const api::Event* last_event(const WhyFacts& facts, std::string_view about, const std::set<std::string>& reasons) {
  for (auto one = facts.events.rbegin(); one != facts.events.rend(); ++one)
    if ((*one)->involvedObject.name == about && reasons.contains((*one)->reason)) return one->get();
  return nullptr;
}

std::string advice_for(const scheduler::NodeVerdict& verdict, const std::string& reason) {
  if (reason.starts_with("Insufficient ") || reason == "Too many pods")
    return fmt::format("{} on {}: ask for less, remove pods there, or `skiff node add`", reason, verdict.node);
  if (verdict.filter == "TaintToleration")
    return fmt::format("a toleration, or `kubectl taint nodes {} KEY-` (`kubectl describe node {}` shows the taints)",
                       verdict.node, verdict.node);
  if (verdict.filter == "NodeUnschedulable") return fmt::format("`kubectl uncordon {}`", verdict.node);
  if (verdict.filter == "NodeAffinity")
    return "a node with the labels that nodeSelector or node affinity wants: `kubectl label node NODE KEY=VALUE`";
  if (verdict.filter == "NodePorts") return "another hostPort, or one node a pod: the port is taken there";
  if (verdict.filter == "PodTopologySpread" || verdict.filter == "InterPodAffinity")
    return "more nodes or zones (`skiff node add --zone Z`), or weaker affinity and spread rules";
  if (verdict.filter.starts_with("Volume")) return "a volume that this node can reach, or a pod where the volume is";
  return "";
}

// What hinders the owners to make more pods: quotas, limits, admission. Each message once, however often it came.
void report_refusals(const std::vector<client::Ref<api::Event>>& events, Report& report) {
  std::set<std::string> told;
  for (const auto& event : events) {
    if (event->reason != "FailedCreate") continue;
    const std::string& message = event->message;
    const bool quota = message.find("exceeded quota") != std::string::npos;
    // The pods' random names and the numbers aside, it is one refusal.
    if (!told.insert(quota ? message.substr(message.find("exceeded quota")) : message).second) continue;
    report.say(quota ? "quota" : "owner", fmt::format("{}: {}", event->involvedObject.name, message));
    if (quota) report.help("`kubectl describe quota`: raise it, or ask for less");
    if (message.find("PodSecurity") != std::string::npos) report.help("a securityContext that the namespace's level allows");
    if (message.find("serviceaccount") != std::string::npos) report.help("the ServiceAccount that the message names");
  }
}

// Node by node, or by reason where there are many.
void report_verdicts(const std::vector<scheduler::NodeVerdict>& verdicts, Report& report) {
  constexpr size_t kMany = 8, kNamed = 3;
  std::map<std::string, std::vector<std::string>> nodes;  // by what they say
  for (const scheduler::NodeVerdict& verdict : verdicts) {
    if (verdict.reasons.empty()) nodes["fits"].push_back(verdict.node);
    for (const std::string& reason : verdict.reasons) {
      const std::string text = fmt::format("{} ({})", reason, verdict.filter);
      if (verdicts.size() <= kMany) report.say("node", fmt::format("{}: {}", verdict.node, text));
      std::vector<std::string>& others = nodes[text];
      others.push_back(verdict.node);
      if (std::string advice = advice_for(verdict, reason); others.size() <= kNamed && !advice.empty()) report.help(advice);
    }
  }
  if (verdicts.size() <= kMany) {
    for (const std::string& node : nodes["fits"]) report.say("node", node + ": fits");
    return;
  }
  for (const auto& [text, names] : nodes) {
    const size_t shown = std::min(kNamed, names.size());
    std::string list = join({names.begin(), names.begin() + static_cast<std::ptrdiff_t>(shown)}, ", ");
    if (names.size() > shown) list += fmt::format(" and {} more", names.size() - shown);
    report.say("node", fmt::format("{}: {}", list, text));
  }
}

void report_scheduling(const WhyFacts& facts, Report& report) {
  const api::Pod& pod = *facts.pod;
  if (!pod.spec.nodeName.empty()) {
    report.say("node", pod.spec.nodeName + (facts.node_ready ? "" : ", which is not Ready"));
    if (!facts.node_ready)
      report.help(fmt::format("`skiff node list`; `skiff node start {0}` or `skiff node resume {0}`", pod.spec.nodeName));
    return;
  }
  if (!pod.spec.schedulingGates.empty()) {
    report.say("node", fmt::format("none: scheduling gate {} is not lifted", pod.spec.schedulingGates[0].name));
    report.help("whoever set the gate has to remove it from spec.schedulingGates");
    return;
  }
  report.say("node", "none: " + scheduler::unschedulable_message(facts.refusal));
  if (!facts.refusal.whole_pod.empty()) return;
  if (facts.refusal.verdicts.empty()) report.help("`skiff node add`");
  report_verdicts(facts.refusal.verdicts, report);
  if (!pod.status.nominatedNodeName.empty())
    report.say("node", fmt::format("{} is to be its node as soon as less important pods have left", pod.status.nominatedNodeName));
  if (!pod.spec.schedulerName.empty() && pod.spec.schedulerName != "default-scheduler")
    report.say("node", fmt::format("it waits for scheduler {}", pod.spec.schedulerName));
}

void report_volumes(const WhyFacts& facts, Report& report) {
  for (const std::string& name : facts.missing_claims) {
    report.say("volume", fmt::format("claim {} does not exist", name));
    report.help(fmt::format("create PersistentVolumeClaim {}", name));
  }
  for (const auto& claim : facts.claims) {
    if (claim->status.phase == "Bound") continue;
    const api::Event* said = last_event(facts, claim->metadata.name,
                                        {"FailedBinding", "ProvisioningFailed", "ExternalProvisioning", "VolumeMismatch",
                                         "WaitForFirstConsumer", "WaitForPodScheduled", "ClaimLost"});
    report.say("volume", fmt::format("claim {} is {}{}", claim->metadata.name, claim->status.phase,
                                     said ? ": " + said->message : ""));
    if (said && said->reason != "WaitForFirstConsumer" && said->reason != "WaitForPodScheduled")
      report.help(fmt::format("a PersistentVolume that suits claim {}, or storageClassName: standard", claim->metadata.name));
  }
  if (const api::Event* failed = last_event(facts, facts.pod->metadata.name, {"FailedMount", "FailedAttachVolume"}))
    if (facts.pod->status.phase == "Pending") report.say("volume", failed->message);
}

void report_waiting(const api::ContainerStatus& status, Report& report) {
  const api::ContainerStateWaiting& waiting = *status.state.waiting;
  bool image = waiting.reason.find("Image") != std::string::npos;
  report.say(image ? "image" : "container",
             fmt::format("{}: {}{}", image ? status.image : status.name, waiting.reason,
                         waiting.message.empty() ? "" : ": " + waiting.message));
  if (image) report.help(fmt::format("`skiff image ls` shows what there is; `skiff image load FILE` brings {0}, `skiff image pull "
                                     "{0}` fetches it; perhaps its name is misspelt", status.image));
  if (waiting.reason == "CreateContainerConfigError") report.help("the ConfigMap, Secret or key that the message names");
}

void report_containers(const WhyFacts& facts, Report& report) {
  const api::Pod& pod = *facts.pod;
  auto one = [&](const api::ContainerStatus& status, bool init) {
    if (status.state.waiting && status.state.waiting->reason != "PodInitializing" &&
        status.state.waiting->reason != "ContainerCreating")
      report_waiting(status, report);
    const auto& ended = status.state.terminated ? status.state.terminated : status.lastState.terminated;
    if (ended && ended->exitCode != 0) {
      report.say("container", fmt::format("{} ended with {} ({}), {} restarts", status.name, ended->exitCode, ended->reason,
                                          status.restartCount));
      if (ended->reason == "OOMKilled") report.help(fmt::format("a higher memory limit for container {}", status.name));
      else report.help(fmt::format("`kubectl logs -n {} {} -c {} --previous`", pod.metadata.namespace_, pod.metadata.name, status.name));
    } else if (!init && status.state.running && !status.ready) {
      report.say("probe", fmt::format("{} runs but is not ready", status.name));
    }
  };
  for (const auto& status : pod.status.initContainerStatuses) one(status, true);
  for (const auto& status : pod.status.containerStatuses) one(status, false);
  if (api::is_ready(pod)) return;
  if (const api::Event* unhealthy = last_event(facts, pod.metadata.name, {"Unhealthy"})) {
    report.say("probe", unhealthy->message);
    report.help("a probe that fits the application: its port, path, initialDelaySeconds or failureThreshold");
  }
  for (const api::PodReadinessGate& gate : pod.spec.readinessGates)
    if (const api::PodCondition* set = api::find_condition(pod.status, gate.conditionType); !set || set->status != "True")
      report.say("probe", fmt::format("readiness gate {} is not True", gate.conditionType));
}

std::string headline(const api::Pod& pod) {
  std::string state = pod.metadata.deletionTimestamp ? "Terminating" : pod.status.phase;
  if (api::is_ready(pod)) state += " and ready";
  return fmt::format("Pod {}/{} is {}.", pod.metadata.namespace_, pod.metadata.name, state);
}

}  // namespace

namespace {

void report_end(const WhyFacts& facts, Report& report) {
  const api::Pod& pod = *facts.pod;
  if (!pod.metadata.finalizers.empty())
    report.help(fmt::format("finalizer {} has to be removed by whoever set it", pod.metadata.finalizers[0]));
  if (facts.node_ready || pod.spec.nodeName.empty()) return;
  report.say("end", "it is to go, but its node cannot say that it has stopped; a StatefulSet makes no other one until then");
  report.help(fmt::format("if the node will not come back: `skiff node delete {}`, or `kubectl delete pod {} --grace-period=0 --force`",
                          pod.spec.nodeName, pod.metadata.name));
}

}  // namespace

std::vector<std::string> why_pod(const WhyFacts& facts) {
  Report report;
  for (const std::string& owner : facts.owners) report.say("owner", owner);
  report_refusals(facts.events, report);
  report_scheduling(facts, report);
  report_volumes(facts, report);
  report_containers(facts, report);
  if (facts.pod->metadata.deletionTimestamp) report_end(facts, report);
  else if (api::is_ready(*facts.pod) && facts.node_ready) report.say("all", "nothing keeps it from its work");
  return report.take(headline(*facts.pod));
}

// ---- finding the facts

namespace {

template <class T>
std::string ready_text(const T& object, const char* kind) {
  return fmt::format("{} {}: {} of {} ready", kind, object.metadata.name, object.status.readyReplicas,
                     object.spec.replicas.value_or(1));
}

std::vector<std::string> owners_of(client::Client& client, const api::Pod& pod) {
  std::vector<std::string> owners;
  const api::OwnerReference* owner = client::controller_of(pod.metadata);
  if (!owner) return owners;
  const client::ObjectKey key{pod.metadata.namespace_, owner->name};
  if (owner->kind == "ReplicaSet") {
    auto set = client.get<api::ReplicaSet>(key);
    if (!set.ok()) return {"ReplicaSet " + owner->name};
    owners.push_back(ready_text(*set.value(), "ReplicaSet"));
    if (const api::OwnerReference* above = client::controller_of(set.value()->metadata))
      if (auto deployment = client.get<api::Deployment>({key.namespace_, above->name}); deployment.ok())
        owners.push_back(ready_text(*deployment.value(), "Deployment"));
    return owners;
  }
  if (owner->kind == "StatefulSet")
    if (auto set = client.get<api::StatefulSet>(key); set.ok()) return {ready_text(*set.value(), "StatefulSet")};
  if (owner->kind == "DaemonSet")
    if (auto set = client.get<api::DaemonSet>(key); set.ok())
      return {fmt::format("DaemonSet {}: {} of {} ready", owner->name, set.value()->status.numberReady,
                          set.value()->status.desiredNumberScheduled)};
  if (owner->kind == "Job")
    if (auto job = client.get<api::Job>(key); job.ok())
      return {fmt::format("Job {}: {} succeeded, {} failed, {} active", owner->name, job.value()->status.succeeded,
                          job.value()->status.failed, job.value()->status.active)};
  return {owner->kind + " " + owner->name};
}

std::vector<client::Ref<api::Event>> events_about(client::Client& client, const std::string& namespace_,
                                                  const std::set<std::string>& names) {
  std::vector<client::Ref<api::Event>> events;
  auto all = client.list<api::Event>({.namespace_ = namespace_});
  if (!all.ok()) return events;
  for (const auto& event : all.value())
    if (names.contains(event->involvedObject.name)) events.push_back(event);
  std::stable_sort(events.begin(), events.end(), [](const auto& a, const auto& b) { return a->lastTimestamp < b->lastTimestamp; });
  return events;
}

WhyFacts gather(client::Client& client, const scheduler::Scheduler& scheduler, const client::Ref<api::Pod>& pod) {
  WhyFacts facts{.pod = pod, .owners = owners_of(client, *pod)};
  std::set<std::string> names = {pod->metadata.name};
  if (const api::OwnerReference* owner = client::controller_of(pod->metadata)) names.insert(owner->name);
  if (pod->spec.nodeName.empty()) {
    facts.refusal = scheduler.explain(*pod);
  } else if (auto node = client.get<api::Node>({"", pod->spec.nodeName}); node.ok()) {
    for (const api::NodeCondition& one : node.value()->status.conditions)
      if (one.type == "Ready") facts.node_ready = one.status == "True";
  }
  for (const api::UsedClaim& used : api::used_claims(*pod)) {
    auto claim = client.get<api::PersistentVolumeClaim>({pod->metadata.namespace_, used.name});
    if (!claim.ok()) facts.missing_claims.push_back(used.name);
    else facts.claims.push_back(claim.value());
    names.insert(used.name);
  }
  facts.events = events_about(client, pod->metadata.namespace_, names);
  return facts;
}

// Ready ones and how many there should be.
template <class T>
std::pair<std::int32_t, std::int32_t> progress_of(const T& object) {
  return {object.status.readyReplicas, object.spec.replicas.value_or(1)};
}
std::pair<std::int32_t, std::int32_t> progress_of(const api::DaemonSet& set) {
  return {set.status.numberReady, set.status.desiredNumberScheduled};
}
std::pair<std::int32_t, std::int32_t> progress_of(const api::Job& job) {
  return {job.status.ready.value_or(0), job.spec.parallelism.value_or(1)};
}

// A workload whose pods could not be made: quotas, limits, admission.
template <class T>
Result<std::vector<std::string>> why_workload(client::Client& client, const scheduler::Scheduler& scheduler,
                                              const client::ObjectKey& key, const char* kind) {
  TRY_ASSIGN(client::Ref<T> object, client.get<T>(key));
  Report report;
  std::set<std::string> uids = {object->metadata.uid}, names = {key.name};
  for (const auto& set : client.list<api::ReplicaSet>({.namespace_ = key.namespace_}).value())
    if (const auto* owner = client::controller_of(set->metadata); owner && uids.contains(owner->uid)) {
      uids.insert(set->metadata.uid);
      names.insert(set->metadata.name);
    }
  report_refusals(events_about(client, key.namespace_, names), report);
  const auto [ready, wanted] = progress_of(*object);
  std::vector<std::string> lines = report.take(fmt::format("{} {} has {} of {} ready.", kind, key.str(),
                                                           ready, wanted));
  for (const auto& pod : client.list<api::Pod>({.namespace_ = key.namespace_}).value()) {
    const auto* owner = client::controller_of(pod->metadata);
    if (!owner || !uids.contains(owner->uid) || api::is_ready(*pod)) continue;
    std::vector<std::string> one = why_pod(gather(client, scheduler, pod));
    lines.insert(lines.end(), one.begin(), one.end());
  }
  return lines;
}

}  // namespace

Result<std::vector<std::string>> why(client::Client& client, const scheduler::Scheduler& scheduler,
                                     const std::string& namespace_, const std::string& name) {
  const size_t slash = name.find('/');
  const std::string kind = slash == std::string::npos ? "pod" : name.substr(0, slash);
  const client::ObjectKey key{namespace_, slash == std::string::npos ? name : name.substr(slash + 1)};
  if (kind == "pod" || kind == "pods" || kind == "po") {
    TRY_ASSIGN(client::Ref<api::Pod> pod, client.get<api::Pod>(key));
    return why_pod(gather(client, scheduler, pod));
  }
  if (kind.starts_with("deploy")) return why_workload<api::Deployment>(client, scheduler, key, "Deployment");
  if (kind == "rs" || kind.starts_with("replicaset")) return why_workload<api::ReplicaSet>(client, scheduler, key, "ReplicaSet");
  if (kind == "sts" || kind.starts_with("statefulset")) return why_workload<api::StatefulSet>(client, scheduler, key, "StatefulSet");
  if (kind == "ds" || kind.starts_with("daemonset")) return why_workload<api::DaemonSet>(client, scheduler, key, "DaemonSet");
  if (kind.starts_with("job")) return why_workload<api::Job>(client, scheduler, key, "Job");
  if (kind == "rc" || kind.starts_with("replicationcontroller"))
    return why_workload<api::ReplicationController>(client, scheduler, key, "ReplicationController");
  return error(Code::Invalid, "'{}': want a pod, or KIND/NAME of a deployment, replicaset, statefulset, daemonset, job or "
                              "replicationcontroller", name);
}

}  // namespace skiff::cluster
