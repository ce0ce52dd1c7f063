#pragma once
// What a node, its pods and their containers use: a kubelet measures it, the API server shows it (stats/summary,
// metrics.k8s.io).

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "client/object.hpp"

namespace skiff::client {

struct ComputeUsage {
  WallTime time{};                   // of the measurement
  Duration window{0};                // over which cpu_nanocores is an average; 0: not known yet
  std::uint64_t cpu_nanocores = 0;
  std::uint64_t cpu_total_ns = 0;    // since the start
  std::uint64_t memory_bytes = 0;    // with caches
  std::uint64_t working_set_bytes = 0;
  std::uint64_t rss_bytes = 0;
  std::uint64_t page_faults = 0;
  std::uint64_t major_page_faults = 0;
  std::uint64_t processes = 0;
};

struct FileSystemUsage {
  std::uint64_t capacity_bytes = 0, available_bytes = 0, used_bytes = 0;
  std::uint64_t inodes = 0, inodes_free = 0, inodes_used = 0;
};

struct NetworkUsage {
  std::string interface;
  std::uint64_t received_bytes = 0, received_errors = 0, sent_bytes = 0, sent_errors = 0;
};

struct ContainerUsage {
  std::string name;
  WallTime started{};
  ComputeUsage compute;
  std::optional<FileSystemUsage> root, logs;  // in full only
};

struct PodUsage {
  ObjectKey key;
  std::string uid;
  std::map<std::string, std::string> labels;
  WallTime started{};
  ComputeUsage compute;
  std::vector<ContainerUsage> containers;     // those that run
  std::optional<NetworkUsage> network;        // in full only, absent with the node's network
  std::optional<FileSystemUsage> ephemeral;   // in full only
  std::map<std::string, FileSystemUsage> volumes;
};

struct NodeUsage {
  std::string name;
  WallTime started{};
  ComputeUsage compute;
  std::uint64_t memory_available_bytes = 0;
  std::optional<NetworkUsage> network;
  FileSystemUsage disk, images;
  std::uint64_t processes = 0, max_processes = 0;
  std::vector<PodUsage> pods;
};

/// How much is asked for.
struct UsageQuery {
  bool full = false;  // also network and disks, which takes time
};

}  // namespace skiff::client
