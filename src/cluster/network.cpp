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
          .server = settings.service_address(kDnsHostPart)};
}

}  // namespace

ClusterNetwork::ClusterNetwork(const Uses& uses, const Settings& settings)
    : uses_(uses), settings_(settings),
      events_(uses.client, uses.clock, uses.random, "service-proxy"),
      records_(uses.informers, records_spec(settings)), proxy_(uses.informers, uses.clock) {}

ClusterNetwork::~ClusterNetwork() { stop(); }

Result<std::unique_ptr<ClusterNetwork>> ClusterNetwork::create(const Uses& uses, const Settings& settings) {
  std::unique_ptr<ClusterNetwork> network(new ClusterNetwork(uses, settings));
  TRY_ASSIGN(network->host_, sys::open_namespace(sys::Namespace::Network));
  net::DnsServerSpec spec{.listen = {settings.service_address(kDnsHostPart), 53}};
  TRY_ASSIGN(network->dns_, net::DnsServer::start(network->host_, spec, network->records_));
  return network;
}

Status ClusterNetwork::add_node(const std::string& name, const UniqueFd& network, net::Ipv4 address) {
  TRY_ASSIGN(UniqueFd for_rules, sys::duplicate(network));
  net::ServiceRulesSpec spec{.services = settings_.ranges().services,
                             .local = {settings_.service_address(kDnsHostPart)}};
  TRY_ASSIGN(std::unique_ptr<net::ServiceRules> rules, net::ServiceRules::open(std::move(for_rules), spec));
  proxy_.add_node(name, *rules);
  rules_[name] = std::move(rules);
  TRY(dns_->add_node(name, network));
  if (relays_) return ok();
  TRY_ASSIGN(UniqueFd host, sys::duplicate(host_));
  TRY_ASSIGN(UniqueFd node, sys::duplicate(network));
  TRY_ASSIGN(relays_, net::Relays::start(std::move(host), std::move(node)));
  proxy::NodePortRelaysSpec where{.listen = {net::parse_ipv4("127.0.0.1").value()}, .node = address};
  if (settings_.config.expose != "127.0.0.1") {
    TRY_ASSIGN(net::Ipv4 exposed, net::parse_ipv4(settings_.config.expose));
    where.listen = exposed.value == 0 ? std::vector{exposed} : std::vector{where.listen[0], exposed};
  }
  node_ports_ = std::make_unique<proxy::NodePortRelays>(
      proxy::NodePortRelays::Parts{uses_.informers, events_, uses_.clock, *relays_}, where);
  return ok();
}

void ClusterNetwork::remove_node(const std::string& name) {
  dns_->remove_node(name);
  proxy_.remove_node(name);
  rules_.erase(name);
}

Status ClusterNetwork::start() {
  proxy_.start();
  if (node_ports_) node_ports_->start();
  return ok();
}

void ClusterNetwork::stop() {
  if (node_ports_) node_ports_->stop();
  proxy_.stop();
  dns_.reset();
  relays_.reset();
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
