#pragma once
// Ending pods before the node runs out of memory or disk, and pods that write more than they may.

#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "api/gen/pod.hpp"
#include "base/clock.hpp"
#include "client/node_stats.hpp"

namespace skiff::kubelet {

/// What is left of what a node must not run out of.
struct NodeSignals {
  std::uint64_t memory_available = 0;
  std::uint64_t disk_available = 0, disk_inodes_free = 0, disk_inodes = 0;
};

/// Below these a node is under pressure. Absolute for disks: a tenth of a large disk is no shortage.
struct EvictionThresholds {
  std::uint64_t memory_available = 100ULL << 20;
  std::uint64_t disk_available = 1ULL << 30;
  int disk_inodes_free_percent = 1;
  Duration period = 10s;  // between two looks
};

struct Pressure {
  bool memory = false, disk = false;
  bool operator==(const Pressure&) const = default;
};
/// Pure.
Pressure pressure_of(const NodeSignals& signals, const EvictionThresholds& thresholds);

/// Memory and disk of this machine, with `directory` being where pods write.
NodeSignals read_signals(const std::string& directory);

struct MeasuredPod {
  const api::Pod* pod = nullptr;
  client::PodUsage usage;
};

struct EvictionChoice {
  std::string pod_uid;
  std::string message;
};

/// The pod that goes first: those that use more than they asked for before others, then by priority, then by how much
/// more. Critical pods stay. Pure.
std::optional<EvictionChoice> choose_for_memory(const std::vector<MeasuredPod>& pods, const NodeSignals& signals,
                                                const EvictionThresholds& thresholds);
std::optional<EvictionChoice> choose_for_disk(const std::vector<MeasuredPod>& pods, const NodeSignals& signals,
                                              const EvictionThresholds& thresholds);

/// Whether the pod has limits on what it writes.
bool limits_disk(const api::Pod& pod);
/// Which of them it breaks, in the kubelet's words; "": none. `usage` is a full one. Pure.
std::string broken_disk_limit(const api::Pod& pod, const client::PodUsage& usage);

/// Looks now and then. What it asks for and tells is handed in.
class EvictionManager {
 public:
  struct Uses {
    std::function<NodeSignals()> signals;
    /// All pods with what they use; `full` with disks.
    std::function<std::vector<std::pair<std::shared_ptr<const api::Pod>, client::PodUsage>>(bool full)> pods;
    std::function<bool()> any_disk_limits;
    std::function<void(const EvictionChoice&)> evict;
    std::function<void(const Pressure&)> tell;
    std::function<void()> reclaim_disk;  // what costs nobody anything, tried before a pod is ended
  };
  EvictionManager(Clock& clock, EvictionThresholds thresholds, Uses uses)
      : clock_(clock), thresholds_(thresholds), uses_(std::move(uses)) {}

  void start();
  void stop();
  /// One look; public for tests.
  void look();

 private:
  Clock& clock_;
  const EvictionThresholds thresholds_;
  const Uses uses_;
  Pressure told_;
  std::jthread thread_;  // last
};

}  // namespace skiff::kubelet
