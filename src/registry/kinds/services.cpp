// The rules of Services: what an update keeps, and ValidateService (pkg/apis/core/validation).

#include "registry/kinds/services.hpp"

#include <algorithm>
#include <set>

#include "api/gen/service.hpp"
#include "registry/kinds/field_checks.hpp"
#include "registry/kinds/kind.hpp"
#include "registry/kinds/kinds.hpp"

namespace skiff::registry {

using api::quote;
using api::Service;
using api::ServicePort;

bool wants_cluster_ip(const Service& service) {
  return service.spec.type != "ExternalName" && service.spec.clusterIP != "None";
}
bool has_cluster_ip(const Service& service) { return wants_cluster_ip(service) && !service.spec.clusterIP.empty(); }
bool wants_node_ports(const Service& service) {
  return service.spec.type == "NodePort" ||
         (service.spec.type == "LoadBalancer" && service.spec.allocateLoadBalancerNodePorts.value_or(true));
}
bool needs_health_check(const Service& service) {
  return service.spec.type == "LoadBalancer" && service.spec.externalTrafficPolicy == "Local";
}

std::set<int> node_ports(const Service& service) {
  std::set<int> ports;
  for (const ServicePort& port : service.spec.ports)
    if (port.nodePort != 0) ports.insert(port.nodePort);
  if (service.spec.healthCheckNodePort != 0) ports.insert(service.spec.healthCheckNodePort);
  return ports;
}

namespace {

const Path kSpec("spec");
constexpr int kKubeletPort = 10250;
constexpr std::int32_t kLongestAffinity = 86400;
constexpr char kOnlyBalancer[] = "may only be used when `type` is 'LoadBalancer'";

// Values that an update left out keep what was allocated (patchAllocatedValues).
void keep_allocated(Service& next, const Service& old) {
  if (has_cluster_ip(old) && wants_cluster_ip(next)) {
    if (next.spec.clusterIP.empty() && next.spec.clusterIPs.empty()) next.spec.clusterIPs = old.spec.clusterIPs;
    if (next.spec.clusterIP.empty() && !next.spec.clusterIPs.empty()) next.spec.clusterIP = next.spec.clusterIPs[0];
  }
  if (!wants_node_ports(next)) return;
  std::set<int> used = node_ports(next);
  for (ServicePort& port : next.spec.ports) {
    if (port.nodePort != 0) continue;
    for (const ServicePort& before : old.spec.ports)
      if (before.port == port.port && before.protocol == port.protocol && !used.contains(before.nodePort))
        port.nodePort = before.nodePort;
  }
  if (next.spec.healthCheckNodePort == 0 && needs_health_check(next))
    next.spec.healthCheckNodePort = old.spec.healthCheckNodePort;
}

// What a type does not use is dropped when the type changes away from it (dropTypeDependentFields).
void drop_unused(Service& next, const Service& old) {
  if (needs_health_check(old) && !needs_health_check(next) &&
      next.spec.healthCheckNodePort == old.spec.healthCheckNodePort)
    next.spec.healthCheckNodePort = 0;
  if (next.spec.type == old.spec.type) return;
  if (next.spec.type == "ExternalName") {
    if (next.spec.clusterIP == old.spec.clusterIP) {
      next.spec.clusterIP.clear();
      next.spec.clusterIPs.clear();
    }
    // Each by itself: a client may have taken some of them out and left the others as they were.
    if (next.spec.ipFamilies == old.spec.ipFamilies) next.spec.ipFamilies.clear();
    if (next.spec.ipFamilyPolicy == old.spec.ipFamilyPolicy) next.spec.ipFamilyPolicy.clear();
    if (next.spec.internalTrafficPolicy == old.spec.internalTrafficPolicy) next.spec.internalTrafficPolicy.clear();
  }
  if (!wants_node_ports(next))
    for (ServicePort& port : next.spec.ports)
      for (const ServicePort& before : old.spec.ports)
        if (before.nodePort == port.nodePort) port.nodePort = 0;
  bool external = next.spec.type == "NodePort" || next.spec.type == "LoadBalancer" || !next.spec.externalIPs.empty();
  if (!external) next.spec.externalTrafficPolicy.clear();
  if (next.spec.type != "LoadBalancer") {
    next.spec.allocateLoadBalancerNodePorts.reset();
    if (next.spec.loadBalancerClass == old.spec.loadBalancerClass) next.spec.loadBalancerClass.clear();
    next.status.loadBalancer = {};
  }
}

Status prepare_create(Service& service, StrategyContext&) {
  if (service.spec.clusterIPs.empty() && !service.spec.clusterIP.empty()) service.spec.clusterIPs = {service.spec.clusterIP};
  return ok();
}

// clusterIP and the first of clusterIPs are one value; who changes only the one means both (NormalizeClusterIPs).
void normalize_cluster_ips(Service& next, const Service& old) {
  if (next.spec.clusterIP == old.spec.clusterIP || next.spec.clusterIPs != old.spec.clusterIPs) return;
  next.spec.clusterIPs.clear();
  if (!next.spec.clusterIP.empty()) next.spec.clusterIPs = {next.spec.clusterIP};
}

Status prepare_update(Service& next, const Service& old, StrategyContext&) {
  normalize_cluster_ips(next, old);
  drop_unused(next, old);
  keep_allocated(next, old);
  return ok();
}

// Which problems a port has by itself and among the others.
class PortChecks {
 public:
  PortChecks(const Service& service, FieldErrors& errors) : service_(service), errors_(errors) {}

