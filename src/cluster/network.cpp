#include "cluster/network.hpp"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include "sys/files.hpp"
#include "sys/namespaces.hpp"

namespace skiff::cluster {
namespace {

constexpr std::uint32_t kDnsHostPart = 10;

proxy::DnsRecordsSpec records_spec(const Settings& settings) {
  const std::string& domain = settings.config.cluster_domain;
  return {.domains = {domain, "cluster.internal"},
          .reverse = {settings.ranges().pods, settings.ranges().services},
          .server = settings.service_address(kDnsHostPart),
          .host = settings.ranges().nodes.at(1)};
}

std::set<net::Ipv4> all_of(const net::Cidr& range) {
  std::set<net::Ipv4> addresses;
  for (std::uint32_t i = 0; i < range.size(); ++i) addresses.insert(range.at(i));
  return addresses;
}

// Policies that let pods ask DNS name the pods that answer elsewhere.
proxy::PolicyPod dns_as_pod(const Settings& settings) {
  return {.namespace_ = "kube-system",
          .node = "",
          .labels = {{"k8s-app", "kube-dns"}},
          .address = settings.service_address(kDnsHostPart),
          .ports = {{"dns", net::Protocol::Udp, 53}, {"dns-tcp", net::Protocol::Tcp, 53}}};
}

}  // namespace

ClusterNetwork::ClusterNetwork(const Uses& uses, const Settings& settings)
    : uses_(uses), settings_(settings),
      events_(uses.client, uses.clock, uses.random, "service-controller"),
      ingress_events_(uses.client, uses.clock, uses.random, "skiff-ingress-controller"),
      records_(uses.informers, records_spec(settings)), proxy_(uses.informers, uses.clock),
      policies_(uses.informers, uses.clock, {dns_as_pod(settings)}),
      balancers_({uses.client, uses.informers, events_, uses.clock, [this](const auto& paths) { return uses_.host_network.set_paths(by_address(paths)); }},
                 {.range = settings.ranges().balancers(), .reserved = all_of(settings.answered())}),
      certificates_(uses.client, uses.clock, api::kind_of<api::Secret>(),
                    {.namespace_ = "", .label_selector = "", .field_selector = "type=kubernetes.io/tls"}) {}

ClusterNetwork::~ClusterNetwork() { stop(); }

Result<std::unique_ptr<ClusterNetwork>> ClusterNetwork::create(const Uses& uses, const Settings& settings) {
  std::unique_ptr<ClusterNetwork> network(new ClusterNetwork(uses, settings));
  TRY_ASSIGN(network->host_, sys::open_namespace(sys::Namespace::Network));
  net::DnsServerSpec spec{.listen = {settings.service_address(kDnsHostPart), 53}};
  TRY_ASSIGN(network->dns_, net::DnsServer::start(network->host_, spec, network->records_));
  network->dns_config_ = std::make_unique<proxy::DnsConfig>(
      proxy::DnsConfig::Parts{uses.client, uses.clock, network->events_, *network->dns_});
  return network;
}

Status ClusterNetwork::add_node(const std::string& name, const UniqueFd& network, net::Ipv4 address) {
  TRY_ASSIGN(UniqueFd for_rules, sys::duplicate(network));
  net::ServiceRulesSpec spec{.services = settings_.ranges().services,
                             .balancers = settings_.ranges().balancers(),
                             .pods = settings_.ranges().pods,
                             .local = all_of(settings_.answered())};
  spec.local.insert(settings_.service_address(kDnsHostPart));
  TRY_ASSIGN(std::unique_ptr<net::ServiceRules> rules, net::ServiceRules::open(std::move(for_rules), spec));
  proxy_.add_node(name, *rules);
  rules_[name] = std::move(rules);
  TRY_ASSIGN(policy_rules_[name],
             net::PolicyRules::open(network,
                                    {.nodes = settings_.ranges().nodes,
                                     .answering = {settings_.service_address(kDnsHostPart)},
                                     .answering_ranges = {settings_.answered()}}));
  policies_.add_node(name, *policy_rules_[name]);
  TRY(dns_->add_node(name, network, address));
  {
    MutexLock lock(mutex_);
    addresses_[name] = address;
  }
  if (!relays_) TRY(serve_host(network, address));
  TRY(http_->add_network(name, network, settings_.answered()));
  ingress_->add_node(name);
  gateways_->add_node(name);
  health_checks_->add_node(name, address);
  return ok();
}

// What answers on the host and reaches into the cluster from its first node.
Status ClusterNetwork::serve_host(const UniqueFd& network, net::Ipv4 address) {
  TRY_ASSIGN(UniqueFd host, sys::duplicate(host_));
  TRY_ASSIGN(UniqueFd node, sys::duplicate(network));
  TRY_ASSIGN(relays_, net::Relays::start(std::move(host), std::move(node)));
  proxy::HostRelaysSpec where{.listen = {net::parse_ipv4("127.0.0.1").value()},
                              .node = address,
                              .balancers = settings_.ranges().balancers()};
  if (settings_.config.expose != "127.0.0.1") {
    TRY_ASSIGN(net::Ipv4 exposed, net::parse_ipv4(settings_.config.expose));
    where.listen = exposed.value == 0 ? std::vector{exposed} : std::vector{where.listen[0], exposed};
  }
  host_relays_ = std::make_unique<proxy::HostRelays>(
      proxy::HostRelays::Parts{uses_.informers, events_, uses_.clock, *relays_}, where);
  return serve_http(network, where.listen);
}

Status ClusterNetwork::serve_http(const UniqueFd& network, const std::vector<net::Ipv4>& listen) {
  TRY_ASSIGN(UniqueFd node, sys::duplicate(network));
  TRY_ASSIGN(http_, net::HttpProxy::start(std::move(node), uses_.random));
  TRY(http_->add_network("host", host_));
  front_ = std::make_unique<proxy::HttpFront>(*http_);
  ingress_ = std::make_unique<proxy::IngressController>(
      proxy::IngressController::Parts{uses_.client, uses_.informers, client::Informer<api::Secret>(certificates_), ingress_events_, uses_.clock, *front_},
      proxy::IngressControllerSpec{.address = settings_.ingress_address(), .listen = listen});
  gateways_ = std::make_unique<proxy::GatewayController>(
      proxy::GatewayController::Parts{uses_.client, uses_.informers, client::Informer<api::Secret>(certificates_), uses_.clock, *front_},
      proxy::GatewayControllerSpec{
          .addresses = settings_.answered(), .reserved = {settings_.ingress_address()}, .listen = listen});
  health_checks_ = std::make_unique<proxy::HealthChecks>(uses_.informers, uses_.clock, *front_);
  return ok();
}

std::map<net::Ipv4, net::Ipv4> ClusterNetwork::by_address(const proxy::LoadBalancers::Paths& paths) {
  std::map<net::Ipv4, net::Ipv4> nodes;
  MutexLock lock(mutex_);
  for (const auto& [address, name] : paths)
    if (auto node = addresses_.find(name); node != addresses_.end()) nodes[address] = node->second;
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
  addresses_.erase(name);
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

// A query for the A record of kubernetes.default.svc.<domain>.
std::string probe_query(const std::string& domain) {
  std::string query("\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00", 12);
  std::string name = "kubernetes.default.svc." + domain;
  for (size_t begin = 0; begin <= name.size();) {
    size_t dot = std::min(name.find('.', begin), name.size());
    query += static_cast<char>(dot - begin);
    query += name.substr(begin, dot - begin);
    begin = dot + 1;
  }
  return query + std::string("\0\0\1\0\1", 5);
}

Result<UniqueFd> udp_socket(net::Ipv4 server) {
  UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket) return errno_error(errno, "socket");
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(53);
  to.sin_addr.s_addr = server.network_order();
  if (::connect(socket.get(), reinterpret_cast<sockaddr*>(&to), sizeof to) < 0)
    return errno_error(errno, "connect to the DNS server");
  return socket;
}

// Whether an answer without error came within 20 ms.
bool answers(const UniqueFd& socket, const std::string& query) {
  if (::send(socket.get(), query.data(), query.size(), 0) < 0) return false;
  pollfd waiting{.fd = socket.get(), .events = POLLIN, .revents = 0};
  unsigned char head[12];
  return ::poll(&waiting, 1, 20) == 1 && ::recv(socket.get(), head, sizeof head, 0) >= 8 && (head[3] & 15) == 0 &&
         (head[6] != 0 || head[7] != 0);
}

}  // namespace

Status ClusterNetwork::wait_dns(const UniqueFd& network, Duration patience) {
  TRY_ASSIGN(UniqueFd socket,
             sys::in_network(network, [&] { return udp_socket(settings_.service_address(kDnsHostPart)); }));
  std::string query = probe_query(settings_.config.cluster_domain);
  for (TimePoint deadline = uses_.clock.now() + patience; uses_.clock.now() < deadline;) {
    if (answers(socket, query)) return ok();
    uses_.clock.wait_for({}, 2ms);
  }
  return Error(Code::Timeout, "cluster DNS does not answer");
}

}  // namespace skiff::cluster
