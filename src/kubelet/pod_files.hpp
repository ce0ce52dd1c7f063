#pragma once
// /etc/hosts, /etc/resolv.conf and the host name of a pod. The texts are pure.

#include <string>
#include <vector>

#include "api/gen/pod.hpp"
#include "base/error.hpp"

namespace skiff::kubelet {

struct DnsSettings {
  std::vector<std::string> servers;  // the cluster DNS
  std::string domain;                // "cluster.local"
  std::string host_resolv_conf;      // the node's own resolv.conf, as text
};

std::string hostname_of(const api::Pod& pod, const std::string& node_name);
/// "pod.subdomain.namespace.svc.domain", or "" without a subdomain.
std::string fqdn_of(const api::Pod& pod, const std::string& domain);
std::string hosts_file(const api::Pod& pod, const std::vector<std::string>& ips, const std::string& node_name,
                       const std::string& domain);
/// Of a pod in the node's network: the node's own file, with the pod's aliases.
std::string host_network_hosts_file(const api::Pod& pod, const std::string& nodes_own);
std::string resolv_file(const api::Pod& pod, const DnsSettings& dns);

}  // namespace skiff::kubelet
