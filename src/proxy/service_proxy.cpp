#include "proxy/service_proxy.hpp"

#include "base/log.hpp"

namespace skiff::proxy {
namespace {

constexpr Duration kRetry = 1s;

bool has_host_ports(const std::vector<api::Container>& containers) {
  for (const api::Container& container : containers)
    for (const api::ContainerPort& port : container.ports)
      if (port.hostPort != 0) return true;
  return false;
}

bool has_host_ports(const api::Pod& pod) {
  return !pod.spec.hostNetwork &&
         (has_host_ports(pod.spec.containers) || has_host_ports(pod.spec.initContainers));
}

std::string zone_of(const client::Ref<api::Node>& node) {
  if (!node) return "";
  auto zone = node->metadata.labels.find("topology.kubernetes.io/zone");
  return zone == node->metadata.labels.end() ? "" : zone->second;
}

}  // namespace

ServiceProxy::ServiceProxy(client::Informers& informers, Clock& clock)
    : clock_(clock),
      services_(informers.of<api::Service>()),
      slices_(informers.of<api::EndpointSlice>()),
      pods_(informers.of<api::Pod>()),
      nodes_informer_(informers.of<api::Node>()),
      changes_(clock) {
  slices_.add_index("proxy-service", [](const api::EndpointSlice& slice) {
    return std::vector<std::string>{service_of(slice).str()};
  });
  pods_.add_index("hostPorts", [](const api::Pod& pod) {
    return has_host_ports(pod) ? std::vector<std::string>{"yes"} : std::vector<std::string>{};
  });
  watch_changes();
}

void ServiceProxy::watch_changes() {
  services_.on_change([this](const auto& before, const auto& now) {
    bool same = before && now && before->spec == now->spec && before->status == now->status;
    if (!same) mark_service(client::key_of(now ? *now : *before));
  });
  slices_.on_change([this](const auto& before, const auto& now) {
    if (before) mark_service(service_of(*before));
    if (now && (!before || service_of(*before) != service_of(*now))) mark_service(service_of(*now));
  });
  pods_.on_change([this](const auto& before, const auto& now) {
    bool concerned = (before && has_host_ports(*before)) || (now && has_host_ports(*now));
    if (!concerned) return;
    {
      MutexLock lock(dirty_mutex_);
      dirty_.pods.insert(client::key_of(now ? *now : *before));
    }
    changes_.changed();
  });
  nodes_informer_.on_change([this](const auto& before, const auto& now) {
    if (zone_of(before) != zone_of(now)) changes_.changed();
  });
}

void ServiceProxy::mark_service(const client::ObjectKey& key) {
  {
    MutexLock lock(dirty_mutex_);
    dirty_.services.insert(key);
  }
  changes_.changed();
}

void ServiceProxy::add_node(const std::string& name, const std::vector<net::ServiceRules*>& rules) {
  {
    MutexLock lock(mutex_);
    nodes_[name] = {.rules = rules};
  }
  changes_.changed();
}

void ServiceProxy::remove_node(const std::string& name) {
  MutexLock lock(mutex_);
  nodes_.erase(name);
}

void ServiceProxy::start() {
  worker_.start("service-proxy", [this](std::stop_token stop) { run(std::move(stop)); });
}

void ServiceProxy::stop() {
  worker_.stop();
}

void ServiceProxy::run(std::stop_token stop) {
  // Rules of half a cluster would cut connections that an earlier life of skiff made.
  bool synced = services_.wait_synced(stop) && slices_.wait_synced(stop) && pods_.wait_synced(stop) &&
                nodes_informer_.wait_synced(stop);
  if (!synced) return;
  while (std::uint64_t change = changes_.wait_change(stop, TimePoint::max())) {
    Dirty dirty;
    {
      MutexLock lock(dirty_mutex_);
      std::swap(dirty, dirty_);
    }
    if (apply(dirty))
      changes_.done(change);
    else
      clock_.wait_for(stop, kRetry);
  }
}

bool ServiceProxy::apply(const Dirty& dirty) {
  bool all = true;
  MutexLock lock(mutex_);
  for (auto& [name, node] : nodes_) {
    Status applied = apply_to(name, node, dirty);
    if (applied.ok()) continue;
    all = false;
    node.whole = true;
    log::warning("service-proxy", "{}: {}", name, applied.error().message());
  }
  return all;
}

Status ServiceProxy::apply_to(const std::string& name, ProxiedNode& node, const Dirty& dirty) {
  NodePlace place{name, zone_of(nodes_informer_.get({"", name}))};
  bool whole = node.whole || place.zone != node.zone;
  if (!whole && dirty.empty()) return ok();
  for (net::ServiceRules* rules : node.rules) {
    place.family = rules->family();
    if (whole)
      TRY(rules->replace(groups_of(everything(), place)));
    else
      TRY(rules->change(groups_of(dirty, place)));
  }
  if (!whole) return ok();
  node.whole = false;
  node.zone = place.zone;
  return ok();
}

ServiceProxy::Dirty ServiceProxy::everything() const {
  Dirty all;
  for (const auto& service : services_.list()) all.services.insert(client::key_of(*service));
  for (const auto& pod : pods_.by_index("hostPorts", "yes")) all.pods.insert(client::key_of(*pod));
  return all;
}

net::RuleGroups ServiceProxy::groups_of(const Dirty& dirty, const NodePlace& place) const {
  net::RuleGroups groups;
  for (const client::ObjectKey& key : dirty.services) {
    std::vector<net::ServiceRule>& rules = groups["service " + key.str()];
    if (client::Ref<api::Service> service = services_.get(key))
      rules = service_rules(*service, slices_.by_index("proxy-service", key.str()), place);
  }
  for (const client::ObjectKey& key : dirty.pods) {
    std::vector<net::ServiceRule>& rules = groups["pod " + key.str()];
    if (client::Ref<api::Pod> pod = pods_.get(key)) rules = host_port_rules(*pod, place);
  }
  return groups;
}

}  // namespace skiff::proxy
