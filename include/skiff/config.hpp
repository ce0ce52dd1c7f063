#pragma once

#include <cstdint>
#include <string>

namespace skiff {

/// What a user chooses about a cluster. Defaults make a good single-node cluster. What is left empty or 0 is chosen at
/// the first start and kept in the cluster's directory from then on.
struct ClusterConfig {
  std::string home = "/var/lib/skiff";  // images and all clusters
  std::string name = "skiff";           // a DNS label
  int nodes = 1;                        // at the first start; `skiff node add` brings more
  std::string node_cpus, node_memory;   // of each of them, quantities such as 500m and 512Mi; empty: all there is
  std::string node_labels;              // "a=b,c=d"
  int zones = 0;                        // the nodes' topology.kubernetes.io/zone goes round through so many
  int fake_nodes = 0;                   // simulated ones beside them: pods there become Ready without containers
  std::string scheduler_profiles;       // "packed=MostAllocated": schedulerNames beside default-scheduler
  int eviction_after = 300;             // seconds that pods stay on a lost node, unless they say so themselves
  int node_grace = 40;                  // seconds after which a silent node counts as lost
  std::string ip_family = "ipv4";       // or ipv6, or dual (IPv4 first); what the ranges below name counts more
  std::string pod_cidr;                 // an IPv4 /16, an IPv6 /56 or both, "A,B"; default 10.244.0.0/16 or the first free one
  std::string service_cidr;             // an IPv4 /16, an IPv6 /112 or both; default 10.96.0.0/16 or the first free one
  std::uint16_t api_port = 0;           // on the expose address; default 6443 or a free one
  std::string expose = "127.0.0.1";     // where the API and NodePorts answer on the host
  std::string cluster_domain = "cluster.local";
  std::string audit_log;                // a file for audit.k8s.io/v1 events; empty: none
  std::string audit_level = "Metadata"; // None, Metadata, Request or RequestResponse
  std::string cgroup_root = "skiff";    // all control groups are made below this one
};

}  // namespace skiff
