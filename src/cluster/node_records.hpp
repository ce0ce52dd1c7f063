#pragma once
// Which nodes a cluster has, and how each is made. Kept in the cluster's directory.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "api/gen/pod.hpp"
#include "api/gen/nodes.hpp"
#include "cluster/state.hpp"

namespace skiff::cluster {

enum class NodePower : std::uint8_t { Running, Stopped, Paused };
const char* to_string(NodePower power);

struct NodeRecord {
  int index = 0;  // its place among addresses and ranges, for good
  std::string name;
  NodePower power = NodePower::Running;
  std::int64_t milli_cpus = 0;  // 0: all of the machine's
  std::int64_t memory = 0;      // bytes; 0: all
  std::map<std::string, std::string> labels;
  std::vector<std::string> taints;  // "key=value:Effect"
};

/// What the words after `node add`, or the flags of `start`, ask for.
struct NodeWish {
  std::string cpus, memory;  // quantities; empty: all of the machine's
  std::string labels;        // "a=b,c=d"
  std::string taints;        // "a=b:NoSchedule,c:NoExecute"
  std::string zone;
};
/// Invalid: with what is wrong.
Result<NodeRecord> make_record(const NodeWish& wish);
Result<std::vector<api::Taint>> parse_taints(const std::vector<std::string>& texts);

/// The records; of an older cluster, those its settings imply.
Result<std::vector<NodeRecord>> load_records(const Settings& settings);
/// The records of a cluster's first start.
Result<std::vector<NodeRecord>> choose_records(const Settings& settings);
Status save_records(const Settings& settings, const std::vector<NodeRecord>& records);

}  // namespace skiff::cluster
