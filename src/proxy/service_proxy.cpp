#include "proxy/service_proxy.hpp"

#include <pthread.h>

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

}  // namespace

ServiceProxy::ServiceProxy(client::Informers& informers, Clock& clock)
    : clock_(clock),
      services_(informers.of<api::Service>()),
      slices_(informers.of<api::EndpointSlice>()),
      pods_(informers.of<api::Pod>()),
      changes_(clock) {
  services_.on_change([this](const auto& before, const auto& now) {
    bool same = before && now && before->spec == now->spec && before->status == now->status;
    if (!same) changes_.changed();
  });
  slices_.on_change([this](const auto&, const auto&) { changes_.changed(); });
  pods_.add_index("hostPorts", [](const api::Pod& pod) {
    return has_host_ports(pod) ? std::vector<std::string>{"yes"} : std::vector<std::string>{};
  });
  pods_.on_change([this](const auto& before, const auto& now) {
    if ((before && has_host_ports(*before)) || (now && has_host_ports(*now))) changes_.changed();
  });
}

void ServiceProxy::add_node(const std::string& name, net::ServiceRules& rules) {
  {
    MutexLock lock(mutex_);
    nodes_[name] = &rules;
  }
  changes_.changed();
}

void ServiceProxy::remove_node(const std::string& name) {
  MutexLock lock(mutex_);
  nodes_.erase(name);
}

void ServiceProxy::start() {
  if (thread_.joinable()) return;
  thread_ = std::jthread([this](std::stop_token stop) {
    ::pthread_setname_np(::pthread_self(), "service-proxy");
    run(std::move(stop));
  });
}

void ServiceProxy::stop() {
  if (!thread_.joinable()) return;
  thread_.request_stop();
  thread_.join();
}

void ServiceProxy::run(std::stop_token stop) {
  // Rules of half a cluster would cut connections that an earlier life of skiff made.
  bool synced = services_.wait_synced(stop) && slices_.wait_synced(stop) && pods_.wait_synced(stop);
  if (!synced) return;
  while (std::uint64_t change = changes_.wait_change(stop, TimePoint::max())) {
    if (apply_all())
      changes_.done(change);
    else
      clock_.wait_for(stop, kRetry);
  }
}

bool ServiceProxy::apply_all() {
  ServiceView view{services_.list(), slices_.list(), pods_.by_index("hostPorts", "yes")};
  bool all = true;
  MutexLock lock(mutex_);
  for (auto& [name, rules] : nodes_) {
    Status applied = rules->apply(service_rules(view, name));
    if (applied.ok()) continue;
    all = false;
    log::warning("service-proxy", "{}: {}", name, applied.error().message());
  }
  return all;
}

}  // namespace skiff::proxy
