#include "scheduler/cluster_state.hpp"

#include <algorithm>

namespace skiff::scheduler {
namespace {

// What all pods of a group share, but for their affinity.
std::string group_key(const api::ObjectMeta& pod) {
  std::string key = pod.namespace_;
  for (const auto& [label, value] : pod.labels) key.append(1, '\0').append(label).append(1, '=').append(value);
  return key;
}

}  // namespace

void ClusterState::set_node(const client::Ref<api::Node>& node) {
  NodeState& state = nodes_[node->metadata.name];
  bool is_new = !state.node;
  if (is_new || state.node->metadata.labels != node->metadata.labels) domains_.clear();
  count_images(state, -1);
  state.node = node;
  state.allocatable = Resources::from(node->status.allocatable);
  auto pods = node->status.allocatable.find("pods");
  state.max_pods = pods == node->status.allocatable.end() ? 0 : pods->second.value();
  state.images.clear();
  for (const api::ContainerImage& image : node->status.images)
    for (const std::string& name : image.names) state.images[name] = image.sizeBytes.value_or(0);
  count_images(state, 1);
  if (is_new) list_existing();
}

void ClusterState::count_images(const NodeState& node, int by) {
  for (const auto& [name, size] : node.images)
    if ((images_[name] += by) == 0) images_.erase(name);
}

int ClusterState::nodes_with_image(const std::string& name) const {
  auto found = images_.find(name);
  return found == images_.end() ? 0 : found->second;
}

void ClusterState::remove_node(const std::string& name) {
  auto found = nodes_.find(name);
  if (found == nodes_.end()) return;
  count_images(found->second, -1);
  found->second.images.clear();
  found->second.node = nullptr;
  list_existing();
  drop_if_empty(name);
}

void ClusterState::list_existing() {
  existing_.clear();
  domains_.clear();
  for (auto& [name, state] : nodes_) {
    if (!state.node) continue;
    state.ordinal = existing_.size();
    existing_.push_back(&state);
  }
}

const Domains& ClusterState::domains(const std::string& topology_key) const {
  auto [known, is_new] = domains_.try_emplace(topology_key);
  Domains& domains = known->second;
  if (!is_new) return domains;
  std::unordered_map<std::string_view, int> numbers;
  domains.of.reserve(existing_.size());
  for (const NodeState* node : existing_) {
    auto label = node->node->metadata.labels.find(topology_key);
    if (label == node->node->metadata.labels.end()) domains.of.push_back(Domains::kNone);
    else domains.of.push_back(numbers.try_emplace(label->second, static_cast<int>(numbers.size())).first->second);
  }
  domains.count = static_cast<int>(numbers.size());
  return domains;
}

const NodeState* ClusterState::find(const std::string& name) const {
  auto found = nodes_.find(name);
  return found == nodes_.end() || !found->second.node ? nullptr : &found->second;
}

void ClusterState::drop_if_empty(const std::string& name) {
  auto found = nodes_.find(name);
  if (found != nodes_.end() && !found->second.node && found->second.pods.empty()) nodes_.erase(found);
}

PodGroup& ClusterState::group_of(const PodInfoRef& pod) {
  std::string key = group_key(pod->pod->metadata);
  auto [first, last] = groups_by_key_.equal_range(key);
  for (auto it = first; it != last; ++it)
    if (it->second->terminating == pod->terminating && it->second->example->pod->spec.affinity == pod->pod->spec.affinity)
      return *it->second;
  PodGroup& group = *groups_.emplace_back(std::make_unique<PodGroup>());
  group.example = pod;
  group.terminating = pod->terminating;
  groups_by_key_.emplace(std::move(key), &group);
  return group;
}

void ClusterState::leave_group(PodGroup& group, const NodeState& node) {
  auto here = group.nodes.find(&node);
  if (--here->second == 0) group.nodes.erase(here);
  if (!group.nodes.empty()) return;
  auto [first, last] = groups_by_key_.equal_range(group_key(group.example->pod->metadata));
  groups_by_key_.erase(std::find_if(first, last, [&](const auto& entry) { return entry.second == &group; }));
  std::erase_if(groups_, [&](const auto& one) { return one.get() == &group; });
}

void ClusterState::set_pod(const PodInfoRef& pod, const std::string& node) {
  client::ObjectKey key = client::key_of(*pod->pod);
  remove_pod(key);
  NodeState& state = nodes_[node];
  state.requested.add(pod->requests);
  state.scored.add(pod->scored);
  if (!pod->owner_uid.empty()) ++state.owners[pod->owner_uid];
  for (const client::ObjectKey& claim : pod->claims) claims_.insert(claim);
  PodGroup& group = group_of(pod);
  ++group.nodes[&state];
  placed_[key] = {&state, node, &group};
  state.pods[std::move(key)] = pod;
}

void ClusterState::remove_pod(const client::ObjectKey& key) {
  auto placed = placed_.find(key);
  if (placed == placed_.end()) return;
  const Place place = placed->second;
  NodeState& state = *place.node;
  auto found = state.pods.find(key);
  const PodInfoRef pod = found->second;
  state.requested.subtract(pod->requests);
  state.scored.subtract(pod->scored);
  if (!pod->owner_uid.empty())
    if (auto owner = state.owners.find(pod->owner_uid); --owner->second == 0) state.owners.erase(owner);
  for (const client::ObjectKey& claim : pod->claims) claims_.erase(claims_.find(claim));
  state.pods.erase(found);
  leave_group(*place.group, state);
  placed_.erase(placed);
  drop_if_empty(place.name);
}

std::string ClusterState::node_of(const client::ObjectKey& key) const {
  auto placed = placed_.find(key);
  return placed == placed_.end() ? "" : placed->second.name;
}

}  // namespace skiff::scheduler