  void check(const ServicePort& port, const Path& at) {
    check_name(port, at.child("name"));
    add_problems(at.child("port"), port.port, errors_);
    require_one_of(port.protocol, at.child("protocol"), {"SCTP", "TCP", "UDP"}, errors_);
    if (port.targetPort) check_port_or_name(*port.targetPort, at.child("targetPort"), errors_);
    if (!port.appProtocol.empty()) check_qualified_name(port.appProtocol, at.child("appProtocol"), errors_);
    if (service_.spec.type == "LoadBalancer" && port.port == kKubeletPort)
      errors_.invalid(at, std::to_string(port.port),
                      fmt::format("may not expose port {} externally since it is used by kubelet", kKubeletPort));
    if (service_.spec.type == "ClusterIP" && port.nodePort != 0)
      errors_.forbidden(at.child("nodePort"), "may not be used when `type` is 'ClusterIP'");
    if (!numbers_.insert({port.protocol, port.port}).second)
      errors_.duplicate(at, fmt::format(R"({{"protocol":"{}","port":{}}})", port.protocol, port.port));
    if (port.nodePort != 0 && !node_ports_.insert({port.protocol, port.nodePort}).second)
      errors_.duplicate(at.child("nodePort"), std::to_string(port.nodePort));
  }

 private:
  static void add_problems(const Path& path, int port, FieldErrors& errors) {
    for (const std::string& problem : api::port_number_problems(port)) errors.invalid(path, std::to_string(port), problem);
  }
  void check_name(const ServicePort& port, const Path& at) {
    if (port.name.empty()) {
      if (service_.spec.ports.size() > 1) errors_.required(at);
      return;
    }
    check_dns_label(port.name, at, errors_);
    if (!names_.insert(port.name).second) errors_.duplicate(at, quote(port.name));
  }

