#pragma once
// Control groups behind one interface with two backends: v1 (a directory tree a controller) and v2 (one
// tree). A group is named by its path below the hierarchy's root: "skiff/<cluster>/<node>/kubepods/...". The
// kernel is the only record: nothing is cached, every call may be repeated. Any thread.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "base/error.hpp"

namespace skiff::sys {

/// Unset means: leave as it is.
struct CgroupLimits {
  std::optional<std::uint64_t> cpu_shares;   // v1 scale, 2..262144; turned into a weight on v2
  std::optional<std::int64_t> cpu_quota_us;  // -1: no limit
  std::uint64_t cpu_period_us = 100'000;
  std::optional<std::int64_t> memory_bytes;  // -1: no limit. Swap is never added on top
  std::optional<std::int64_t> pids;          // -1: no limit
  bool kill_group_on_oom = false;            // v2: the OOM killer takes every process of the group
};

struct CgroupUsage {
  std::uint64_t cpu_ns = 0;  // since the group was made
  std::uint64_t memory_bytes = 0;
  std::uint64_t working_set_bytes = 0;  // memory without the inactive file cache, as the kubelet counts
  std::uint64_t rss_bytes = 0;          // anonymous memory
  std::uint64_t page_faults = 0, major_page_faults = 0;
  std::uint64_t pids = 0;
};

class CgroupTree {
 public:
  /// The backend that `root` is laid out for: v2 when it has cgroup.controllers, v1 when it has controller
  /// folders.
  static Result<std::unique_ptr<CgroupTree>> detect(const std::string& root = "/sys/fs/cgroup");
  virtual ~CgroupTree() = default;

  /// Makes the group and its parents and hands them the controllers. An existing group is fine.
  virtual Status create(const std::string& group) = 0;
  virtual Status set_limits(const std::string& group, const CgroupLimits& limits) = 0;
  virtual Result<CgroupUsage> usage(const std::string& group) const = 0;
  /// How often the OOM killer struck in the group. 0 when the group is gone.
  virtual std::uint64_t oom_kills(const std::string& group) const = 0;
  /// Only these devices ("c 1:3 rwm"; "a" for all). Where the kernel does not guard them they are left as they are.
  virtual Status allow_devices(const std::string& group, const std::vector<std::string>& rules) = 0;

  /// Directories whose cgroup.procs a process writes itself into to join (one on v2, one a controller on v1).
  virtual std::vector<std::string> directories(const std::string& group) const = 0;
  /// What a container mounts below /sys/fs/cgroup: {"cpu,cpuacct", ...} on v1, {""} on v2.
  virtual std::vector<std::string> mounts() const = 0;
  virtual bool unified() const = 0;
  /// Whether allow_devices() has an effect: v1's controller, or v2 where this process may load eBPF programs.
  virtual bool guards_devices() const = 0;

  Status add(const std::string& group, pid_t pid);
  /// Sends a signal to every process in the group and below. A missing group is fine.
  Status signal_all(const std::string& group, int signal);
  /// Sends SIGKILL to every process in the group and below. A missing group is fine.
  Status kill_all(const std::string& group);
  /// Kills what is left, then removes the group and those below it. Waits for dying processes up to `limit`.
  /// A missing group is fine.
  Status remove(const std::string& group, Clock& clock, Duration limit = 5s);
  /// Removes the group unless something is in it or below it.
  Status remove_if_empty(const std::string& group);
  bool exists(const std::string& group) const;
  /// Names of the groups directly below.
  std::vector<std::string> children(const std::string& group) const;
};

/// v1 cpu.shares as a v2 cpu.weight, by the formula of runc and the kubelet (1024 -> 100).
std::uint64_t cpu_weight_of_shares(std::uint64_t shares);

// The backends, for detect() and tests.
std::unique_ptr<CgroupTree> cgroup_v1(std::string root);
std::unique_ptr<CgroupTree> cgroup_v2(std::string root);

}  // namespace skiff::sys
