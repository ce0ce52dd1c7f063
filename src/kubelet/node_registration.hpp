#pragma once
// The Node object and the node's lease: registered at start, kept fresh from one thread.

#include <atomic>
#include <functional>
#include <thread>

#include "api/gen/nodes.hpp"
#include "client/client.hpp"
#include "kubelet/eviction.hpp"

namespace skiff::kubelet {

/// What a node says of itself.
struct NodeDescription {
  std::string name;
  std::vector<std::string> ips;        // one a family, the main one first
  std::vector<std::string> pod_cidrs;  // the same
  std::string version;                        // "v1.36.0"
  std::map<std::string, std::string> labels;  // on top of hostname, os and arch
  std::map<std::string, api::Quantity> capacity, allocatable;
  api::NodeSystemInfo info;
  std::int32_t port = 0;
  Pressure pressure;
  Duration lease_period = 10s;
};

/// cpu, memory, ephemeral-storage and pods of this machine.
std::map<std::string, api::Quantity> machine_capacity(const std::string& directory, int max_pods);
/// Kernel, machine ids, operating system, architecture.
api::NodeSystemInfo machine_info(const std::string& version, const std::string& machine_id);

/// The wanted object; `old`, when there is one, keeps what others own (taints, labels, annotations, addresses
/// of a cloud) and its transition times. Pure.
api::Node make_node(const NodeDescription& description, const api::Node* old, api::Time now);

class NodeRegistration {
 public:
  NodeRegistration(client::Client& client, Clock& clock, NodeDescription description)
      : client_(client), clock_(clock), description_(std::move(description)) {}

  /// Creates or updates the object, Ready, and the lease; then keeps them fresh: the lease every 10 s (or as
  /// described), the status every 5 min.
  Status start(std::function<std::vector<api::ContainerImage>()> images);
  /// Shows with the next look, which is now.
  void set_pressure(const Pressure& pressure);
  Pressure pressure() const;

 private:
  Status write_node();
  Status renew_lease();
  bool wait_for_change(TimePoint due, std::stop_token stop);
  void run(std::stop_token stop);

  client::Client& client_;
  Clock& clock_;
  const NodeDescription description_;
  mutable Mutex mutex_;
  CondVar changed_;
  Pressure pressure_ GUARDED_BY(mutex_);
  bool pressure_changed_ GUARDED_BY(mutex_) = false;
  std::function<std::vector<api::ContainerImage>()> images_;
  std::jthread thread_;  // last
};

}  // namespace skiff::kubelet
