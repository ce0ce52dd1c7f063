#include "proxy/host_relays.hpp"

#include <errno.h>
#include <algorithm>
#include <map>

#include "base/log.hpp"
#include "proxy/service_rules.hpp"

namespace skiff::proxy {
namespace {

using client::ObjectKey;
using client::Ref;

constexpr Duration kRetry = 10s;

/// Gives each port of the host to the first that asks.
class Planner {
 public:
  explicit Planner(const HostRelaysSpec& spec) : spec_(spec) {}

  /// Who has a port and wants it still keeps it, wherever it leads now.
  void keep(const std::vector<HostRelay>& before, const std::vector<HostRelay>& wanted) {
    for (const HostRelay& had : before)
      for (const HostRelay& now : wanted)
        if (now.service == had.service && now.relay.protocol == had.relay.protocol &&
            now.relay.listen == had.relay.listen)
          add(now);
  }
  void add_all(const std::vector<HostRelay>& wanted) {
    for (const HostRelay& one : wanted) add(one);
  }

  std::vector<HostRelay> wishes;

  void add_node_ports(const api::Service& service) {
    for (const api::ServicePort& port : service.spec.ports) {
      if (port.nodePort == 0) continue;
      auto number = static_cast<std::uint16_t>(port.nodePort);
      for (net::Address address : spec_.listen)
        if (const net::Address* node = node_for(service, address.family))
          wish({.relay = {protocol_of(port.protocol), {address, number}, {*node, number}, {}},
                .service = client::key_of(service),
                .node_port = true});
    }
  }

  void add_balancer(const api::Service& service) {
    std::vector<net::Address> targets;
    for (const api::LoadBalancerIngress& ingress : service.status.loadBalancer.ingress)
      if (Result<net::Address> target = net::parse_address(ingress.ip); target.ok() && is_ours(target.value()))
        targets.push_back(target.value());
    if (targets.empty()) return;
    for (net::Address address : spec_.listen) {
      net::Address target = preferred(targets, address.family);
      std::vector<net::Cidr> sources = balancer_sources(service, address.family);
      for (const api::ServicePort& port : service.spec.ports) {
        auto number = static_cast<std::uint16_t>(port.port);
        wish({.relay = {protocol_of(port.protocol), {address, number}, {target, number}, sources},
              .service = client::key_of(service)});
      }
    }
  }

  HostRelayPlan plan;

 private:
  bool is_ours(net::Address target) const {
    return std::any_of(spec_.balancers.begin(), spec_.balancers.end(),
                       [&](const net::Cidr& range) { return range.contains(target); });
  }
  /// A relay changes families where it must: who calls localhost may mean either.
  static net::Address preferred(const std::vector<net::Address>& of, net::Family family) {
    for (net::Address one : of)
      if (one.family == family) return one;
    return of.front();
  }
  const net::Address* node_for(const api::Service& service, net::Family family) const {
    std::vector<net::Family> families = families_of(service);
    bool same = std::find(families.begin(), families.end(), family) != families.end();
    for (const net::Address& one : spec_.node)
      if (one.family == (same ? family : families.front())) return &one;
    return nullptr;
  }

  void wish(HostRelay wanted) {
    if (wanted.relay.protocol != net::Protocol::Sctp) wishes.push_back(std::move(wanted));
  }
  void add(const HostRelay& wanted) {
    auto [taken, free] = owners_.try_emplace({wanted.relay.protocol, wanted.relay.listen}, wanted.service);
    if (free)
      plan.relays.push_back(wanted);
    else if (taken->second != wanted.service)
      plan.conflicts.push_back({wanted, taken->second});
  }

  const HostRelaysSpec& spec_;
  std::map<std::pair<net::Protocol, net::Endpoint>, ObjectKey> owners_;
};

std::string kind_of_port(const HostRelay& relay) { return relay.node_port ? "Node port" : "Port"; }

}  // namespace

HostRelayPlan plan_host_relays(std::vector<Ref<api::Service>> services, const HostRelaysSpec& spec,
                               const std::vector<HostRelay>& before) {
  std::sort(services.begin(), services.end(), older);
  Planner planner(spec);
  for (const Ref<api::Service>& service : services) planner.add_node_ports(*service);
  for (const Ref<api::Service>& service : services) planner.add_balancer(*service);
  planner.keep(before, planner.wishes);
  planner.add_all(planner.wishes);
  return std::move(planner.plan);
}

HostRelays::HostRelays(Parts parts, HostRelaysSpec spec)
    : events_(parts.events),
      clock_(parts.clock),
      relays_(parts.relays),
      spec_(std::move(spec)),
      services_(parts.informers.of<api::Service>()),
      changes_(parts.clock) {
  services_.on_change([this](const auto& before, const auto& now) {
    bool same = before && now && before->spec == now->spec && before->status == now->status;
    if (!same) changes_.changed();
  });
}

void HostRelays::set_node(std::vector<net::Address> addresses) {
  {
    MutexLock lock(mutex_);
    spec_.node = std::move(addresses);
  }
  changes_.changed();
}

HostRelaysSpec HostRelays::spec() {
  MutexLock lock(mutex_);
  return spec_;
}

void HostRelays::start() {
  worker_.start("host-relays", [this](std::stop_token stop) { run(std::move(stop)); });
}

void HostRelays::stop() {
  worker_.stop();
}

void HostRelays::run(std::stop_token stop) {
  if (!services_.wait_synced(stop)) return;
  TimePoint again = TimePoint::max();
  while (std::uint64_t change = changes_.wait_change(stop, again)) {
    HostRelayPlan plan = plan_host_relays(services_.list(), spec(), open_);
    std::vector<net::RelaySpec> wanted;
    for (const HostRelay& one : plan.relays) wanted.push_back(one.relay);
    std::vector<net::RelayFailure> failures = relays_.set(wanted);
    report(plan, failures);
    open_ = std::move(plan.relays);
    changes_.done(change);
    again = failures.empty() ? TimePoint::max() : clock_.now() + kRetry;
  }
}

void HostRelays::report(const HostRelayPlan& plan, const std::vector<net::RelayFailure>& failures) {
  failing_.clear();
  for (const auto& [relay, error] : failures) {
    auto owner = std::find_if(plan.relays.begin(), plan.relays.end(),
                              [&, wanted = &relay](const HostRelay& one) { return one.relay == *wanted; });
    if (owner == plan.relays.end()) continue;
    tell(*owner, error.sys_errno() == EADDRINUSE ? "another program of the host has it" : error.message());
  }
  for (const RelayConflict& conflict : plan.conflicts)
    tell(conflict.wanted, fmt::format("Service {} has it", conflict.taken_by.str()));
  reported_ = failing_;
}

void HostRelays::tell(const HostRelay& relay, const std::string& why) {
  failing_.insert({relay.relay, relay.service});
  if (reported_.contains({relay.relay, relay.service})) return;
  std::string message = fmt::format("{} {} does not answer on {} of the host: {}", kind_of_port(relay),
                                    relay.relay.listen.port, relay.relay.listen.address.str(), why);
  if (!relay.node_port) message += fmt::format("; it answers on {}", relay.relay.target.str());
  log::warning("host-relays", "{}: {}", relay.service.str(), message);
  Ref<api::Service> service = services_.get(relay.service);
  if (!service) return;
  events_.warning(client::reference_to(service),
                  relay.node_port ? "NodePortUnavailable" : "LoadBalancerPortUnavailable", message);
}

}  // namespace skiff::proxy