  const Service& service_;
  FieldErrors& errors_;
  std::set<std::string_view> names_;
  std::set<std::pair<std::string_view, int>> numbers_, node_ports_;
};

void check_type(const api::ServiceSpec& spec, FieldErrors& errors) {
  require_one_of(spec.type, kSpec.child("type"), {"ClusterIP", "ExternalName", "LoadBalancer", "NodePort"}, errors);
  if (spec.ports.empty() && spec.clusterIP != "None" && spec.type != "ExternalName") errors.required(kSpec.child("ports"));
  if ((spec.type == "NodePort" || spec.type == "LoadBalancer") && spec.clusterIP == "None")
    errors.invalid(kSpec.child("clusterIPs", 0), "\"None\"",
                   fmt::format("may not be set to 'None' for {} services", spec.type));
  if (spec.type != "ExternalName") return;
  constexpr char kNever[] = "may not be set for ExternalName services";
  if (!spec.clusterIPs.empty() || !spec.clusterIP.empty()) errors.forbidden(kSpec.child("clusterIPs"), kNever);
  if (!spec.ipFamilies.empty()) errors.forbidden(kSpec.child("ipFamilies"), kNever);
  if (!spec.ipFamilyPolicy.empty()) errors.forbidden(kSpec.child("ipFamilyPolicy"), kNever);
  std::string_view name = spec.externalName;
  if (name.ends_with('.')) name.remove_suffix(1);
  if (require(name, kSpec.child("externalName"), errors)) check_dns_subdomain(name, kSpec.child("externalName"), errors);
}

void check_affinity(const api::ServiceSpec& spec, FieldErrors& errors) {
  require_one_of(spec.sessionAffinity, kSpec.child("sessionAffinity"), {"ClientIP", "None"}, errors);
  const Path config = kSpec.child("sessionAffinityConfig");
  const Path client = config.child("clientIP");
  if (spec.sessionAffinity != "ClientIP" || !spec.sessionAffinityConfig || !spec.sessionAffinityConfig->clientIP) return;
  std::int32_t seconds = spec.sessionAffinityConfig->clientIP->timeoutSeconds.value_or(0);
  if (seconds <= 0 || seconds > kLongestAffinity)
    errors.invalid(client.child("timeoutSeconds"), std::to_string(seconds),
                   fmt::format("must be greater than 0 and less than {}", kLongestAffinity));
}

void check_external_ips(const api::ServiceSpec& spec, FieldErrors& errors) {
  for (size_t i = 0; i < spec.externalIPs.size(); ++i) {
    const Path at = kSpec.child("externalIPs", i);
    if (!api::is_ip(spec.externalIPs[i])) check_ip(spec.externalIPs[i], at, errors);
    else check_not_special_ip(spec.externalIPs[i], at, errors);
  }
}

void check_balancer(const api::ServiceSpec& spec, FieldErrors& errors) {
  bool balancer = spec.type == "LoadBalancer";
  const Path ranges = kSpec.child("LoadBalancerSourceRanges");  // Kubernetes writes it so
  if (!spec.loadBalancerSourceRanges.empty() && !balancer) errors.forbidden(ranges, kOnlyBalancer);
  for (size_t i = 0; balancer && i < spec.loadBalancerSourceRanges.size(); ++i) {
    std::string cidr = spec.loadBalancerSourceRanges[i];
    cidr.erase(0, cidr.find_first_not_of(' '));
    cidr.erase(cidr.find_last_not_of(' ') + 1);
    check_cidr(cidr, kSpec.child("LoadBalancerSourceRanges", i), errors);
  }
  if (spec.allocateLoadBalancerNodePorts && !balancer)
    errors.forbidden(kSpec.child("allocateLoadBalancerNodePorts"), kOnlyBalancer);
  if (!spec.loadBalancerClass.empty() && !balancer) errors.forbidden(kSpec.child("loadBalancerClass"), kOnlyBalancer);
  if (!spec.loadBalancerClass.empty() && balancer)
    check_qualified_name(spec.loadBalancerClass, kSpec.child("loadBalancerClass"), errors);
}

void check_traffic(const Service& service, FieldErrors& errors) {
  const api::ServiceSpec& spec = service.spec;
  bool from_outside = spec.type == "NodePort" || spec.type == "LoadBalancer" ||
                      (spec.type == "ClusterIP" && !spec.externalIPs.empty());
  const Path external = kSpec.child("externalTrafficPolicy");
  if (from_outside) require_one_of(spec.externalTrafficPolicy, external, {"Cluster", "Local"}, errors);
  else if (!spec.externalTrafficPolicy.empty())
    errors.invalid(external, quote(spec.externalTrafficPolicy), "may only be set for externally-accessible services");
  if (spec.healthCheckNodePort != 0 && !needs_health_check(service))
    errors.invalid(kSpec.child("healthCheckNodePort"), std::to_string(spec.healthCheckNodePort),
                   "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'");
  if (spec.type != "ExternalName" || !spec.internalTrafficPolicy.empty())
    require_one_of(spec.internalTrafficPolicy, kSpec.child("internalTrafficPolicy"), {"Cluster", "Local"}, errors);
  if (!spec.trafficDistribution.empty())
    check_one_of(spec.trafficDistribution, kSpec.child("trafficDistribution"),
                 {"PreferClose", "PreferSameZone", "PreferSameNode"}, errors);
}

void validate_update(const Service& next, const Service& old, FieldErrors& errors) {
  if (has_cluster_ip(old) && has_cluster_ip(next) && old.spec.clusterIP != next.spec.clusterIP &&
      old.spec.type != "ExternalName")
    errors.invalid(kSpec.child("clusterIPs", 0), json_of(std::vector<std::string>{next.spec.clusterIP}), "may not change once set");
  bool stays = old.spec.type == "LoadBalancer" && next.spec.type == "LoadBalancer";
  if (stays && next.spec.loadBalancerClass != old.spec.loadBalancerClass)
    errors.invalid(kSpec.child("loadBalancerClass"), quote(next.spec.loadBalancerClass), "may not change once set");
  if (stays && needs_health_check(old) && needs_health_check(next) &&
      next.spec.healthCheckNodePort != old.spec.healthCheckNodePort)
    errors.forbidden(kSpec.child("healthCheckNodePort"), "field is immutable");
}

void validate(const Service& service, const Service* old, FieldErrors& errors) {
  const api::ServiceSpec& spec = service.spec;
  check_type(spec, errors);
  PortChecks ports(service, errors);
  for (size_t i = 0; i < spec.ports.size(); ++i) ports.check(spec.ports[i], kSpec.child("ports", i));
  check_labels(spec.selector, kSpec.child("selector"), errors);
  check_affinity(spec, errors);
  check_address_families(spec, errors);
  check_external_ips(spec, errors);
  check_balancer(spec, errors);
  check_traffic(service, errors);
  if (old) validate_update(service, *old, errors);
}

void validate_status(const Service& next, const Service&, FieldErrors& errors) {
  const Path status("status");
  const Path balancer = status.child("loadBalancer");
  const std::vector<api::LoadBalancerIngress>& ingress = next.status.loadBalancer.ingress;
  if (!ingress.empty() && next.spec.type != "LoadBalancer")
    return errors.forbidden(balancer.child("ingress"), "may only be used when `spec.type` is 'LoadBalancer'");
  for (size_t i = 0; i < ingress.size(); ++i) {
    const Path at = balancer.child("ingress", i);
    if (!ingress[i].ip.empty()) check_ip(ingress[i].ip, at.child("ip"), errors);
    if (ingress[i].ip.empty() && !ingress[i].ipMode.empty())
      errors.forbidden(at.child("ipMode"), "may not be specified when `ip` is not set");
    if (!ingress[i].ip.empty() && !ingress[i].ipMode.empty())
      check_one_of(ingress[i].ipMode, at.child("ipMode"), {"Proxy", "VIP"}, errors);
    if (ingress[i].hostname.empty()) continue;
    check_dns_subdomain(ingress[i].hostname, at.child("hostname"), errors);
    if (api::is_ip(ingress[i].hostname))
      errors.invalid(at.child("hostname"), quote(ingress[i].hostname), "must be a DNS name, not an IP address");
  }
}

void warn(const Service& service, const Service*, std::vector<std::string>& warnings) {
  const api::ServiceSpec& spec = service.spec;
  if (service.metadata.annotations.contains("service.kubernetes.io/topology-aware-hints"))
    warnings.push_back(
        "annotation service.kubernetes.io/topology-aware-hints is deprecated, please use "
        "service.kubernetes.io/topology-mode instead");
  if (spec.clusterIP == "None") {
    if (!spec.loadBalancerIP.empty()) warnings.push_back("spec.loadBalancerIP is ignored for headless services");
    if (!spec.externalIPs.empty()) warnings.push_back("spec.externalIPs is ignored for headless services");
    if (spec.sessionAffinity != "None") warnings.push_back("spec.SessionAffinity is ignored for headless services");
  }
  if (spec.type == "ExternalName" && !spec.externalIPs.empty())
    warnings.push_back("spec.externalIPs is ignored when spec.type is \"ExternalName\"");
  if (spec.type != "ExternalName" && !spec.externalName.empty())
    warnings.push_back("spec.externalName is ignored when spec.type is not \"ExternalName\"");
}

}  // namespace

Resource services(std::shared_ptr<ServiceRanges> ranges) {
  Rules<Service> rules;
  rules.prepare_create = prepare_create;
  rules.prepare_update = prepare_update;
  rules.validate = validate;
  rules.validate_status = validate_status;
  rules.warn = warn;
  rules.selectable_fields = [](const Service& service) {
    return std::map<std::string, std::string>{{"spec.clusterIP", service.spec.clusterIP},
                                              {"spec.type", service.spec.type}};
  };
  rules.create_on_update = true;
  rules.returns_deleted = true;
  rules.name_problems = [](std::string_view name) { return api::dns1035_label_problems(name); };
  Resource resource = define(rules);
  resource.strategy.allocate = [ranges](void* object, const void* old, StrategyContext& context) {
    return allocate(*static_cast<Service*>(object), static_cast<const Service*>(old), *ranges, context.random);
  };
  resource.strategy.release = [ranges](const void* gone, const void* kept) {
    release(*static_cast<const Service*>(gone), static_cast<const Service*>(kept), *ranges);
  };
  resource.strategy.adopt = [ranges](const void* object) { adopt(*static_cast<const Service*>(object), *ranges); };
  return resource;
}

}  // namespace skiff::registry
