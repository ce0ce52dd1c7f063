#include "cluster/network.hpp"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>

#include "net/sockets.hpp"

#include "sys/files.hpp"
#include "sys/namespaces.hpp"

namespace skiff::cluster {
namespace {

constexpr std::uint32_t kDnsHostPart = 10;

proxy::DnsRecordsSpec records_spec(const Settings& settings) {
  proxy::DnsRecordsSpec spec{.domains = {settings.config.cluster_domain, "cluster.internal"},
                             .servers = {settings.service_address(kDnsHostPart)}};
  for (const net::ClusterRanges& family : settings.ranges()) {
    spec.reverse.push_back(family.pods);
    spec.reverse.push_back(family.services);
    spec.host.push_back(family.nodes.at(1));
  }
  return spec;
}

std::set<net::Address> all_of(const std::vector<net::Cidr>& ranges) {
  std::set<net::Address> addresses;
  for (const net::Cidr& range : ranges)
    for (std::uint64_t i = 0; i < range.size(); ++i) addresses.insert(range.at(i));
  return addresses;
}

std::vector<net::Cidr> balancers_of(const Settings& settings) {
  std::vector<net::Cidr> ranges;
  for (const net::ClusterRanges& family : settings.ranges()) ranges.push_back(family.balancers());
  return ranges;
}

// Policies that let pods ask DNS name the pods that answer elsewhere.
proxy::PolicyPod dns_as_pod(const Settings& settings) {
  return {.namespace_ = "kube-system",
          .node = "",
          .labels = {{"k8s-app", "kube-dns"}},
          .addresses = {settings.service_address(kDnsHostPart)},
          .ports = {{"dns", net::Protocol::Udp, 53}, {"dns-tcp", net::Protocol::Tcp, 53}}};
}

/// Where the host answers: its loopback, of every family the cluster has, and what the user exposes.
Result<std::vector<net::Address>> listened_addresses(const Settings& settings) {
  std::vector<net::Address> listen;
  TRY_ASSIGN(net::Address exposed, net::parse_address(settings.config.expose));
  for (net::Address address : {net::Address::loopback(net::Family::V4), net::Address::loopback(net::Family::V6)}) {
    std::vector<net::ClusterRanges> families = settings.ranges();
    // IPv4 always: "localhost" is that to many.
    bool served = !address.is_v6() || std::any_of(families.begin(), families.end(), [](const auto& family) {
      return family.pods.family() == net::Family::V6;
    });
    bool covered = exposed.family == address.family && exposed.is_any();
    if (served && !covered) listen.push_back(address);
  }
  if (std::find(listen.begin(), listen.end(), exposed) == listen.end()) listen.push_back(exposed);
  return listen;
}

}  // namespace

ClusterNetwork::ClusterNetwork(const Uses& uses, const Settings& settings)
    : uses_(uses), settings_(settings),
      events_(uses.client, uses.clock, uses.random, "service-controller"),
      ingress_events_(uses.client, uses.clock, uses.random, "skiff-ingress-controller"),
      records_(uses.informers, records_spec(settings)), proxy_(uses.informers, uses.clock),
      policies_(uses.informers, uses.clock, {dns_as_pod(settings)}),
      balancers_({uses.client, uses.informers, events_, uses.clock, [this](const auto& paths) { return uses_.host_network.set_paths(by_address(paths)); }},
                 {.ranges = balancers_of(settings), .reserved = all_of(settings.answered())}),
      certificates_(uses.client, uses.clock, api::kind_of<api::Secret>(),
                    {.namespace_ = "", .label_selector = "", .field_selector = "type=kubernetes.io/tls"}) {}

ClusterNetwork::~ClusterNetwork() { stop(); }

Result<std::unique_ptr<ClusterNetwork>> ClusterNetwork::create(const Uses& uses, const Settings& settings) {
  std::unique_ptr<ClusterNetwork> network(new ClusterNetwork(uses, settings));
  TRY_ASSIGN(network->host_, sys::open_namespace(sys::Namespace::Network));
  net::DnsServerSpec spec{.addresses = {settings.service_address(kDnsHostPart)}};
  TRY_ASSIGN(network->dns_, net::DnsServer::start(network->host_, spec, network->records_));
  network->dns_config_ = std::make_unique<proxy::DnsConfig>(
      proxy::DnsConfig::Parts{uses.client, uses.clock, network->events_, *network->dns_});
  return network;
}

Status ClusterNetwork::add_node(const JoiningNode& node) {
  TRY(add_rules(node));
  TRY(dns_->add_node(node.name, node.network, node.addresses));
  TRY_ASSIGN(UniqueFd held, sys::duplicate(node.network));
  {
    MutexLock lock(mutex_);
    nodes_.insert_or_assign(node.name, KnownNode{node.index, std::move(held), node.addresses});
  }
  if (!relays_) TRY(serve_host(node));
  if (entry_.empty()) TRY(enter_by(node));
  TRY(http_->add_network(node.name, node.network, settings_.answered()));
  ingress_->add_node(node.name);
  gateways_->add_node(node.name);
  health_checks_->add_node(node.name, node.addresses);
  return ok();
}

// Of both families; nothing is written yet.
Status ClusterNetwork::add_rules(const JoiningNode& node) {
  const net::Address dns = settings_.service_address(kDnsHostPart);
  const std::vector<net::Cidr> answered = settings_.answered();
  std::vector<net::ServiceRules*> services;
  std::vector<net::PolicyRules*> policies;
  std::vector<net::ClusterRanges> families = settings_.ranges();
  for (size_t i = 0; i < families.size(); ++i) {
    net::ServiceRulesSpec spec{.services = families[i].services,
                               .balancers = families[i].balancers(),
                               .pods = families[i].pods,
                               .local = all_of({answered[i]})};
    net::PolicyRulesSpec policy{.nodes = families[i].nodes, .answering = {}, .answering_ranges = {answered[i]}};
    if (dns.family == families[i].services.family()) {
      spec.local.insert(dns);
      policy.answering.insert(dns);
    }
    TRY_ASSIGN(UniqueFd for_rules, sys::duplicate(node.network));
    TRY_ASSIGN(std::unique_ptr<net::ServiceRules> rules, net::ServiceRules::open(std::move(for_rules), spec));
    TRY_ASSIGN(std::unique_ptr<net::PolicyRules> allowed, net::PolicyRules::open(node.network, policy));
    services.push_back(rules_[node.name].emplace_back(std::move(rules)).get());
    policies.push_back(policy_rules_[node.name].emplace_back(std::move(allowed)).get());
  }
  proxy_.add_node(node.name, services);
  policies_.add_node(node.name, policies);
  return ok();
}

// From now on connections from the host are made inside this node.
Status ClusterNetwork::enter_by(const JoiningNode& node) {
  TRY_ASSIGN(UniqueFd for_relays, sys::duplicate(node.network));
  TRY_ASSIGN(UniqueFd for_http, sys::duplicate(node.network));
  TRY(relays_->move_to(std::move(for_relays)));
  TRY(http_->move_to(std::move(for_http)));
  host_relays_->set_node(node.addresses);
  TRY(uses_.host_network.set_entry(node.index));
  entry_ = node.name;
  return ok();
}

Status ClusterNetwork::leave_node(const std::string& name) {
  if (entry_ != name) return ok();
  std::optional<JoiningNode> next;
  UniqueFd network;
  {
    MutexLock lock(mutex_);
    for (const auto& [other, node] : nodes_) {
      if (other == name) continue;
      TRY_ASSIGN(network, sys::duplicate(node.network));
      next.emplace(other, node.index, network, node.addresses);
      break;
    }
  }
  if (!next) return ok();
  return enter_by(*next);
}

// What answers on the host and reaches into the cluster.
Status ClusterNetwork::serve_host(const JoiningNode& node) {
  TRY_ASSIGN(UniqueFd host, sys::duplicate(host_));
  TRY_ASSIGN(UniqueFd network, sys::duplicate(node.network));
  TRY_ASSIGN(relays_, net::Relays::start(std::move(host), std::move(network)));
  TRY_ASSIGN(std::vector<net::Address> listen, listened_addresses(settings_));
  host_relays_ = std::make_unique<proxy::HostRelays>(
      proxy::HostRelays::Parts{uses_.informers, events_, uses_.clock, *relays_},
      proxy::HostRelaysSpec{.listen = listen, .node = node.addresses, .balancers = balancers_of(settings_)});
  return serve_http(node, listen);
}

Status ClusterNetwork::serve_http(const JoiningNode& node, const std::vector<net::Address>& listen) {
  TRY_ASSIGN(UniqueFd network, sys::duplicate(node.network));
  TRY_ASSIGN(http_, net::HttpProxy::start(std::move(network), uses_.random));
  TRY(http_->add_network("host", host_));
  front_ = std::make_unique<proxy::HttpFront>(*http_);
  ingress_ = std::make_unique<proxy::IngressController>(
      proxy::IngressController::Parts{uses_.client, uses_.informers, client::Informer<api::Secret>(certificates_), ingress_events_, uses_.clock, *front_,
                                       [this](const std::string& name) { return dns_->lookup(name); }},
      proxy::IngressControllerSpec{.addresses = settings_.ingress_addresses(), .listen = listen});
  gateways_ = std::make_unique<proxy::GatewayController>(
      proxy::GatewayController::Parts{uses_.client, uses_.informers, client::Informer<api::Secret>(certificates_), uses_.clock, *front_},
      proxy::GatewayControllerSpec{.addresses = settings_.answered().front(),
                                   .reserved = {settings_.ingress_addresses().front()},
                                   .listen = listen});
  health_checks_ = std::make_unique<proxy::HealthChecks>(uses_.informers, uses_.clock, *front_);
  return ok();
}

std::map<net::Address, net::Address> ClusterNetwork::by_address(const proxy::LoadBalancers::Paths& paths) {
  std::map<net::Address, net::Address> nodes;
  MutexLock lock(mutex_);
  for (const auto& [address, name] : paths)
    if (auto node = nodes_.find(name); node != nodes_.end())
      for (net::Address own : node->second.addresses)
        if (own.family == address.family) nodes[address] = own;
  return nodes;
}

void ClusterNetwork::remove_node(const std::string& name) {
  dns_->remove_node(name);
  proxy_.remove_node(name);
  policies_.remove_node(name);
  policy_rules_.erase(name);
  ingress_->remove_node(name);
  gateways_->remove_node(name);
  health_checks_->remove_node(name);
  http_->remove_network(name);
  rules_.erase(name);
  MutexLock lock(mutex_);
  nodes_.erase(name);
}

Status ClusterNetwork::start() {
  certificates_.start();
  dns_config_->start();
  proxy_.start();
  policies_.start();
  balancers_.start();
  if (!relays_) return ok();
  host_relays_->start();
  ingress_->start();
  gateways_->start();
  health_checks_->start();
  return ok();
}

void ClusterNetwork::stop() {
  certificates_.stop();
  if (dns_config_) dns_config_->stop();
  if (host_relays_) host_relays_->stop();
  if (ingress_) ingress_->stop();
  if (gateways_) gateways_->stop();
  if (health_checks_) health_checks_->stop();
  balancers_.stop();
  proxy_.stop();
  policies_.stop();
  dns_config_.reset();
  dns_.reset();
  relays_.reset();
  http_.reset();
}

namespace {

Result<UniqueFd> udp_socket(net::Address server) {
  TRY_ASSIGN(UniqueFd socket, net::open_socket(net::Protocol::Udp, server.family));
  TRY(net::connect_socket(socket, {server, 53}));
  return socket;
}

// Whether an answer without error came in time.
bool answers(const UniqueFd& socket, const std::string& query, std::chrono::milliseconds patience) {
  if (::send(socket.get(), query.data(), query.size(), 0) < 0) return false;
  pollfd waiting{.fd = socket.get(), .events = POLLIN, .revents = 0};
  unsigned char head[12];
  return ::poll(&waiting, 1, static_cast<int>(patience.count())) == 1 && ::recv(socket.get(), head, sizeof head, 0) >= 8 && (head[3] & 15) == 0 &&
         (head[6] != 0 || head[7] != 0);
}

}  // namespace

Status ClusterNetwork::wait_dns(const UniqueFd& network, Duration patience) {
  bool v6 = settings_.service_address(kDnsHostPart).is_v6();
  std::string query = net::encode_query(0x1234, "kubernetes.default.svc." + settings_.config.cluster_domain,
                                        v6 ? net::DnsType::Aaaa : net::DnsType::A);
  std::chrono::milliseconds each = 20ms;
  for (TimePoint deadline = uses_.clock.now() + patience; uses_.clock.now() < deadline;) {
    // Anew each time: a socket of IPv6 that was connected before the kernel's worker had made the address' route would
    // keep the wrong one for good.
    TRY_ASSIGN(UniqueFd socket,
               sys::in_network(network, [&] { return udp_socket(settings_.service_address(kDnsHostPart)); }));
    if (answers(socket, query, each)) return ok();
    each = std::min(2 * each, std::chrono::milliseconds(1s));  // a busy machine may answer late
    uses_.clock.wait_for({}, 2ms);
  }
  return Error(Code::Timeout, "cluster DNS does not answer");
}

}  // namespace skiff::cluster
