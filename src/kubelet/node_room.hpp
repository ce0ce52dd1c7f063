#pragma once
// What pods have reserved of a node, so that two that do not fit together are not both let in.

#include <map>
#include <optional>
#include <string>

#include "api/pods.hpp"
#include "base/mutex.hpp"

namespace skiff::kubelet {

/// Amounts by resource; cpu in thousandths, everything else as it is. A pod counts as one of "pods".
using Amounts = std::map<std::string, std::int64_t>;
Amounts amounts_of(const api::ResourceList& resources);
/// What the node sets aside for the pod.
Amounts reservation(const api::Pod& pod);

struct Shortage {
  std::string resource;
  std::int64_t requested = 0, used = 0, capacity = 0;
  bool never = false;  // more than the whole node has
};

/// Any thread.
class NodeRoom {
 public:
  explicit NodeRoom(Amounts capacity) : capacity_(std::move(capacity)) {}

  /// Reserves for the pod, in place of what it had; a shortage leaves everything as it was.
  std::optional<Shortage> take(const std::string& pod_uid, const Amounts& wanted);
  /// The same for a pod that runs already, whether it fits or not.
  void hold(const std::string& pod_uid, const Amounts& amounts);
  void release(const std::string& pod_uid);

 private:
  const Amounts capacity_;
  Mutex mutex_;
  std::map<std::string, Amounts> held_ GUARDED_BY(mutex_);
};

}  // namespace skiff::kubelet
