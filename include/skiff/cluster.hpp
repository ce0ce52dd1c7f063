#pragma once
// A whole cluster inside this program.
//
//   auto cluster = skiff::Cluster::start({.home = dir, .name = "test"}, {});
//   ... use cluster.value()->kubeconfig() with any Kubernetes client ...
//   cluster.value()->stop();

#include <functional>
#include <memory>
#include <string>

#include "base/error.hpp"
#include "skiff/config.hpp"

namespace skiff {

class Cluster {
 public:
  /// Hears what start() is doing, one short line at a time ("API server answers"). Called on the starting thread.
  using Progress = std::function<void(const std::string& step)>;

  /// Returns once the API answers, every node is Ready and cluster DNS answers. Needs root. A cluster that was
  /// interrupted (kill -9) is found again with its pods running. Unavailable: another process runs this cluster.
  static Result<std::unique_ptr<Cluster>> start(const ClusterConfig& config, Progress progress);
  /// Lets the nodes and their pods run on; a later start() finds them.
  ~Cluster();

  /// Ends all pods and nodes and takes the cluster's network off the host. The state stays for the next start().
  Status stop();

  /// A kubeconfig (YAML) for the administrator, readable with any Kubernetes client.
  const std::string& kubeconfig() const;
  const std::string& api_url() const;

 private:
  struct Parts;
  explicit Cluster(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

/// Removes a cluster that no process runs: its nodes if any still run, what it put on the host, and its directory.
/// NotFound: there is no such cluster. Unavailable: a process runs it.
Status delete_cluster(const ClusterConfig& config);

}  // namespace skiff
