#include "proxy/node_port_relays.hpp"

#include <errno.h>
#include <pthread.h>

#include "base/log.hpp"
#include "proxy/service_rules.hpp"

namespace skiff::proxy {
namespace {

constexpr Duration kRetry = 10s;

/// The Service that has a NodePort; null when it is gone by now.
client::Ref<api::Service> owner_of(const std::vector<client::Ref<api::Service>>& services,
                                   const net::RelaySpec& relay) {
  for (const client::Ref<api::Service>& service : services)
    for (const api::ServicePort& port : service->spec.ports)
      if (port.nodePort == relay.target.port && protocol_of(port.protocol) == relay.protocol) return service;
  return nullptr;
}

}  // namespace

std::vector<net::RelaySpec> node_port_relays(const std::vector<client::Ref<api::Service>>& services,
                                             const NodePortRelaysSpec& spec) {
  std::vector<net::RelaySpec> relays;
  for (const client::Ref<api::Service>& service : services)
    for (const api::ServicePort& port : service->spec.ports) {
      net::Protocol protocol = protocol_of(port.protocol);
      if (port.nodePort == 0 || protocol == net::Protocol::Sctp) continue;
      auto number = static_cast<std::uint16_t>(port.nodePort);
      for (net::Ipv4 address : spec.listen)
        relays.push_back({.protocol = protocol, .listen = {address, number}, .target = {spec.node, number}});
    }
  return relays;
}

NodePortRelays::NodePortRelays(Parts parts, NodePortRelaysSpec spec)
    : events_(parts.events),
      clock_(parts.clock),
      relays_(parts.relays),
      spec_(std::move(spec)),
      services_(parts.informers.of<api::Service>()),
      changes_(parts.clock) {
  services_.on_change([this](const auto& before, const auto& now) {
    bool same = before && now && before->spec == now->spec;
    if (!same) changes_.changed();
  });
}

void NodePortRelays::start() {
  if (thread_.joinable()) return;
  thread_ = std::jthread([this](std::stop_token stop) {
    ::pthread_setname_np(::pthread_self(), "node-ports");
    run(std::move(stop));
  });
}

void NodePortRelays::stop() {
  if (!thread_.joinable()) return;
  thread_.request_stop();
  thread_.join();
}

void NodePortRelays::run(std::stop_token stop) {
  if (!services_.wait_synced(stop)) return;
  TimePoint again = TimePoint::max();
  while (std::uint64_t change = changes_.wait_change(stop, again)) {
    std::vector<client::Ref<api::Service>> services = services_.list();
    std::vector<net::RelayFailure> failures = relays_.set(node_port_relays(services, spec_));
    report(services, failures);
    changes_.done(change);
    again = failures.empty() ? TimePoint::max() : clock_.now() + kRetry;
  }
}

void NodePortRelays::report(const std::vector<client::Ref<api::Service>>& services,
                            const std::vector<net::RelayFailure>& failures) {
  std::set<net::RelaySpec> failing;
  for (const auto& [relay, error] : failures) {
    failing.insert(relay);
    if (reported_.contains(relay)) continue;
    log::warning("node-ports", "{}", error.message());
    client::Ref<api::Service> service = owner_of(services, relay);
    if (!service) continue;
    std::string why =
        error.sys_errno() == EADDRINUSE ? "another program of the host has it" : error.message();
    events_.warning(client::reference_to(service), "NodePortUnavailable",
                    fmt::format("Node port {} does not answer on {} of the host: {}", relay.listen.port,
                                relay.listen.address.str(), why));
  }
  reported_ = std::move(failing);
}

}  // namespace skiff::proxy
