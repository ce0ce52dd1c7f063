#include "scheduler/volumes.hpp"

#include <fmt/core.h>

#include <algorithm>

namespace skiff::scheduler {
namespace {

constexpr const char* kZoneLabels[] = {"topology.kubernetes.io/zone", "topology.kubernetes.io/region",
                                       "failure-domain.beta.kubernetes.io/zone",
                                       "failure-domain.beta.kubernetes.io/region"};

bool refuse(NodeVerdict& verdict, const char* filter, const char* reason, bool hopeless) {
  verdict.filter = filter;
  verdict.reasons = {reason};
  verdict.hopeless = hopeless;
  return true;
}

bool fully_bound(const api::PersistentVolumeClaim& claim) {
  return !claim.spec.volumeName.empty() && claim.metadata.annotations.contains(api::kBindCompleted);
}

// "a__b" means a or b.
bool zone_matches(const std::string& zones, const std::string& zone) {
  for (size_t begin = 0; begin <= zones.size();) {
    size_t end = std::min(zones.find("__", begin), zones.size());
    if (zones.compare(begin, end - begin, zone) == 0) return true;
    begin = end + 2;
  }
  return false;
}

}  // namespace

std::set<std::string> VolumePromises::volumes() const {
  std::set<std::string> names;
  for (const auto& [claim, promise] : claims)
    if (!promise.volume.empty()) names.insert(promise.volume);
  return names;
}

// ---- PodVolumes

bool PodVolumes::refuses(const NodeState& state, const ClusterState& cluster, NodeVerdict& verdict) const {
  const api::Node& node = *state.node;
  if (!refusal.empty()) return refuse(verdict, "VolumeBinding", refusal.c_str(), true);
  for (const client::ObjectKey& claim : exclusive)
    if (cluster.in_use(claim))
      return refuse(verdict, "VolumeRestrictions",
                    "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode", false);
  if (full.contains(node.metadata.name))
    return refuse(verdict, "NodeVolumeLimits", "node(s) exceed max volume count", false);
  return refuses_bound(node, verdict) || refuses_delayed(node, verdict) ||
         refuses_zone(node, verdict);
}

bool PodVolumes::refuses_bound(const api::Node& node, NodeVerdict& verdict) const {
  if (volume_gone)
    return refuse(verdict, "VolumeBinding",
                  "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)", true);
  for (const auto& volume : bound)
    if (!api::reachable_from(*volume, node))
      return refuse(verdict, "VolumeBinding", "node(s) didn't match PersistentVolume's node affinity", true);
  return false;
}

bool PodVolumes::refuses_zone(const api::Node& node, NodeVerdict& verdict) const {
  for (const auto& volume : bound)
    for (const char* key : kZoneLabels) {
      auto wanted = volume->metadata.labels.find(key);
      if (wanted == volume->metadata.labels.end()) continue;
      auto has = node.metadata.labels.find(key);
      if (has == node.metadata.labels.end() || !zone_matches(wanted->second, has->second))
        return refuse(verdict, "VolumeZone", "node(s) had no available volume zone", true);
    }
  return false;
}

bool PodVolumes::refuses_delayed(const api::Node& node, NodeVerdict& verdict) const {
  if (delayed.empty() || match(node, nullptr)) return false;
  return refuse(verdict, "VolumeBinding", "node(s) didn't find available persistent volumes to bind", true);
}

bool PodVolumes::match(const api::Node& node, VolumePlan* plan) const {
  std::set<std::string> excluded = taken;
  for (const Delayed& one : delayed) {
    const api::PersistentVolumeClaim& claim = *one.claim;
    if (one.promise) {  // another pod settled it
      if (one.promise->node != node.metadata.name) return false;
      continue;
    }
    auto selected = claim.metadata.annotations.find(api::kSelectedNode);
    if (selected != claim.metadata.annotations.end()) {
      if (selected->second != node.metadata.name) return false;
      if (plan) plan->bindings.push_back({one.claim, nullptr, 0});
      continue;
    }
    if (auto volume = api::best_volume({.claim = claim, .node = &node, .excluded = &excluded}, candidates)) {
      excluded.insert(volume->metadata.name);
      if (plan) plan->bindings.push_back({one.claim, volume, 0});
      continue;
    }
    if (one.one->provisioner == api::kNoProvisioner || !api::allows_node(*one.one, node)) return false;
    if (plan) plan->bindings.push_back({one.claim, nullptr, 0});
  }
  return true;
}

VolumePlan PodVolumes::plan(const api::Node& node) const {
  VolumePlan plan;
  match(node, &plan);
  return plan;
}

// ---- VolumeCatalogue

VolumeCatalogue::VolumeCatalogue(client::Informers& informers)
    : claims(informers.of<api::PersistentVolumeClaim>()),
      volumes(informers.of<api::PersistentVolume>()),
      classes(informers.of<api::StorageClass>()),
      csi_nodes(informers.of<api::CSINode>()) {}

std::string VolumeCatalogue::problem_of(const api::Pod& pod, const api::UsedClaim& used,
                                        const api::PersistentVolumeClaim* claim) const {
  if (!claim)
    return used.ephemeral()
               ? fmt::format("waiting for ephemeral volume controller to create the persistentvolumeclaim \"{}\"", used.name)
               : fmt::format("persistentvolumeclaim \"{}\" not found", used.name);
  if (claim->status.phase == "Lost")
    return fmt::format("persistentvolumeclaim \"{}\" bound to non-existent persistentvolume \"{}\"", used.name,
                       claim->spec.volumeName);
  if (claim->metadata.deletionTimestamp) return fmt::format("persistentvolumeclaim \"{}\" is being deleted", used.name);
  if (!used.ephemeral()) return "";
  const api::OwnerReference* owner = client::controller_of(claim->metadata);
  if (owner && owner->uid == pod.metadata.uid) return "";
  return fmt::format("PVC {} was not created for pod {} (pod is not owner)", client::key_of(*claim).str(),
                     client::key_of(pod).str());
}

void VolumeCatalogue::add_claim(const api::Pod& pod, const api::UsedClaim& used, const VolumePromises& promises,
                                PodVolumes& found) const {
  const client::ObjectKey key{pod.metadata.namespace_, used.name};
  client::Ref<api::PersistentVolumeClaim> claim = claims.get(key);
  found.refusal = problem_of(pod, used, claim.get());
  if (!found.refusal.empty()) return;
  const auto& modes = claim->spec.accessModes;
  if (std::find(modes.begin(), modes.end(), "ReadWriteOncePod") != modes.end()) found.exclusive.push_back(key);
  if (fully_bound(*claim)) {
    if (auto volume = volumes.get({"", claim->spec.volumeName})) found.bound.push_back(std::move(volume));
    else found.volume_gone = true;
    return;
  }
  client::Ref<api::StorageClass> one = classes.get({"", api::class_of(*claim)});
  if (one && api::waits_for_consumer(*one) && claim->spec.volumeName.empty()) {
    auto promise = promises.claims.find(key);
    found.delayed.push_back({claim, one, promise == promises.claims.end() ? nullptr : &promise->second});
  } else {
    found.refusal = "pod has unbound immediate PersistentVolumeClaims";
  }
}

PodVolumes VolumeCatalogue::volumes_of(const PodInfo& pod, const VolumePromises& promises,
                                       const ClusterState& cluster) const {
  PodVolumes found;
  if (pod.claims.empty()) return found;
  for (const api::UsedClaim& used : api::used_claims(*pod.pod)) {
    add_claim(*pod.pod, used, promises, found);
    if (!found.refusal.empty()) return found;
  }
  if (!found.delayed.empty()) {
    found.candidates = volumes.list();
    found.taken = promises.volumes();
  }
  find_full_nodes(cluster, found);
  return found;
}

void VolumeCatalogue::find_full_nodes(const ClusterState& cluster, PodVolumes& found) const {
  bool with_driver = std::any_of(found.bound.begin(), found.bound.end(), [](const auto& one) { return bool(one->spec.csi); });
  if (!with_driver) return;
  for (const auto& node : csi_nodes.list()) {
    const NodeState* state = cluster.find(node->metadata.name);
    if (state && std::any_of(node->spec.drivers.begin(), node->spec.drivers.end(),
                             [&](const auto& driver) { return is_full(*state, driver, found); }))
      found.full.insert(node->metadata.name);
  }
}

// Volumes are counted once a node, whoever uses them.
bool VolumeCatalogue::is_full(const NodeState& node, const api::CSINodeDriver& driver, const PodVolumes& wanted) const {
  if (!driver.allocatable || !driver.allocatable->count) return false;
  auto handle = [&](const api::PersistentVolume& volume) {
    return volume.spec.csi && volume.spec.csi->driver == driver.name ? volume.spec.csi->volumeHandle : std::string();
  };
  std::set<std::string> there, more;
  for (const auto& [key, pod] : node.pods)
    for (const client::ObjectKey& name : pod->claims)
      if (auto claim = claims.get(name); claim && !claim->spec.volumeName.empty())
        if (auto volume = volumes.get({"", claim->spec.volumeName})) there.insert(handle(*volume));
  for (const auto& volume : wanted.bound) more.insert(handle(*volume));
  there.erase("");
  std::erase_if(more, [&](const std::string& one) { return one.empty() || there.contains(one); });
  return !more.empty() && there.size() + more.size() > static_cast<size_t>(*driver.allocatable->count);
}

}  // namespace skiff::scheduler
