#include "scheduler/cluster_state.hpp"

namespace skiff::scheduler {

void ClusterState::set_node(const client::Ref<api::Node>& node) {
  NodeState& state = nodes_[node->metadata.name];
  state.node = node;
  state.allocatable = Resources::from(node->status.allocatable);
  auto pods = node->status.allocatable.find("pods");
  state.max_pods = pods == node->status.allocatable.end() ? 0 : pods->second.value();
}

void ClusterState::remove_node(const std::string& name) {
  auto found = nodes_.find(name);
  if (found == nodes_.end()) return;
  found->second.node = nullptr;
  drop_if_empty(name);
}

void ClusterState::drop_if_empty(const std::string& name) {
  auto found = nodes_.find(name);
  if (found != nodes_.end() && !found->second.node && found->second.pods.empty()) nodes_.erase(found);
}

void ClusterState::set_pod(const PodInfoRef& pod, const std::string& node) {
  client::ObjectKey key = client::key_of(*pod->pod);
  remove_pod(key);
  NodeState& state = nodes_[node];
  state.requested.add(pod->requests);
  state.scored.add(pod->scored);
  if (!pod->anti_affinity.empty()) ++with_anti_affinity_;
  placed_[key] = node;
  state.pods[std::move(key)] = pod;
}

void ClusterState::remove_pod(const client::ObjectKey& key) {
  auto placed = placed_.find(key);
  if (placed == placed_.end()) return;
  NodeState& state = nodes_.at(placed->second);
  auto pod = state.pods.find(key);
  state.requested.subtract(pod->second->requests);
  state.scored.subtract(pod->second->scored);
  if (!pod->second->anti_affinity.empty()) --with_anti_affinity_;
  state.pods.erase(pod);
  drop_if_empty(placed->second);
  placed_.erase(placed);
}

std::string ClusterState::node_of(const client::ObjectKey& key) const {
  auto placed = placed_.find(key);
  return placed == placed_.end() ? "" : placed->second;
}

std::vector<const NodeState*> ClusterState::nodes() const {
  std::vector<const NodeState*> nodes;
  nodes.reserve(nodes_.size());
  for (const auto& [name, state] : nodes_)
    if (state.node) nodes.push_back(&state);
  return nodes;
}

}  // namespace skiff::scheduler
