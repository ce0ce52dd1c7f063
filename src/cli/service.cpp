#include <fmt/core.h>

#include "api/gen/service.hpp"
#include "api/json.hpp"
#include "cli/options.hpp"
#include "cli/output.hpp"
#include "client/http_client.hpp"
#include "cluster/kubeconfig.hpp"
#include "cluster/state.hpp"

namespace skiff::cli {
namespace {

Result<api::Service> fetch(const client::KubeconfigEntry& entry, const std::string& namespace_,
                           const std::string& name) {
  TRY_ASSIGN(auto http, client::HttpClient::create(entry, 5s));
  TRY_ASSIGN(client::HttpAnswer answer,
             http->get(fmt::format("/api/v1/namespaces/{}/services/{}", namespace_, name)));
  if (answer.status == 404)
    return error(Code::NotFound, "there is no Service '{}' in namespace '{}'", name, namespace_);
  if (answer.status != 200) return error(Code::Unavailable, "HTTP {}: {}", answer.status, answer.body);
  return api::from_json<api::Service>(answer.body);
}

std::string url(const api::ServicePort& port, std::string address, int number) {
  if (address.find(':') != std::string::npos) address = "[" + address + "]";
  if (port.protocol != "TCP")
    return fmt::format("{}://{}:{}", port.protocol == "UDP" ? "udp" : "sctp", address, number);
  bool secure = port.port == 443 || port.name.starts_with("https");
  return fmt::format("{}://{}:{}", secure ? "https" : "http", address, number);
}

// As the cluster was made, whatever the command line says.
std::string expose_of(const ClusterConfig& config) {
  Result<cluster::Settings> settings = cluster::load_settings(config);
  return settings.ok() ? settings.value().config.expose : config.expose;
}

// What works from this host, the most stable first: the balancer's address, node ports, the cluster's own
// address.
std::string address_for(const api::Service& service, const api::ServicePort& port,
                        const std::string& expose) {
  for (const api::LoadBalancerIngress& ingress : service.status.loadBalancer.ingress)
    if (!ingress.ip.empty()) return url(port, ingress.ip, port.port);
  if (port.nodePort != 0) return url(port, expose == "0.0.0.0" ? "127.0.0.1" : expose == "::" ? "::1" : expose, port.nodePort);
  if (!service.spec.clusterIP.empty() && service.spec.clusterIP != "None")
    return url(port, service.spec.clusterIP, port.port);
  return "";
}

}  // namespace

int service_urls(const Options& options, const ServiceQuestion& question) {
  Result<client::KubeconfigEntry> entry = cluster::read_cluster_kubeconfig(options.cluster);
  if (!entry.ok()) return fail(entry.error(), "`skiff start` makes a cluster."), kNotRunning;
  Result<api::Service> service = fetch(entry.value(), question.namespace_, question.name);
  if (!service.ok()) {
    bool missing = service.error().code() == Code::NotFound;
    fail(service.error(),
         missing ? "`skiff kubectl get services -A` lists them." : "`skiff status` says how the cluster is.");
    return missing ? kFailed : kNotRunning;
  }
  std::vector<std::vector<std::string>> rows = {{"NAMESPACE", "NAME", "TARGET PORT", "URL"}};
  for (const api::ServicePort& port : service.value().spec.ports) {
    std::string address = address_for(service.value(), port, expose_of(options.cluster));
    if (address.empty()) continue;
    std::string target =
        port.name.empty() ? std::to_string(port.port) : fmt::format("{}/{}", port.name, port.port);
    rows.push_back({question.namespace_, question.name, target, address});
  }
  if (rows.size() == 1)
    return fail(error(Code::Invalid, "Service '{}' has no address of its own", question.name),
                "It is headless or a name for something else; its pods have addresses."),
           kFailed;
  if (!question.only_urls) return print_table(rows), kDone;
  for (size_t i = 1; i < rows.size(); ++i) fmt::print("{}\n", rows[i][3]);
  return kDone;
}

}  // namespace skiff::cli
