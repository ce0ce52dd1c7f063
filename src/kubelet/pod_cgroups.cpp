#include "kubelet/pod_cgroups.hpp"

#include <algorithm>

#include "api/pods.hpp"

namespace skiff::kubelet {
namespace {

const api::Quantity* find(const std::map<std::string, api::Quantity>& resources, const std::string& name) {
  auto found = resources.find(name);
  return found == resources.end() ? nullptr : &found->second;
}

/// The pod's own limit, or the sum of all main containers' and the largest init container's; -1 when one has none.
std::int64_t total_limit(const api::Pod& pod, const std::string& name,
                         std::int64_t (api::Quantity::*number)() const) {
  if (const api::Quantity* own = pod.spec.resources ? find(pod.spec.resources->limits, name) : nullptr) return (own->*number)();
  std::int64_t sum = 0, largest_init = 0;
  for (const api::Container& container : pod.spec.containers) {
    const api::Quantity* limit = find(container.resources.limits, name);
    if (limit == nullptr || limit->zero()) return -1;
    sum += (limit->*number)();
  }
  for (const api::Container& container : pod.spec.initContainers) {
    const api::Quantity* limit = find(container.resources.limits, name);
    if (limit == nullptr || limit->zero()) return -1;
    if (api::is_sidecar(container))
      sum += (limit->*number)();
    else
      largest_init = std::max(largest_init, (limit->*number)());
  }
  return std::max(sum, largest_init);
}

}  // namespace

std::uint64_t cpu_shares(std::int64_t milli) {
  return std::clamp<std::uint64_t>(static_cast<std::uint64_t>(std::max<std::int64_t>(milli, 0)) * 1024 / 1000,
                                   2, 262144);
}

std::int64_t cpu_quota(std::int64_t milli, std::uint64_t period_us) {
  return std::max<std::int64_t>(milli * static_cast<std::int64_t>(period_us) / 1000, 1000);
}

sys::CgroupLimits container_limits(const api::Container& container) {
  sys::CgroupLimits limits;
  const api::Quantity* request = find(container.resources.requests, "cpu");
  const api::Quantity* limit = find(container.resources.limits, "cpu");
  const api::Quantity* share = request != nullptr ? request : limit;
  limits.cpu_shares = cpu_shares(share != nullptr ? share->milli() : 0);
  if (limit != nullptr && !limit->zero())
    limits.cpu_quota_us = cpu_quota(limit->milli(), limits.cpu_period_us);
  const api::Quantity* memory = find(container.resources.limits, "memory");
  if (memory != nullptr && !memory->zero()) limits.memory_bytes = memory->value();
  limits.kill_group_on_oom = true;
  return limits;
}

sys::CgroupLimits pod_limits(const api::Pod& pod) {
  sys::CgroupLimits limits;
  limits.pids = kPodProcesses;
  api::ResourceList requests = api::pod_requests(pod);
  const api::Quantity* request = find(requests, "cpu");
  limits.cpu_shares = cpu_shares(request != nullptr ? request->milli() : 0);
  std::int64_t cpu = total_limit(pod, "cpu", &api::Quantity::milli);
  if (cpu > 0) limits.cpu_quota_us = cpu_quota(cpu, limits.cpu_period_us);
  std::int64_t memory = total_limit(pod, "memory", &api::Quantity::value);
  if (memory > 0) limits.memory_bytes = memory;
  return limits;
}

int oom_score(const api::Pod& pod, const api::Container& container, std::int64_t node_memory) {
  std::string qos = api::qos_class(pod);
  if (qos == "Guaranteed") return -997;
  if (qos == "BestEffort") return 1000;
  const api::Quantity* request = find(container.resources.requests, "memory");
  std::int64_t wanted = request != nullptr ? request->value() : 0;
  auto share = static_cast<std::int64_t>(static_cast<double>(wanted) * 1000 /
                                         static_cast<double>(std::max<std::int64_t>(node_memory, 1)));
  // Below the best-effort pods, above the guaranteed ones.
  return static_cast<int>(std::clamp<std::int64_t>(1000 - share, 3, 999));
}

std::string PodCgroups::path_of(const api::Pod& pod) const {
  std::string qos = api::qos_class(pod);
  std::string_view group = qos == "Guaranteed" ? "" : qos == "Burstable" ? "/burstable" : "/besteffort";
  return fmt::format("{}{}/pod{}", root_, group, pod.metadata.uid);
}

Status PodCgroups::prepare() {
  TRY(tree_.create(root_ + "/burstable"));
  TRY(tree_.create(root_ + "/besteffort"));
  return tree_.set_limits(root_ + "/besteffort", {.cpu_shares = 2});
}

Result<std::string> PodCgroups::set_up(const api::Pod& pod) {
  std::string path = path_of(pod);
  if (tree_.exists(path)) return path;
  TRY(tree_.create(path));
  TRY(tree_.set_limits(path, pod_limits(pod)));
  return path;
}

Result<std::string> PodCgroups::set_up_container(const api::Pod& pod, const api::Container& container,
                                                 const std::string& id) {
  std::string path = path_of(pod) + "/" + id;
  TRY(tree_.create(path));
  TRY(tree_.set_limits(path, container_limits(container)));
  return path;
}

Status PodCgroups::resize(const api::Pod& pod, const api::Container& container, const std::string& group) {
  auto whole = [](sys::CgroupLimits limits) {  // a limit that went has to be lifted
    limits.cpu_quota_us = limits.cpu_quota_us.value_or(-1);
    limits.memory_bytes = limits.memory_bytes.value_or(-1);
    return limits;
  };
  sys::CgroupLimits limits = whole(container_limits(container));
  Result<sys::CgroupUsage> usage = tree_.usage(group);
  if (usage.ok() && *limits.memory_bytes > 0 && usage.value().memory_bytes > static_cast<std::uint64_t>(*limits.memory_bytes))
    return error(Code::Invalid, "attempting to set container memory limit ({}) below current usage ({})",
                 *limits.memory_bytes, usage.value().memory_bytes);
  TRY(tree_.set_limits(path_of(pod), whole(pod_limits(pod))));
  return tree_.set_limits(group, limits);
}

Status PodCgroups::tear_down(const std::string& pod_uid) {
  // In every QoS class: of a pod that vanished while skiff was down only the UID is known.
  for (std::string_view group : {"", "/burstable", "/besteffort"})
    TRY(tree_.remove(fmt::format("{}{}/pod{}", root_, group, pod_uid), clock_));
  return ok();
}

}  // namespace skiff::kubelet
