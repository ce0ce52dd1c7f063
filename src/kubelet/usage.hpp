#pragma once
// What the node, its pods and their containers use, measured when somebody asks.

#include "client/node_stats.hpp"
#include "kubelet/cpu_meter.hpp"
#include "kubelet/pod_cgroups.hpp"
#include "kubelet/pod_workers.hpp"

namespace skiff::kubelet {

/// What is measured; all of it outlives the collector.
struct UsageSystem {
  const PodWorkers& workers;
  PodCgroups& pods;
  sys::CgroupTree& cgroups;
  runtime::Node& node;
  Clock& clock;
  std::string name;
  std::string directory;  // the node's own
  std::string images;     // where images are kept
};

/// Any thread.
class UsageCollector {
 public:
  explicit UsageCollector(UsageSystem system) : system_(std::move(system)), started_(system_.clock.wall_now()) {}

  /// Waits for half a second when nobody asked within the last minute: a rate takes two readings.
  client::NodeUsage collect(const client::UsageQuery& query);
  /// All pods as collect() has them, each with its object; never waits.
  std::vector<std::pair<client::Ref<api::Pod>, client::PodUsage>> pods(bool full);

 private:
  struct Round {
    bool full = false;
    WallTime now{};
    std::set<std::string> groups;  // that were read
  };
  client::ComputeUsage measure(const std::string& group, Round& round, std::optional<WallTime> started);
  client::PodUsage pod_usage(const PodSnapshot& pod, Round& round);
  client::ContainerUsage container_usage(const PodSnapshot& pod, const std::string& name, Round& round);
  void add_disks(const PodSnapshot& snapshot, client::PodUsage& usage) const;
  client::NodeUsage read(const client::UsageQuery& query);

  const UsageSystem system_;
  const WallTime started_;
  CpuMeter meter_;
};

/// The first interface but lo in the text of /proc/net/dev.
std::optional<client::NetworkUsage> parse_interfaces(std::string_view text);

}  // namespace skiff::kubelet
