#include "kubelet/pod_files.hpp"

#include <algorithm>

#include "base/encoding.hpp"

namespace skiff::kubelet {
namespace {

constexpr size_t kMaxHostname = 63;

struct Resolver {
  std::vector<std::string> servers, searches, options;
};

Resolver parse_resolv_conf(const std::string& text) {
  Resolver resolver;
  for (const std::string& line : split(text, '\n')) {
    std::vector<std::string> words;
    for (std::string& word : split(line, ' '))
      if (!word.empty()) words.push_back(std::move(word));
    if (words.size() < 2) continue;
    std::vector<std::string> values(words.begin() + 1, words.end());
    if (words[0] == "nameserver") resolver.servers.push_back(values.front());
    if (words[0] == "search" || words[0] == "domain") resolver.searches = values;
    if (words[0] == "options") resolver.options.insert(resolver.options.end(), values.begin(), values.end());
  }
  return resolver;
}

void add_unique(std::vector<std::string>& list, const std::string& value) {
  if (std::ranges::find(list, value) == list.end()) list.push_back(value);
}

/// Options of the pod replace those of the same name.
void merge_options(const std::vector<api::PodDNSConfigOption>& wanted, std::vector<std::string>& options) {
  for (const api::PodDNSConfigOption& option : wanted) {
    std::erase_if(options,
                  [&](const std::string& known) { return known.substr(0, known.find(':')) == option.name; });
    options.push_back(option.value.empty() ? option.name : option.name + ":" + option.value);
  }
}

std::string alias_entries(const api::Pod& pod) {
  if (pod.spec.hostAliases.empty()) return "";
  std::string text = "\n# Entries added by HostAliases.\n";
  for (const api::HostAlias& alias : pod.spec.hostAliases) text += alias.ip + "\t" + join(alias.hostnames, "\t") + "\n";
  return text;
}

}  // namespace

std::string hostname_of(const api::Pod& pod, const std::string& node_name) {
  if (pod.spec.hostNetwork) return node_name;
  if (pod.spec.hostnameOverride) return *pod.spec.hostnameOverride;
  std::string name = pod.spec.hostname.empty() ? pod.metadata.name : pod.spec.hostname;
  if (name.size() > kMaxHostname) name.resize(kMaxHostname);
  while (!name.empty() && (name.back() == '-' || name.back() == '.')) name.pop_back();
  return name;
}

std::string fqdn_of(const api::Pod& pod, const std::string& domain) {
  if (pod.spec.subdomain.empty() || pod.spec.hostnameOverride) return "";
  return fmt::format("{}.{}.{}.svc.{}", hostname_of(pod, ""), pod.spec.subdomain, pod.metadata.namespace_,
                     domain);
}

std::string hosts_file(const api::Pod& pod, const std::vector<std::string>& ips, const std::string& node_name,
                       const std::string& domain) {
  std::string text =
      "# Kubernetes-managed hosts file.\n"
      "127.0.0.1\tlocalhost\n"
      "::1\tlocalhost ip6-localhost ip6-loopback\n"
      "fe00::0\tip6-localnet\n"
      "fe00::0\tip6-mcastprefix\n"
      "fe00::1\tip6-allnodes\n"
      "fe00::2\tip6-allrouters\n";
  std::string hostname = hostname_of(pod, node_name), fqdn = fqdn_of(pod, domain);
  for (const std::string& ip : ips)
    text += fqdn.empty() ? fmt::format("{}\t{}\n", ip, hostname)
                         : fmt::format("{}\t{}\t{}\n", ip, fqdn, hostname);
  return text + alias_entries(pod);
}

std::string host_network_hosts_file(const api::Pod& pod, const std::string& nodes_own) {
  return "# Kubernetes-managed hosts file (host network).\n" + nodes_own + alias_entries(pod);
}

std::string resolv_file(const api::Pod& pod, const DnsSettings& dns) {
  Resolver host = parse_resolv_conf(dns.host_resolv_conf);
  std::string policy = pod.spec.dnsPolicy.empty() ? "ClusterFirst" : pod.spec.dnsPolicy;
  bool cluster = policy == "ClusterFirstWithHostNet" || (policy == "ClusterFirst" && !pod.spec.hostNetwork);
  Resolver resolver;
  if (cluster && !dns.servers.empty()) {
    resolver.servers = dns.servers;
    resolver.searches = {pod.metadata.namespace_ + ".svc." + dns.domain, "svc." + dns.domain, dns.domain};
    for (const std::string& search : host.searches) add_unique(resolver.searches, search);
    resolver.options = {"ndots:5"};
  } else if (policy != "None") {
    resolver = host;
  }
  if (pod.spec.dnsConfig) {
    for (const std::string& server : pod.spec.dnsConfig->nameservers) add_unique(resolver.servers, server);
    for (const std::string& search : pod.spec.dnsConfig->searches) add_unique(resolver.searches, search);
    merge_options(pod.spec.dnsConfig->options, resolver.options);
  }
  std::string text;
  if (!resolver.searches.empty()) text += "search " + join(resolver.searches, " ") + "\n";
  for (const std::string& server : resolver.servers) text += "nameserver " + server + "\n";
  if (!resolver.options.empty()) text += "options " + join(resolver.options, " ") + "\n";
  return text;
}

}  // namespace skiff::kubelet
