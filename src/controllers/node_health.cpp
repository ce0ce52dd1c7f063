#include "controllers/node_health.hpp"

#include <algorithm>
#include <optional>

namespace skiff::controllers {
namespace {

constexpr Duration kPause = 10s;             // 0.1 nodes a second
constexpr Duration kPauseOfLargeZone = 100s;  // 0.01, when most of a large zone is gone
constexpr int kLargeZone = 50;

struct Rule {
  const char* condition;
  const char* status;
  const char* taint;
};
constexpr Rule kRules[] = {{"Ready", "False", kNotReadyTaint},
                           {"Ready", "Unknown", kUnreachableTaint},
                           {"MemoryPressure", "True", "node.kubernetes.io/memory-pressure"},
                           {"DiskPressure", "True", "node.kubernetes.io/disk-pressure"},
                           {"PIDPressure", "True", "node.kubernetes.io/pid-pressure"},
                           {"NetworkUnavailable", "True", "node.kubernetes.io/network-unavailable"}};
constexpr char kCordoned[] = "node.kubernetes.io/unschedulable";

bool is_managed(const std::string& key) {
  return key == kCordoned || std::any_of(std::begin(kRules), std::end(kRules), [&](const Rule& rule) { return key == rule.taint; });
}

void add_taint(api::Node& node, const std::string& key, const char* effect, api::Time now) {
  api::Taint& taint = node.spec.taints.emplace_back();
  taint.key = key;
  taint.effect = effect;
  taint.timeAdded = now;
}

}  // namespace

const api::NodeCondition* find_condition(const api::Node& node, const std::string& type) {
  for (const api::NodeCondition& one : node.status.conditions)
    if (one.type == type) return &one;
  return nullptr;
}

std::string readiness(const api::Node& node) {
  const api::NodeCondition* ready = find_condition(node, "Ready");
  return ready ? ready->status : "Unknown";
}

bool has_taint(const api::Node& node, const std::string& key, const std::string& effect) {
  return std::any_of(node.spec.taints.begin(), node.spec.taints.end(),
                     [&](const api::Taint& one) { return one.key == key && one.effect == effect; });
}

void mark_silent(api::Node& node, api::Time now) {
  for (const char* type : {"Ready", "MemoryPressure", "DiskPressure", "PIDPressure"}) {
    auto known = std::find_if(node.status.conditions.begin(), node.status.conditions.end(),
                              [&](const api::NodeCondition& one) { return one.type == type; });
    if (known == node.status.conditions.end()) {
      api::NodeCondition& never = node.status.conditions.emplace_back();
      never.type = type;
      never.status = "Unknown";
      never.reason = "NodeStatusNeverUpdated";
      never.message = "Kubelet never posted node status.";
      never.lastHeartbeatTime = node.metadata.creationTimestamp;
      never.lastTransitionTime = now;
    } else if (known->status != "Unknown") {
      known->status = "Unknown";
      known->reason = "NodeStatusUnknown";
      known->message = "Kubelet stopped posting node status.";
      known->lastTransitionTime = now;
    }
  }
}

bool set_schedule_taints(api::Node& node, api::Time now) {
  std::vector<std::string> wanted;
  for (const Rule& rule : kRules)
    if (const api::NodeCondition* one = find_condition(node, rule.condition); one && one->status == rule.status)
      wanted.emplace_back(rule.taint);
  if (node.spec.unschedulable) wanted.emplace_back(kCordoned);
  bool changed = std::erase_if(node.spec.taints, [&](const api::Taint& one) {
    return one.effect == "NoSchedule" && is_managed(one.key) &&
           std::find(wanted.begin(), wanted.end(), one.key) == wanted.end();
  }) > 0;
  for (const std::string& key : wanted)
    if (!has_taint(node, key, "NoSchedule")) {
      add_taint(node, key, "NoSchedule", now);
      changed = true;
    }
  return changed;
}

bool set_execute_taint(api::Node& node, const std::string& key, api::Time now) {
  bool changed = std::erase_if(node.spec.taints, [&](const api::Taint& one) {
    return one.effect == "NoExecute" && one.key != key && (one.key == kNotReadyTaint || one.key == kUnreachableTaint);
  }) > 0;
  if (key.empty() || has_taint(node, key, "NoExecute")) return changed;
  add_taint(node, key, "NoExecute", now);
  return true;
}

std::string zone_of(const api::Node& node) {
  auto label = [&](const char* stable, const char* old) {
    for (const char* key : {stable, old})
      if (auto found = node.metadata.labels.find(key); found != node.metadata.labels.end()) return found->second;
    return std::string();
  };
  std::string region = label("topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region");
  std::string zone = label("topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone");
  return region.empty() && zone.empty() ? "" : region + "/" + zone;
}

ZoneState zone_state(int ready, int not_ready) {
  if (ready == 0 && not_ready > 0) return ZoneState::Full;
  bool most = not_ready > 2 && not_ready * 100 >= (ready + not_ready) * 55;
  return most ? ZoneState::Partial : ZoneState::Normal;
}

Duration eviction_pause(ZoneState state, int nodes_in_zone) {
  if (state != ZoneState::Partial) return kPause;
  return nodes_in_zone > kLargeZone ? kPauseOfLargeZone : Duration::zero();
}

}  // namespace skiff::controllers
