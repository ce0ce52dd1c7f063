#pragma once
// The cgroup hook: kubepods, its QoS groups, one group a pod, one a container.

#include <string>

#include "api/gen/pod.hpp"
#include "sys/cgroup.hpp"

namespace skiff::kubelet {

/// CPU in thousandths as cpu.shares (1000 -> 1024, never below 2) and as a CFS quota (never below 1 ms).
std::uint64_t cpu_shares(std::int64_t milli);
std::int64_t cpu_quota(std::int64_t milli, std::uint64_t period_us);

/// What a pod may have of processes and threads: a fork bomb ends here and not at the machine's limit.
inline constexpr std::int64_t kPodProcesses = 8192;

sys::CgroupLimits container_limits(const api::Container& container);
/// Limits the pod only where every container has one.
sys::CgroupLimits pod_limits(const api::Pod& pod);
/// -997, 1000 or between, by QoS class and share of the node's memory.
int oom_score(const api::Pod& pod, const api::Container& container, std::int64_t node_memory);

class PodCgroups {
 public:
  /// `node` is the node's own group.
  PodCgroups(sys::CgroupTree& tree, Clock& clock, std::string node)
      : tree_(tree), clock_(clock), root_(std::move(node) + "/kubepods") {}

  /// The QoS groups; once at start.
  Status prepare();
  /// The pod's group, made when missing. Returns its path.
  Result<std::string> set_up(const api::Pod& pod);
  Result<std::string> set_up_container(const api::Pod& pod, const api::Container& container,
                                       const std::string& id);
  /// Gives a running container in `group`, and its pod, what the spec says now. Invalid: it uses more memory already.
  Status resize(const api::Pod& pod, const api::Container& container, const std::string& group);
  /// Whether the kernel keeps containers from devices that are not theirs.
  bool guards_devices() const { return tree_.guards_devices(); }
  Status tear_down(const std::string& pod_uid);
  std::string path_of(const api::Pod& pod) const;

 private:
  sys::CgroupTree& tree_;
  Clock& clock_;
  const std::string root_;
};

}  // namespace skiff::kubelet
