#include "api/gen/service.hpp"

#include <algorithm>
#include <set>

#include "api/names.hpp"
#include "registry/kinds/kind.hpp"
#include "registry/kinds/kinds.hpp"
#include "registry/kinds/service_ranges.hpp"

namespace skiff::registry {
namespace {

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

std::set<int> node_ports(const Service& service) {
  std::set<int> ports;
  for (const ServicePort& port : service.spec.ports)
    if (port.nodePort != 0) ports.insert(port.nodePort);
  if (service.spec.healthCheckNodePort != 0) ports.insert(service.spec.healthCheckNodePort);
  return ports;
}

// Values that an update left out keep what was allocated (patchAllocatedValues).
void keep_allocated(Service& next, const Service& old) {
  if (has_cluster_ip(old) && wants_cluster_ip(next) && next.spec.clusterIP.empty()) {
    next.spec.clusterIP = old.spec.clusterIP;
    next.spec.clusterIPs = old.spec.clusterIPs;
  }
  if (!wants_node_ports(next)) return;
  std::set<int> used = node_ports(next);
  for (ServicePort& port : next.spec.ports) {
    if (port.nodePort != 0) continue;
    for (const ServicePort& before : old.spec.ports)
      if (before.port == port.port && before.protocol == port.protocol && !used.contains(before.nodePort))
        port.nodePort = before.nodePort;
  }
  if (next.spec.healthCheckNodePort == 0) next.spec.healthCheckNodePort = old.spec.healthCheckNodePort;
}

// What a type does not use is dropped when the type changes away from it (dropTypeDependentFields).
void drop_unused(Service& next, const Service& old) {
  if (next.spec.type == old.spec.type) return;
  if (next.spec.type == "ExternalName" && next.spec.clusterIP == old.spec.clusterIP) {
    next.spec.clusterIP.clear();
    next.spec.clusterIPs.clear();
    next.spec.ipFamilies.clear();
    next.spec.ipFamilyPolicy.clear();
    next.spec.internalTrafficPolicy.clear();
  }
  if (!wants_node_ports(next))
    for (ServicePort& port : next.spec.ports)
      for (const ServicePort& before : old.spec.ports)
        if (before.nodePort == port.nodePort) port.nodePort = 0;
  bool external = next.spec.type == "NodePort" || next.spec.type == "LoadBalancer" || !next.spec.externalIPs.empty();
  if (!external) next.spec.externalTrafficPolicy.clear();
  if (next.spec.type != "LoadBalancer") {
    next.spec.allocateLoadBalancerNodePorts.reset();
    next.spec.healthCheckNodePort = 0;
    next.spec.loadBalancerClass.clear();
    next.status.loadBalancer = {};
  }
}

Status prepare_update(Service& next, const Service& old, StrategyContext&) {
  drop_unused(next, old);
  keep_allocated(next, old);
  return ok();
}

void validate_ports(const Service& service, api::FieldErrors& errors) {
  std::set<std::string> names;
  std::set<std::pair<std::string, int>> numbers;
  for (size_t i = 0; i < service.spec.ports.size(); ++i) {
    const ServicePort& port = service.spec.ports[i];
    std::string at = fmt::format("spec.ports[{}]", i);
    if (port.name.empty() && service.spec.ports.size() > 1) errors.required(at + ".name");
    if (!port.name.empty()) {
      for (const std::string& problem : api::dns1123_label_problems(port.name))
        errors.invalid(at + ".name", api::quote(port.name), problem);
      if (!names.insert(port.name).second) errors.duplicate(at + ".name", api::quote(port.name));
    }
    for (const std::string& problem : api::port_number_problems(port.port))
      errors.invalid(at + ".port", std::to_string(port.port), problem);
    if (port.protocol != "TCP" && port.protocol != "UDP" && port.protocol != "SCTP")
      errors.not_supported(at + ".protocol", port.protocol, {"SCTP", "TCP", "UDP"});
    if (!numbers.insert({port.protocol, port.port}).second)
      errors.duplicate(at, fmt::format(R"({{"protocol":"{}","port":{}}})", port.protocol, port.port));
    if (port.targetPort && port.targetPort->is_string) {
      for (const std::string& problem : api::port_name_problems(port.targetPort->text))
        errors.invalid(at + ".targetPort", api::quote(port.targetPort->text), problem);
    } else if (port.targetPort) {
      for (const std::string& problem : api::port_number_problems(port.targetPort->number))
        errors.invalid(at + ".targetPort", std::to_string(port.targetPort->number), problem);
    }
    if (port.nodePort != 0 && !wants_node_ports(service) && service.spec.type != "LoadBalancer")
      errors.forbidden(at + ".nodePort", fmt::format("may not be used when `type` is '{}'", service.spec.type));
  }
}

void validate(const Service& service, const Service* old, api::FieldErrors& errors) {
  const api::ServiceSpec& spec = service.spec;
  static const std::vector<std::string> kTypes = {"ClusterIP", "ExternalName", "LoadBalancer", "NodePort"};
  if (std::find(kTypes.begin(), kTypes.end(), spec.type) == kTypes.end())
    errors.not_supported("spec.type", spec.type, kTypes);
  if (spec.ports.empty() && spec.clusterIP != "None" && spec.type != "ExternalName") errors.required("spec.ports");
  validate_ports(service, errors);
  if (spec.type == "ExternalName") {
    std::string name = spec.externalName;
    if (name.ends_with(".")) name.pop_back();
    if (name.empty()) errors.required("spec.externalName");
    else
      for (const std::string& problem : api::dns1123_subdomain_problems(name))
        errors.invalid("spec.externalName", api::quote(spec.externalName), problem);
  }
  if ((spec.type == "NodePort" || spec.type == "LoadBalancer") && spec.clusterIP == "None")
    errors.invalid("spec.clusterIPs[0]", "\"None\"", fmt::format("may not be set to 'None' for {} services", spec.type));
  if (!spec.clusterIP.empty() && spec.clusterIP != "None" && !api::is_ip(spec.clusterIP))
    errors.invalid("spec.clusterIPs[0]", api::quote(spec.clusterIP), "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
  if (spec.sessionAffinity != "None" && spec.sessionAffinity != "ClientIP")
    errors.not_supported("spec.sessionAffinity", spec.sessionAffinity, {"ClientIP", "None"});
  if (old && has_cluster_ip(*old) && has_cluster_ip(service) && old->spec.clusterIP != spec.clusterIP &&
      old->spec.type != "ExternalName")
    errors.invalid("spec.clusterIPs[0]", fmt::format("[{}]", api::quote(spec.clusterIP)), "may not change once set");
}

Error refused(const Service& service, const std::string& field, const std::string& value, const Error& why) {
  if (why.code() != Code::Invalid) return why;
  api::FieldErrors errors;
  errors.invalid(field, value, why.message());
  return api::invalid(api::kind_of<Service>(), service.metadata.name, errors);
}

void fill_families(api::ServiceSpec& spec) {
  if (spec.type == "ExternalName") return;
  if (spec.ipFamilies.empty()) spec.ipFamilies = {"IPv4"};
  if (spec.ipFamilyPolicy.empty()) spec.ipFamilyPolicy = "SingleStack";
}

// Takes what `service` has and `old` has not; on failure gives back what this call took.
class Allocation {
 public:
  Allocation(ServiceRanges& ranges, Service& service, const Service* old, Random& random)
      : ranges_(ranges), service_(service), old_(old), random_(random) {}

  Status run() {
    Status taken = take();
    if (!taken.ok()) {
      for (const std::string& address : addresses_) ranges_.release_address(address);
      for (int port : ports_) ranges_.release_port(port);
    }
    return taken;
  }

 private:
  Status take() {
    fill_families(service_.spec);
    TRY(take_cluster_ip());
    std::set<int> mine = old_ ? node_ports(*old_) : std::set<int>{};
    for (size_t i = 0; i < service_.spec.ports.size(); ++i) TRY(take_node_port(i, mine));
    bool local_balancer = service_.spec.type == "LoadBalancer" && service_.spec.externalTrafficPolicy == "Local";
    if (local_balancer && service_.spec.healthCheckNodePort == 0) {
      TRY_ASSIGN(service_.spec.healthCheckNodePort, ranges_.take_port(random_));
      ports_.push_back(service_.spec.healthCheckNodePort);
    }
    return ok();
  }

  Status take_cluster_ip() {
    api::ServiceSpec& spec = service_.spec;
    if (spec.clusterIP.empty() && !spec.clusterIPs.empty()) spec.clusterIP = spec.clusterIPs[0];
    if (!wants_cluster_ip(service_)) {
      if (spec.clusterIP == "None") spec.clusterIPs = {"None"};
      return ok();
    }
    if (old_ && has_cluster_ip(*old_) && old_->spec.clusterIP == spec.clusterIP) return ok();
    if (spec.clusterIP.empty()) {
      TRY_ASSIGN(spec.clusterIP, ranges_.take_address(random_));
    } else if (Status taken = ranges_.take_address(spec.clusterIP); !taken.ok()) {
      return refused(service_, "spec.clusterIPs", fmt::format("[{}]", api::quote(spec.clusterIP)), taken.error());
    }
    spec.clusterIPs = {spec.clusterIP};
    addresses_.push_back(spec.clusterIP);
    return ok();
  }

  // One number may serve several protocols of the same service.
  Status take_node_port(size_t index, std::set<int>& mine) {
    ServicePort& port = service_.spec.ports[index];
    if (!wants_node_ports(service_) && port.nodePort == 0) return ok();
    if (port.nodePort == 0) {
      TRY_ASSIGN(port.nodePort, ranges_.take_port(random_));
    } else if (mine.contains(port.nodePort)) {
      return ok();
    } else if (Status taken = ranges_.take_port(port.nodePort); !taken.ok()) {
      return refused(service_, fmt::format("spec.ports[{}].nodePort", index), std::to_string(port.nodePort),
                     taken.error());
    }
    ports_.push_back(port.nodePort);
    mine.insert(port.nodePort);
    return ok();
  }

  ServiceRanges& ranges_;
  Service& service_;
  const Service* old_;
  Random& random_;
  std::vector<std::string> addresses_;
  std::vector<int> ports_;
};

void release(ServiceRanges& ranges, const Service& gone, const Service* kept) {
  if (has_cluster_ip(gone) && !(kept && kept->spec.clusterIP == gone.spec.clusterIP))
    ranges.release_address(gone.spec.clusterIP);
  std::set<int> still = kept ? node_ports(*kept) : std::set<int>{};
  for (int port : node_ports(gone))
    if (!still.contains(port)) ranges.release_port(port);
}

}  // namespace

Resource services(std::shared_ptr<ServiceRanges> ranges) {
  Rules<Service> rules;
  rules.prepare_update = prepare_update;
  rules.validate = validate;
  rules.selectable_fields = [](const Service& service) {
    return std::map<std::string, std::string>{{"spec.clusterIP", service.spec.clusterIP},
                                              {"spec.type", service.spec.type}};
  };
  rules.create_on_update = true;
  rules.returns_deleted = true;
  rules.name_problems = [](std::string_view name) { return api::dns1035_label_problems(name); };
  Resource resource = define(rules);
  resource.strategy.allocate = [ranges](void* object, const void* old, StrategyContext& context) {
    return Allocation(*ranges, *static_cast<Service*>(object), static_cast<const Service*>(old), context.random).run();
  };
  resource.strategy.release = [ranges](const void* gone, const void* kept) {
    release(*ranges, *static_cast<const Service*>(gone), static_cast<const Service*>(kept));
  };
  resource.strategy.adopt = [ranges](const void* object) {
    const Service& service = *static_cast<const Service*>(object);
    // What is stored was given out by this range before; a range that changed since keeps it all the same.
    if (has_cluster_ip(service)) static_cast<void>(ranges->take_address(service.spec.clusterIP).ok());
    for (int port : node_ports(service)) static_cast<void>(ranges->take_port(port).ok());
  };
  return resource;
}

}  // namespace skiff::registry
