#pragma once
// The nodes of a running cluster: made, removed, powered off and on, frozen. One change at a time. A node whose skiff-init dies
// is one whose power was cut: nobody is told, and `skiff node start` brings it back.

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "cluster/control_plane.hpp"
#include "cluster/death_watch.hpp"
#include "cluster/network.hpp"
#include "cluster/node.hpp"
#include "cluster/node_records.hpp"

namespace skiff::cluster {

inline constexpr int kMostNodes = 64;

class Fleet {
 public:
  struct Uses {
    NodeSurroundings around;
    ControlPlane& plane;
    ClusterNetwork& network;
  };
  explicit Fleet(const Uses& uses) : uses_(uses) {}

  /// Opens the nodes that are to run; start() starts their kubelets once the informers run.
  Status open();
  Status start();
  /// Stops the kubelets; nodes and pods run on.
  void stop();
  /// Ends all nodes with their pods; their records stay.
  Status power_off();
  size_t size() const;
  /// Asks DNS in every running node.
  Status wait_dns();

  // What `skiff node` asks for. Any thread. NotFound: no such node.
  Result<std::string> add(NodeRecord record);
  /// The node, its pods, its Node object and its directory go.
  Status remove(const std::string& name);
  /// A power cut: nobody is told. Its pods are gone, the Node object is as it was.
  Status cut_power(const std::string& name);
  Status restore_power(const std::string& name);
  /// A hang: nothing on the node runs on, and it is not heard of.
  Status pause(const std::string& name);
  Status resume(const std::string& name);
  std::vector<NodeRecord> records() const;

 private:
  struct Member {
    NodeRecord record;
    std::unique_ptr<NodeParts> parts;  // null while it is powered off
    std::uint64_t api_socket = 0;
    bool died = false;                 // by itself, so it is off, but not for good: the next start of skiff finds it running
    NodePower power() const { return died ? NodePower::Stopped : record.power; }
  };
  Result<Member*> find(const std::string& name, NodePower power) REQUIRES(mutex_);
  Status open_member(Member& member) REQUIRES(mutex_);
  Status start_member(Member& member) REQUIRES(mutex_);
  void close_member(Member& member) REQUIRES(mutex_);
  Status set_power(Member& member, NodePower power) REQUIRES(mutex_);
  Status save() REQUIRES(mutex_);
  Status publish_endpoints() REQUIRES(mutex_);
  Status signal_all(const Member& member, int signal) REQUIRES(mutex_);
  int free_index() const REQUIRES(mutex_);
  void node_died(const std::string& name);

  const Uses uses_;
  mutable Mutex mutex_;
  std::map<int, Member> members_ GUARDED_BY(mutex_);
  std::unique_ptr<DeathWatch> deaths_;  // last: its thread uses the rest
};

/// Answers `skiff node ...` from the control socket.
Result<std::vector<std::string>> answer_node_command(Fleet& fleet, const std::vector<std::string>& words);

}  // namespace skiff::cluster
