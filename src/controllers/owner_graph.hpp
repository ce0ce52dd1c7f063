#pragma once
// Which object depends on which, by UID (pkg/controller/garbagecollector/graph.go). Only those that have owners, or are
// going and have a say in what becomes of their dependents, are in the graph: an owner may be missing.

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/mutex.hpp"
#include "client/object.hpp"

namespace skiff::controllers {

inline constexpr char kForegroundFinalizer[] = "foregroundDeletion";
inline constexpr char kOrphanFinalizer[] = "orphan";

/// An object as the collector sees it.
struct OwnedNode {
  const api::KindInfo* kind = nullptr;
  client::ObjectKey key;
  std::string uid;
  std::vector<api::OwnerReference> owners;
  bool deleting = false;  // has a deletionTimestamp
  bool waits = false;     // for its dependents: deleting with foregroundDeletion
  bool orphans = false;   // deleting with the orphan finalizer
};

OwnedNode node_of(const api::KindInfo& kind, const api::ObjectMeta& metadata);

/// What is to be looked at after a change; UIDs.
struct GraphWork {
  std::vector<std::string> check;   // whether it must go
  std::vector<std::string> orphan;  // whose dependents must be let go
};

/// Any thread.
class OwnerGraph {
 public:
  GraphWork put(const OwnedNode& node);
  GraphWork remove(const std::string& uid);

  std::optional<OwnedNode> find(const std::string& uid) const;
  bool contains(const std::string& uid) const;
  std::vector<std::string> all() const;  // UIDs
  std::vector<OwnedNode> dependents(const std::string& uid) const;

 private:
  mutable Mutex mutex_;
  std::map<std::string, OwnedNode> nodes_ GUARDED_BY(mutex_);
  std::map<std::string, std::set<std::string>> dependents_ GUARDED_BY(mutex_);  // of owners known or not
};

}  // namespace skiff::controllers
