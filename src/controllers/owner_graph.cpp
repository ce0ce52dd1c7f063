#include "controllers/owner_graph.hpp"

#include <algorithm>

namespace skiff::controllers {
namespace {

bool contains(const std::vector<std::string>& list, std::string_view item) {
  return std::find(list.begin(), list.end(), item) != list.end();
}

}  // namespace

OwnedNode node_of(const api::KindInfo& kind, const api::ObjectMeta& metadata) {
  OwnedNode node;
  node.kind = &kind;
  node.key = client::key_of(metadata);
  node.uid = metadata.uid;
  node.owners = metadata.ownerReferences;
  node.deleting = static_cast<bool>(metadata.deletionTimestamp);
  node.waits = node.deleting && contains(metadata.finalizers, kForegroundFinalizer);
  node.orphans = node.deleting && contains(metadata.finalizers, kOrphanFinalizer);
  return node;
}

GraphWork OwnerGraph::put(const OwnedNode& node) {
  GraphWork work;
  MutexLock lock(mutex_);
  OwnedNode& known = nodes_[node.uid];
  for (const api::OwnerReference& owner : known.owners) {
    bool kept = std::any_of(node.owners.begin(), node.owners.end(),
                            [&](const auto& one) { return one.uid == owner.uid; });
    if (kept) continue;
    dependents_[owner.uid].erase(node.uid);
    work.check.push_back(owner.uid);  // it may have waited for this one
  }
  bool lost = false;
  for (const api::OwnerReference& owner : node.owners) {
    dependents_[owner.uid].insert(node.uid);
    auto found = nodes_.find(owner.uid);
    // An owner that is not in the graph may not exist, and one that waits takes its dependents with it.
    lost |= found == nodes_.end() || found->second.waits;
  }
  bool owners_changed = known.owners != node.owners;
  if ((lost && owners_changed) || (node.waits && !known.waits)) work.check.push_back(node.uid);
  if (node.orphans && !known.orphans) work.orphan.push_back(node.uid);
  // Waiting owners look again when a dependent begins to go or stops blocking them.
  known = node;
  if (owners_changed || node.deleting)
    for (const api::OwnerReference& owner : node.owners) {
      auto found = nodes_.find(owner.uid);
      if (found != nodes_.end() && found->second.waits) work.check.push_back(owner.uid);
    }
  return work;
}

GraphWork OwnerGraph::remove(const std::string& uid) {
  GraphWork work;
  MutexLock lock(mutex_);
  auto node = nodes_.find(uid);
  if (node != nodes_.end()) {
    for (const api::OwnerReference& owner : node->second.owners) {
      auto siblings = dependents_.find(owner.uid);
      if (siblings == dependents_.end()) continue;
      siblings->second.erase(uid);
      if (siblings->second.empty()) dependents_.erase(siblings);
      auto found = nodes_.find(owner.uid);
      if (found != nodes_.end() && found->second.waits) work.check.push_back(owner.uid);
    }
    nodes_.erase(node);
  }
  auto orphans = dependents_.find(uid);
  if (orphans != dependents_.end())
    work.check.insert(work.check.end(), orphans->second.begin(), orphans->second.end());
  return work;
}

std::optional<OwnedNode> OwnerGraph::find(const std::string& uid) const {
  MutexLock lock(mutex_);
  auto node = nodes_.find(uid);
  return node == nodes_.end() ? std::nullopt : std::optional(node->second);
}

bool OwnerGraph::contains(const std::string& uid) const {
  MutexLock lock(mutex_);
  return nodes_.contains(uid);
}

std::vector<std::string> OwnerGraph::all() const {
  MutexLock lock(mutex_);
  std::vector<std::string> uids;
  for (const auto& [uid, node] : nodes_) uids.push_back(uid);
  return uids;
}

std::vector<OwnedNode> OwnerGraph::dependents(const std::string& uid) const {
  MutexLock lock(mutex_);
  std::vector<OwnedNode> found;
  auto uids = dependents_.find(uid);
  if (uids == dependents_.end()) return found;
  for (const std::string& dependent : uids->second) found.push_back(nodes_.at(dependent));
  return found;
}

}  // namespace skiff::controllers
